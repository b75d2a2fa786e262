"""Options that prepare the source video of VACE, without its pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """One moving box of a layout.

    Attributes:
        boxes: frame number -> (left, top, right, bottom) as shares of the frame. It moves
            linearly between two of them, and is absent before the first and after the last.
        colour: RGB of its outline.
    """

    boxes: Mapping[int, tuple[float, float, float, float]]
    colour: tuple[int, int, int] = (0, 0, 0)

    def at(self, frame: int) -> np.ndarray | None:
        """The box at a frame; None where it is absent."""
        keys = sorted(self.boxes)
        if not keys or not keys[0] <= frame <= keys[-1]:
            return None
        sides = np.array([self.boxes[key] for key in keys], float)
        return np.array([np.interp(frame, keys, side) for side in sides.T])


@dataclass(frozen=True)
class VaceOptions:
    """How a source video is prepared.

    Attributes:
        control: content of the generated region: the `source`, grey (`blank`), or a row of
            CONTROLS computed from the source.
        layout: boxes drawn on white, instead of a video.
        mask_form: a row of FORMS.
        mask_expand: how far the mask grows, see `shape_mask`.
        outpaint: (left, top, right, bottom) added border, as shares of the source's sides.
        extend: frames added before and after.
        scale: strength of the control.
    """

    control: str = "source"
    layout: tuple[Track, ...] = ()
    mask_form: str = "original"
    mask_expand: float = 0.0
    outpaint: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    extend: tuple[int, int] = (0, 0)
    scale: float = 1.0

    @property
    def grows(self) -> bool:
        """Whether the output is larger or longer than the source."""
        return any(self.outpaint) or any(self.extend)
