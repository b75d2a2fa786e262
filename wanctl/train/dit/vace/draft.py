"""What was drawn for one window, and the inputs a user of `sample` would give to say the same.

Shapes: T frames, H/W pixels.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from torch import Tensor

from wanctl.tasks.inputs import Inputs, SourceVideo
from wanctl.tasks.pixels import to_float
from wanctl.tasks.vace_options import Track, VaceOptions

GENERATED = 255  # of a mask


@dataclass(frozen=True, eq=False)
class Draft:
    """A drawn control; what is None was not drawn.

    Attributes:
        control: content of the generated region, a row of CONTROLS computed from the window.
        mask: (T, H, W) uint8, 255 is generated; before it is given its form.
        form: row of FORMS that the mask is given.
        expand: how far the mask then grows, see `shape_mask`.
        known: (T,) bool, frames that are kept.
        border: (left, top, right, bottom) pixels of the window that are generated around the rest.
        tracks: boxes of a layout, which stands alone.
        video: (T, H', W', 3) uint8 RGB, a control video of the clip, which stands alone.
    """

    control: str | None = None
    mask: np.ndarray | None = None
    form: str | None = None
    expand: float | None = None
    known: np.ndarray | None = None
    border: tuple[int, int, int, int] | None = None
    tracks: tuple[Track, ...] | None = None
    video: np.ndarray | None = None

    def combined(self, other: "Draft") -> "Draft":
        """Both drafts as one; what both have is this one's."""
        missing = [each.name for each in fields(self) if getattr(self, each.name) is None]
        return replace(self, **{name: getattr(other, name) for name in missing})

    def inputs(self, frames: np.ndarray, fps: float, references: tuple[Tensor, ...]) -> Inputs:
        """The inputs of the task VACE.

        Args:
            frames: (T, H, W, 3) uint8 RGB, the window.
            fps: its frame rate.
            references: (3, H', W') fp32 in [-1, 1].
        """
        rest = Inputs(references=references, fps=fps, exact=True)
        if self.tracks is not None:
            return replace(rest, vace=VaceOptions(layout=self.tracks))
        if self.video is not None:
            return replace(rest, video=_video(self.video, fps, "control video"))
        if self._only():
            return rest
        if self.known is not None and self._only("known") and (ends := _ends(self.known)):
            images = {name: to_float(frames[place]) for name, place in ends.items()}
            return replace(rest, **images)
        part, extend, mask = self._in_time(frames)
        left, top, right, bottom = self.border or (0, 0, 0, 0)
        height, width = frames.shape[1:3]
        rows, columns = slice(top, height - bottom), slice(left, width - right)
        size = (height - top - bottom, width - left - right)
        options = VaceOptions(
            # of a mask's inside, or of everything: `blank` without a mask would keep nothing
            control=self.control or ("blank" if mask is not None else "source"),
            mask_form=self.form or "original",
            mask_expand=self.expand or 0.0,
            outpaint=(
                _share(left, size[1]), _share(top, size[0]),
                _share(right, size[1]), _share(bottom, size[0]),
            ),
            extend=extend,
        )  # fmt: skip
        return replace(
            rest,
            video=_video(frames[part, rows, columns], fps, "video"),
            mask=None if mask is None else _video(mask[part, rows, columns], fps, "mask"),
            vace=options,
        )

    def _in_time(self, frames: np.ndarray) -> tuple[slice, tuple[int, int], np.ndarray | None]:
        """Frames of the source, frames added before and after, and the mask of the window."""
        known, everything, count = self.known, slice(None), len(frames)
        if known is None:
            return everything, (0, 0), self.mask
        first, last = (int(place) for place in np.flatnonzero(known)[[0, -1]])
        if self.control is None and known[first : last + 1].all() and (first == 0) != (
            last == count - 1
        ):  # fmt: skip
            return slice(first, last + 1), (first, count - 1 - last), self.mask
        mask = np.zeros(frames.shape[:3], np.uint8) if self.mask is None else self.mask
        return everything, (0, 0), np.where(known[:, None, None], mask, GENERATED).astype(np.uint8)

    def _only(self, *names: str) -> bool:
        return all(getattr(self, f.name) is None for f in fields(self) if f.name not in names)


def _ends(known: np.ndarray) -> dict[str, int] | None:
    """Input -> frame where the first frame, the last or these two are known; None elsewhere."""
    places = np.flatnonzero(known).tolist()
    names = {0: "image", len(known) - 1: "last_image"}
    return {names[p]: p for p in places} if all(p in names for p in places) else None


def _share(pixels: int, side: int) -> float:
    """The share of a side that the task rounds down to so many pixels."""
    return (pixels + 0.5) / side if pixels else 0.0


def _video(pictures: np.ndarray, fps: float, name: str) -> SourceVideo:
    starts_s = np.arange(len(pictures)) / fps
    return SourceVideo(list(pictures), starts_s, starts_s + 1 / fps, name, pictures.shape[1:3])
