"""Seams between the clips of a long video, and the drift of its colours.

Shapes: F frames, H/W pixels.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

LEVELS = 127.5  # of 8 bits per unit of a pixel in [-1, 1]
FLAT = 1e-4  # a deviation below this has no contrast to scale


@dataclass(frozen=True)
class ClipColors:
    """Colours of the frames that a clip adds to the video, in levels of 8 bits.

    Attributes:
        frames: first and last frame number.
        mean: of red, green and blue.
        std: of red, green and blue.
        mean_shift: against the first clip.
        std_shift: against the first clip.
        seam: mean absolute difference between its first frame and the frame before, divided by
            that between neighbouring frames inside the clips; None for the first clip, and where
            nothing moves inside them.
    """

    frames: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_shift: tuple[float, ...]
    std_shift: tuple[float, ...]
    seam: float | None


class SeamMeter:
    """Measures the clips of one video as they are finished."""

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._frames = 0
        self._colors: list[tuple[tuple[int, int], Tensor, Tensor]] = []
        self._seams: list[float] = []
        self._inside: list[Tensor] = []

    def add(self, video: Tensor) -> None:
        """Add the new frames of the next clip, (3, F, H, W) in [-1, 1]."""
        deviation, mean = torch.std_mean(video.float() * LEVELS, dim=(1, 2, 3))
        span = (self._frames, self._frames + video.shape[1] - 1)
        self._colors.append((span, mean + LEVELS, deviation))
        if self._last is not None:
            self._seams.append(float((video[:, 0] - self._last).abs().mean()))
        for earlier, later in zip(video[:, :-1].unbind(1), video[:, 1:].unbind(1), strict=True):
            self._inside.append((later - earlier).abs().mean())
        self._last = video[:, -1].clone()
        self._frames += video.shape[1]

    def clips(self) -> list[ClipColors]:
        """What was measured, a row for each clip."""
        inside = float(torch.stack(self._inside).mean()) if self._inside else 0.0
        seams = [None, *(seam / inside if inside else None for seam in self._seams)]
        _, first_mean, first_std = self._colors[0]
        return [
            ClipColors(
                frames=span,
                mean=_rounded(mean),
                std=_rounded(std),
                mean_shift=_rounded(mean - first_mean),
                std_shift=_rounded(std - first_std),
                seam=None if seam is None else round(seam, 3),
            )
            for (span, mean, std), seam in zip(self._colors, seams, strict=True)
        ]

    def record(self, *, matched: bool) -> dict[str, Any]:
        """The measurements as JSON takes them.

        Args:
            matched: whether colours were matched before.
        """
        return {"match_colors": matched, "clips": [asdict(clip) for clip in self.clips()]}

    def summary(self) -> str:
        """The measurements in one line."""
        clips = self.clips()
        seams = ", ".join("none" if c.seam is None else f"{c.seam:.2f}" for c in clips[1:])
        last = max(clips, key=lambda clip: max(map(abs, clip.mean_shift)))
        mean, std = (" ".join(f"{v:+.1f}" for v in s) for s in (last.mean_shift, last.std_shift))
        number = clips.index(last) + 1
        return (
            f"{len(clips)} clips: difference at the seams over that inside: {seams}; largest shift "
            f"of colours in clip {number}: mean {mean}, deviation {std} of 255"
        )


def match_colors(video: Tensor, overlap: Tensor) -> Tensor:
    """A clip with the colours of the clip before, by their common frames.

    Each channel is scaled and shifted so that its mean and deviation over the common frames are
    those of the clip before. So what the video shows later does not count.

    Args:
        video: (3, F, H, W), a clip that begins with the common frames.
        overlap: (3, overlap, H, W), these frames in the clip before.
    """
    (had, was), (has, is_now) = (
        torch.std_mean(each, dim=(1, 2, 3), keepdim=True)
        for each in (overlap, video[:, : overlap.shape[1]])
    )
    scale = torch.where((had > FLAT) & (has > FLAT), had / has, torch.ones_like(had))
    return (video - is_now) * scale + was


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values.tolist())
