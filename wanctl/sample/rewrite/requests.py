"""Rewrites the prompts of requests, and records in their headers what was typed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from wanctl.log import log
from wanctl.sample.inputs import InputCache, InputSpec
from wanctl.sample.request import SampleRequest
from wanctl.sample.rewrite.checks import language_of
from wanctl.sample.rewrite.question import Picture, Question
from wanctl.sample.rewrite.rewriter import rewrite
from wanctl.sample.rewrite.tidy import tidy
from wanctl.tasks.pixels import to_array
from wanctl.vlm.chat import ChatError, ChatModel

CONTINUATION = "continuation"
RULES = "rules"
"""What `rewritten_by` says in the header where no model was asked."""


def rewrite_requests(
    requests: Sequence[SampleRequest], inputs: InputCache, model: ChatModel | None, folder: Path
) -> list[SampleRequest]:
    """The requests, those with `rewrite` set with a new prompt; logs each prompt.

    Args:
        requests: of the command.
        inputs: reads their pictures.
        model: rewrites them; None: they are tidied by rules.
        folder: keeps the model's answers.

    Raises:
        ChatError: the model cannot be loaded or reached, or takes no pictures.
        WriteError: the folder cannot be written.
    """
    if model is None:
        texts = {each.prompt: tidy(each.prompt) for each in requests if each.rewrite}
        return _with_prompts(requests, [texts.get(each.prompt) for each in requests], RULES)
    questions = [_question(each, inputs) if each.rewrite else None for each in requests]
    try:
        found = rewrite([each for each in questions if each is not None], model, folder)
    except ChatError as error:
        raise located(error) from None
    prompts = [found.get(each) if each is not None else None for each in questions]
    return _with_prompts(requests, prompts, model.name)


def located(error: ChatError) -> ChatError:
    """The error with the key of the recipe that names the model."""
    return ChatError(f"sample.rewrite.model: {str(error).removeprefix('model: ')}")


def _with_prompts(
    requests: Sequence[SampleRequest], prompts: Sequence[str | None], by: str
) -> list[SampleRequest]:
    """The requests with the prompts that are not None and differ."""
    result, shown = [], set()
    for request, prompt in zip(requests, prompts, strict=True):
        if not request.rewrite or prompt is None or prompt == request.prompt:
            result.append(request)
            continue
        if (request.prompt, prompt) not in shown:
            shown.add((request.prompt, prompt))
            log.info("prompt as typed: %s", request.prompt)
            log.info("prompt rewritten: %s", prompt)
        header = {**request.header, "rewritten_by": by}
        typed = request.prompt
        result.append(replace(request, prompt=prompt, typed_prompt=typed, header=header))
    return result


def _question(request: SampleRequest, inputs: InputCache) -> Question:
    prompt = tidy(request.prompt)  # quotation marks around the whole quote nothing
    language = language_of(prompt) if request.rewrite == "auto" else request.rewrite
    assert language is not None
    return Question(prompt, language, tuple(_pictures(request, inputs)))


def _pictures(request: SampleRequest, inputs: InputCache) -> list[Picture]:
    """The pictures that the video has to agree with, in order of time; subjects come last."""
    spec = request.input_spec

    def picture(role: str, key: str, number: int = 0, index: int = 0) -> Picture:
        return Picture(role, number, request.inputs[key], partial(_load, inputs, spec, role, index))

    found = [picture("first", "image")] if spec.image else []
    if spec.video and request.task == CONTINUATION:
        found.append(picture("goes_on", "video"))
    numbers = {index % request.frames: index for index in spec.known_frames}
    for number, index in sorted(numbers.items()):
        found.append(picture("known", f"known_frames.{index}", number, index))
    if spec.last_image:
        found.append(picture("last", "last_image"))
    for index in range(len(spec.references)):
        found.append(picture("subject", f"references.{index}", 0, index))
    return found


def _load(inputs: InputCache, spec: InputSpec, role: str, index: int) -> np.ndarray:
    """(H, W, 3) uint8 of an input picture."""
    read = inputs.read(spec).inputs
    if role == "goes_on":
        assert read.video is not None
        return read.video.pictures[-1]
    images = {"first": read.image, "last": read.last_image, "known": read.known_frames.get(index)}
    image = read.references[index] if role == "subject" else images[role]
    assert image is not None, "the request names its file"
    return to_array(image)
