"""How what VACE is shown is prepared: the wishes, without the pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Track:
    """One box on its way through a layout.

    Attributes:
        boxes: frame number -> (left, top, right, bottom) as shares of the picture. Between two
            of them it moves evenly; before the first and after the last it is not there.
        colour: of its outline, RGB.
    """

    boxes: Mapping[int, tuple[float, float, float, float]]
    colour: tuple[int, int, int] = (0, 0, 0)

    def at(self, frame: int) -> np.ndarray | None:
        """The box at a frame; None where it is not there."""
        keys = sorted(self.boxes)
        if not keys or not keys[0] <= frame <= keys[-1]:
            return None
        sides = np.array([self.boxes[key] for key in keys], float)
        return np.array([np.interp(frame, keys, side) for side in sides.T])


@dataclass(frozen=True)
class VaceOptions:
    """How a source is prepared.

    Attributes:
        control: what the part that is made anew shows: the `source` as it is, nothing (`blank`),
            or a row of CONTROLS made from it.
        layout: boxes drawn on white, instead of footage.
        mask_form: a row of FORMS.
        mask_expand: how far the mask grows, see `shape_mask`.
        outpaint: (left, top, right, bottom), what is added as shares of the source's sides.
        extend: frames that are added before and after.
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
        """Whether something is added around the source, in space or time."""
        return any(self.outpaint) or any(self.extend)
