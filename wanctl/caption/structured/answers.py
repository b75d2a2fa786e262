"""Reads a model's answers: a structure, captions by variant, or what is wrong with the answer."""

import json
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from wanctl.caption.checks.check import check_answer
from wanctl.caption.checks.facts import Finding
from wanctl.caption.checks.text import caption_problem, normalise
from wanctl.caption.structured.schema import CLIP_ID, structure_schema
from wanctl.vlm.chat import ChatAnswer
from wanctl.vlm.schema_prompt import json_object

_LOOP = 6  # entries of a list; shorter ones may repeat an entry
_NAMED = 5  # violations of the schema in one reason
_SHOWN = 300  # characters of the model's own words in a reason


def read_structure(
    answer: ChatAnswer, clip_id: str, *, still: bool
) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The structure in an answer, without the clip's id; None, with findings, where it has none.

    Args:
        answer: to the structured request.
        clip_id: of the clip, which the answer has to repeat.
        still: the clip is a still image; its structure gets an empty `camera_motion`.
    """
    content, findings = _content(answer, clip_id)
    if content is None:
        return None, findings
    content = _collapsed(content)
    schema = structure_schema(clip_id, still=still)
    errors = sorted(
        Draft202012Validator(schema).iter_errors(content), key=lambda each: str(each.path)
    )
    if errors:
        return None, [Finding("schema", "; ".join(_violations(errors)))]
    if repeated := [key for key, value in content.items() if _is_loop(value)]:
        return None, [Finding("repetition", f"{', '.join(repeated)}: name each thing once")]
    structure = {key: value for key, value in content.items() if key != CLIP_ID}
    return structure | ({"camera_motion": []} if still else {}), []


def read_captions(
    answer: ChatAnswer, clip_id: str, variants: Iterable[str]
) -> tuple[dict[str, str], dict[str, list[Finding]]]:
    """The captions in an answer by variant, and findings of the variants that it lacks.

    White space is collapsed, and an opener such as "The video shows" removed.
    """
    content, findings = _content(answer, clip_id)
    if content is None:
        return {}, dict.fromkeys(variants, findings)
    captions, missing = {}, {}
    for variant in variants:
        text = content.get(variant)
        if isinstance(text, str) and text.strip():
            captions[variant] = normalise(text, strip_opener=True)
        else:
            problem = "is missing" if variant not in content else "is not a caption"
            missing[variant] = [Finding("schema", f"the key {variant!r} {problem}")]
    return captions, missing


def _content(answer: ChatAnswer, clip_id: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    if findings := check_answer(answer):
        return None, findings
    try:
        content = json_object(answer.text)
    except ValueError as error:
        problem = caption_problem(normalise(answer.text), "model")
        if problem.startswith("is a refusal"):
            return None, [Finding("refusal", f"the answer {problem}; describe what can be seen")]
        return None, [Finding("json", f"{error}; answer with one complete JSON object")]
    try:
        (answer.text + json.dumps(content, ensure_ascii=False)).encode()
    except UnicodeEncodeError:
        return None, [Finding("json", "the answer holds half a character (a lone surrogate)")]
    if content.get(CLIP_ID) != clip_id:
        got = str(content.get(CLIP_ID))[:40]
        return None, [Finding("id", f"{CLIP_ID} is {got!r}; this clip is {clip_id!r}")]
    return content, []


def _collapsed(value: Any) -> Any:
    """The value with white space collapsed in all strings, as in captions."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return [_collapsed(each) for each in value]
    if isinstance(value, dict):
        return {key: _collapsed(each) for key, each in value.items()}
    return value


def _is_loop(value: Any) -> bool:
    """Whether most of a list is repeats: of a model that repeats itself until the list is full."""
    if not isinstance(value, list) or len(value) < _LOOP:
        return False
    return 2 * len({json.dumps(each, sort_keys=True) for each in value}) < len(value)


def _violations(errors: list[ValidationError]) -> Iterable[str]:
    for error in errors[:_NAMED]:
        place = ".".join(map(str, error.absolute_path))
        yield f"{place}: {error.message[:_SHOWN]}" if place else error.message[:_SHOWN]
    if len(errors) > _NAMED:
        yield f"and {len(errors) - _NAMED} more"
