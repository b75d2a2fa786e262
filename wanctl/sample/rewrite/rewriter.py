"""Asks a language model to rewrite prompts, checks what it answers, and asks once more."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wanctl.log import log, progress
from wanctl.sample.rewrite.answers import RewriteCache
from wanctl.sample.rewrite.checks import problems
from wanctl.sample.rewrite.instructions import PARTS, SCHEMA, request_text, system_text
from wanctl.sample.rewrite.question import Question
from wanctl.vlm.chat import ChatAnswer, ChatModel, ChatRequest, Frames
from wanctl.vlm.schema_prompt import json_object

ATTEMPTS = 2
MAX_TOKENS = 1024
"""Of an answer: 180 Chinese characters and three keys take less than 400."""


def rewrite(questions: Sequence[Question], model: ChatModel, folder: Path) -> dict[Question, str]:
    """Rewritten prompts; one that fails its checks twice is left out, with a warning.

    The model is loaded only for prompts that the folder does not hold, and freed at the end.

    Args:
        questions: the prompts; equal ones are asked for once.
        model: answers them.
        folder: keeps the answers.

    Raises:
        ChatError: the model cannot be loaded or reached, or takes no pictures.
        WriteError: the folder cannot be written.
    """
    cache = RewriteCache(folder, model.name)
    found: dict[Question, str] = {}
    for question in questions:
        if (text := cache.get(question, _system(question))) is not None:
            found[question] = text
    missing = [each for each in dict.fromkeys(questions) if each not in found]
    if not missing:
        return found
    model.check()
    log.info("rewriting %d of %d prompts with %s", len(missing), len(set(questions)), model.name)
    reasons: dict[Question, list[str]] = {each: [] for each in missing}
    try:
        with progress(len(missing), "rewriting prompts") as bar:
            for attempt in range(1, ATTEMPTS + 1):
                for question, answer in _answers(model, reasons, attempt):
                    text = _text(answer, question)
                    if isinstance(text, str):
                        found[question] = text
                        cache.put(question, _system(question), text)
                        del reasons[question]
                        bar.advance()
                    else:
                        reasons[question] = text
            bar.advance(len(reasons))
    finally:
        model.close()
    for question, why in reasons.items():
        log.warning(
            "prompt not rewritten, sampled as typed: %s (%s)", question.prompt, "; ".join(why)
        )
    return found


def _answers(
    model: ChatModel, reasons: Mapping[Question, Sequence[str]], attempt: int
) -> Iterator[tuple[Question, ChatAnswer]]:
    """Answers to all open questions, as many at a time as keep the model busy."""
    together = model.batch * model.parallel
    open_questions = list(reasons)
    for start in range(0, len(open_questions), together):
        requested = open_questions[start : start + together]
        requests = [_request(each, reasons[each], attempt) for each in requested]
        yield from zip(requested, model.ask(requests), strict=True)


def _request(question: Question, reasons: Sequence[str], attempt: int) -> ChatRequest:
    again = f"#{attempt}" if attempt > 1 else ""
    images = tuple(each.load() for each in question.pictures)
    return ChatRequest(
        id=f"{question.key('', '')}/rewrite{again}",
        system=_system(question),
        text=request_text(question.prompt, question.language, question.pictures, reasons),
        frames=Frames(images, ()) if images else None,
        schema=SCHEMA,
        max_tokens=MAX_TOKENS,
        temperature=0.0,
        seed=0,
    )


def _system(question: Question) -> str:
    return system_text(question.language, bool(question.pictures))


def _text(answer: ChatAnswer, question: Question) -> str | list[str]:
    """The rewritten prompt, or what is wrong with the answer."""
    if answer.finish == "failed":
        return [answer.error or "no answer came"]
    if answer.finish == "refused":
        return ["it was refused by the server's filter"]
    if answer.finish == "length":
        return ["it was too long and was cut off"]
    try:
        parts = json_object(answer.text)
    except ValueError as error:
        return [str(error)]
    texts = [parts.get(name) for name in PARTS]
    strings = [" ".join(each.split()) for each in texts if isinstance(each, str) and each.strip()]
    if len(strings) < len(PARTS):
        return [f"it has to be a JSON object with the texts {', '.join(PARTS)}"]
    full_stop, space = {"en": (".", " "), "zh": ("。", "")}[question.language]
    ended = [each if each[-1] in '.!?。！？…"”」' else each + full_stop for each in strings]
    text = space.join(ended)
    return list(problems(text, question.prompt, question.language)) or text
