"""Stop a run whose numbers are no longer finite: its video would be black."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from torch import Tensor

from wanctl.checkpoint.files.finite import is_finite
from wanctl.checkpoint.find import Components
from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.sample.request import SampleRequest


class NonFiniteError(UserError):
    """Latents, embeddings or pixels hold NaN or infinity."""


def check_conditions(conditions: Conditions, request: SampleRequest) -> None:
    """Check what the VAE and CLIP made of the inputs.

    Raises:
        NonFiniteError: names the condition.
    """
    values = {field.name: getattr(conditions, field.name) for field in fields(conditions)}
    if conditions.driving:
        values |= {"driving": conditions.driving.latents, "image": conditions.driving.image}
    for name, value in values.items():
        if isinstance(value, Tensor) and not is_finite(value):
            raise NonFiniteError(
                f"{_name(request)}: the encoded inputs ({name}) hold NaN or infinity; "
                "`wanctl weights check` reads the VAE and the image encoder for such values"
            )


def check_texts(texts: Mapping[str, Tensor], text: Components | None) -> None:
    """Check embeddings of prompts.

    Raises:
        NonFiniteError: names the prompt and the text encoder.
    """
    for prompt, embedding in texts.items():
        if not is_finite(embedding):
            raise NonFiniteError(
                f"prompt {prompt[:40]!r}: its embedding holds NaN or infinity; `wanctl weights "
                f"check {text.root if text else ''}` reads the text encoder for such values"
            )


def check_latents(latents: Tensor, request: SampleRequest, step: int, steps: int) -> None:
    """Check latents after a solver step; called after the first step of each transformer.

    Args:
        latents: (B, C, T, Y, X) of a batch.
        request: the first of the batch.
        step: number of finished steps.
        steps: of the whole schedule.

    Raises:
        NonFiniteError: names the step, and what to change.
    """
    if is_finite(latents):
        return
    narrow = "" if request.dtype == "float32" else " model.dtype (fp32 has the widest range),"
    raise NonFiniteError(
        f"{_name(request)}: after step {step} of {steps} the latents hold NaN or infinity, so the "
        f"video would be black; nothing was written. Check{narrow} the strength of the LoRAs, "
        "sample.guide_scale and sample.shift"
    )


def finite_pieces(pieces: Iterator[Tensor], request: SampleRequest) -> Iterator[Tensor]:
    """Pass decoded pieces of a video on, each after a check.

    Raises:
        NonFiniteError: the VAE made NaN or infinity of finite latents.
    """
    for piece in pieces:
        if not is_finite(piece):
            raise NonFiniteError(
                f"{_name(request)}: the VAE decodes NaN or infinity, so the video would be black; "
                "nothing was written. `wanctl weights check` reads its weights for such values"
            )
        yield piece


def _name(request: SampleRequest) -> str:
    return f"prompt {request.prompt[:40]!r}, seed {request.seed}"
