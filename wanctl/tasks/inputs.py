"""Inputs of a task besides text: images and videos, and the encoders for them.

Shapes: H/W pixels, F frames, C channels, T latent frames, Y/X latent rows/columns, I image tokens,
E width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from wanctl.camera.options import CameraOptions
from wanctl.errors import UserError
from wanctl.model.variants import DiTShape
from wanctl.tasks.point_tracks import PointTracks
from wanctl.tasks.vace_options import VaceOptions


@dataclass(frozen=True)
class SourceVideo:
    """A video as stored in a file, upright and with square pixels; an image is one frame.

    Attributes:
        pictures: (H, W, 3) uint8 frames, all of one size; decoded on access.
        starts_s: (N,) seconds at which frames start, from 0 on.
        ends_s: (N,) seconds at which frames end.
        name: of the file, for messages.
        size: (height, width) in pixels.
    """

    pictures: Sequence[np.ndarray]
    starts_s: np.ndarray
    ends_s: np.ndarray
    name: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ClipOptions:
    """How a long video is divided into clips.

    Attributes:
        frames: of a clip, 4n+1; None: as the model was trained.
        overlap: last frames of a clip that the next one begins with; None: the task's default.
        match_colors: whether mean and deviation of each clip's colours are matched at the seams.
    """

    frames: int | None = None
    overlap: int | None = None
    match_colors: bool = False


@dataclass(frozen=True)
class SourceSound:
    """The part of a sound that is spoken or sung.

    Attributes:
        speech: (N,) float32 in [-1, 1], one channel at 16 kHz.
        track: (M, 2) int16 at 48 kHz, which the output gets.
        name: of the file, for messages.
        seconds: it lasts.
    """

    speech: np.ndarray
    track: np.ndarray
    name: str
    seconds: float


@dataclass(frozen=True)
class SpeechOptions:
    """Which part of a sound is used, and how the video begins.

    Attributes:
        start_s: seconds of the sound that are left out.
        duration_s: seconds of it that are used at most; None: to its end.
        image_first: the picture is the first frame; else one like it.
    """

    start_s: float = 0.0
    duration_s: float | None = None
    image_first: bool = False


@dataclass(frozen=True)
class Inputs:
    """Inputs of a sample by the recipe's keys; images are (3, H, W) fp32 in [-1, 1].

    Attributes:
        image: the first frame.
        last_image: the last frame.
        video: source video.
        mask: region of the video that is generated anew; an image is a video of one frame.
        references: images of subjects to show.
        known_frames: frame number of the output -> its image; negative counts from the end.
        given_frames: frames taken from the video; None: the task's default.
        vace: how video, mask and control are prepared for VACE; None: unchanged.
        camera: the path of the camera; None: there is none.
        face: of the person to show.
        tracks: where points of the image go; None: there are none.
        clips: how a long video is divided into clips; None: as the task does by itself.
        pose_video: skeletons of a performer.
        face_video: crops of the performer's face.
        audio: what is spoken or sung.
        speech: which part of a longer sound `audio` is, and how the video begins.
        fps: frame rate of the output.
        exact: the output has the requested size, and images are cropped to it.
    """

    image: Tensor | None = None
    last_image: Tensor | None = None
    video: SourceVideo | None = None
    mask: SourceVideo | None = None
    references: tuple[Tensor, ...] = ()
    known_frames: Mapping[int, Tensor] = field(default_factory=dict)
    given_frames: int | None = None
    vace: VaceOptions | None = None
    camera: CameraOptions | None = None
    tracks: PointTracks | None = None
    clips: ClipOptions | None = None
    face: Tensor | None = None
    pose_video: SourceVideo | None = None
    face_video: SourceVideo | None = None
    audio: SourceSound | None = None
    speech: SpeechOptions | None = None
    fps: float = 16.0
    exact: bool = False

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the inputs that are present."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        is_present = {
            k: len(v) > 0 if isinstance(v, tuple | dict) else v is not None
            for k, v in values.items()
            if k not in OPTION_FIELDS
        }
        return tuple(key for key, present in is_present.items() if present)


class RequestedSize(NamedTuple):
    """The size in the recipe; None where it says nothing.

    Attributes:
        frames: 4n+1.
        height: pixels.
        width: pixels.
        exact: False takes height x width as an area, and the aspect ratio from the input image
            where there is one.
    """

    frames: int | None = None
    height: int | None = None
    width: int | None = None
    exact: bool = False


class Encoders(Protocol):
    """Networks that encode inputs for the transformer."""

    @property
    def dit(self) -> DiTShape:
        """Sizes of the transformer that reads the encoded inputs."""
        ...

    def latents(self, video: Tensor) -> Tensor:
        """Encode (3, F, H, W) pixels in [-1, 1], 4n+1 frames, to (C, T, Y, X) latents."""
        ...

    def images(self, pictures: Sequence[Tensor]) -> Tensor:
        """Encode (3, H, W) pixels in [-1, 1] of any size to CLIP's hidden states (N, I, E)."""
        ...

    def sound(self, samples: np.ndarray) -> Tensor:
        """Hidden states of an audio encoder, (S, P, E) of S layers at P times, 50 a second.

        Args:
            samples: (N,) float32 in [-1, 1], one channel at 16 kHz.
        """
        ...


NO_INPUTS = Inputs()
# Fields of Inputs that are options, not inputs.
OPTION_FIELDS = ("fps", "exact")


def check_inputs(name: str, inputs: Inputs, needs: Sequence[str], takes: Sequence[str]) -> None:
    """Check that a task has its required inputs and none that it would ignore.

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


EXAMPLES = {
    "known_frames": "'{0: FILE, -1: FILE}'",
    "references": "'[FILE]'",
    "camera": "'{moves: [{move: left}]}'",
}
