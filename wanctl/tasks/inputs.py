"""What a task works on besides words: pictures and footage, and the encoders that read them.

Shapes: H/W pixels, F frames, C channels, T latent frames, Y/X latent rows/columns, I image tokens,
E width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from wanctl.errors import UserError
from wanctl.model.variants import DiTShape
from wanctl.tasks.vace_options import VaceOptions


@dataclass(frozen=True)
class SourceVideo:
    """Footage as it lies in a file, upright and with square pixels; a picture is one frame.

    Attributes:
        pictures: (H, W, 3) uint8 each, all of one size; decoded when they are asked for.
        starts_s: (N,) seconds at which they come on, from 0 on.
        ends_s: (N,) seconds at which they go.
        name: of the file, for messages.
    """

    pictures: Sequence[np.ndarray]
    starts_s: np.ndarray
    ends_s: np.ndarray
    name: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Inputs:
    """What a sample is made from, by the recipe's keys; pictures are (3, H, W) fp32 in [-1, 1].

    Attributes:
        image: the first frame.
        last_image: the last frame.
        video: footage.
        mask: where footage is changed; a picture is a clip of one frame.
        references: pictures of what is to be seen.
        known_frames: frame of the output -> its picture; below 0 counts from the end.
        given_frames: how many frames of the video are given; None: as many as are usual.
        vace: how footage, mask and control are prepared for VACE; None: as they are.
        fps: of the output.
        exact: the output has the size that was asked for, and pictures are cut to its shape.
    """

    image: Tensor | None = None
    last_image: Tensor | None = None
    video: SourceVideo | None = None
    mask: SourceVideo | None = None
    references: tuple[Tensor, ...] = ()
    known_frames: Mapping[int, Tensor] = field(default_factory=dict)
    given_frames: int | None = None
    vace: VaceOptions | None = None
    fps: float = 16.0
    exact: bool = False

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the inputs that are given."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        there = {
            k: len(v) > 0 if isinstance(v, tuple | dict) else v is not None
            for k, v in values.items()
            if k not in OPTION_FIELDS
        }
        return tuple(key for key, is_there in there.items() if is_there)


class RequestedSize(NamedTuple):
    """What the recipe says of the size; None: nothing.

    Attributes:
        frames: 4n+1.
        height: pixels.
        width: pixels.
        exact: False takes height and width as an area, and the shape from the picture where
            there is one.
    """

    frames: int | None = None
    height: int | None = None
    width: int | None = None
    exact: bool = False


class Encoders(Protocol):
    """Networks that turn inputs into what the transformer reads."""

    @property
    def dit(self) -> DiTShape:
        """Sizes of the transformer that reads what comes out."""
        ...

    def latents(self, video: Tensor) -> Tensor:
        """(3, F, H, W) pixels in [-1, 1], 4n+1 frames, to (C, T, Y, X) normalised latents."""
        ...

    def images(self, pictures: Sequence[Tensor]) -> Tensor:
        """(3, H, W) pixels in [-1, 1] of any size to CLIP's hidden states: (N, I, E)."""
        ...


NO_INPUTS = Inputs()
# Fields of Inputs that say how, not what.
OPTION_FIELDS = ("fps", "exact")


def check_inputs(name: str, inputs: Inputs, needs: Sequence[str], takes: Sequence[str]) -> None:
    """Check that a task has what it needs and nothing that it would ignore.

    Raises:
        UserError: `KEY: message`.
    """
    for key in needs:
        if key not in inputs.present:
            example = EXAMPLES.get(key, "FILE")
            raise UserError(f"{key}: task {name} needs one; say `--set sample.{key}={example}`")
    for key in inputs.present:
        if key not in (*needs, *takes):
            allowed = ", ".join((*needs, *takes)) or "words only"
            raise UserError(f"{key}: task {name} takes none (it takes {allowed})")


EXAMPLES = {"known_frames": "'{0: FILE, -1: FILE}'", "references": "'[FILE]'"}
