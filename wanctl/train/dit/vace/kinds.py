"""KINDS: what a training window of VACE is made into, each drawn at random.

To add a kind, write a function from a `Window` to a `Draft` and name it in KINDS; a kind that goes
together with others is named in TOGETHER.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wanctl.tasks.vace.masks import FORMS, shape_mask
from wanctl.tasks.vace_options import Track
from wanctl.train.dit.vace.control_videos import (
    CONTROL_VIDEO,
    find_control_videos,
    no_control_video,
    read_control_video,
)
from wanctl.train.dit.vace.draft import GENERATED, Draft
from wanctl.train.dit.vace.options import ControlOptions
from wanctl.train.dit.vace.shapes import SHAPES, moving_shape
from wanctl.train.dit.vace.subject import Subject, find_subject, follow_box
from wanctl.train.inputs.windows import ClipWindow

SUBJECT = "subject"
MASK_SHAPES = (SUBJECT, *SHAPES)
# Share of masks that grow after they are given their form, and by how much (see `shape_mask`).
_EXPANDED, _EXPAND = 0.5, (0.03, 0.25)
# Share of the window that a mask in its form may cover; one that covers more keeps its own form.
_MAX_COVERED = 0.8
# Part of each side that out-painting keeps at least and at most.
_KEPT = (0.45, 0.9)
# Least share of a window that clips of known frames take together, and most.
_KNOWN = (0.1, 0.6)
_MAX_KNOWN_FRAMES = 5  # single frames
_MAX_TRACKS = 3
_TRACK_STEP = 4  # frames between two boxes, as a user sets key frames
_TRACK_SIDE = (0.15, 0.45)  # of a box around anything that moves along
_COLOURS = ((0, 0, 0), (200, 40, 40), (40, 90, 200), (30, 140, 60), (220, 150, 20))


class Window:
    """Frames of footage and the random numbers of one draw.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        rng: source of all that is random.
        options: what is drawn.
        place: where the frames come from; None: from no clip, so that it has no control video.
    """

    def __init__(
        self,
        frames: np.ndarray,
        rng: np.random.Generator,
        options: ControlOptions,
        place: ClipWindow | None = None,
    ) -> None:
        self.frames = frames
        self.rng = rng
        self.options = options
        self.place = place
        self._seed = int(rng.integers(2**31))

    @property
    def size(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        frames, height, width, _ = self.frames.shape
        return frames, height, width

    @cached_property
    def subject(self) -> Subject | None:
        """The main subject; searched when it is first asked for, which moves no random number."""
        return find_subject(self.frames, self._seed)

    @property
    def control_videos(self) -> list[Path]:
        """Control videos of the clip that the frames come from."""
        return [] if self.place is None else find_control_videos(self.options, self.place.clip)


def choose(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of the names, by weights of which one is above 0."""
    shares = np.array(list(weights.values()), float)
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def draw_draft(window: Window) -> tuple[Draft, tuple[str, ...]]:
    """Draw a control for a window; returns it with the names of its kinds.

    Raises:
        UserError: nothing but control videos is to be drawn, and the clip has none.
    """
    options, rng = window.options, window.rng
    weights = usable_kinds(options.kinds, window.size[0])
    if not window.control_videos:
        weights.pop(CONTROL_VIDEO, None)
    if not weights:
        raise no_control_video(options, window.place)
    kind = choose(weights, rng)
    draft = KINDS[kind].draw(window)
    partners = {name: weights[name] for name in TOGETHER.get(kind, ()) if name in weights}
    if rng.random() < options.composite and partners:
        second = choose(partners, rng)
        return draft.combined(KINDS[second].draw(window)), (kind, second)
    return draft, (kind,)


def usable_kinds(kinds: Mapping[str, float], frames: int) -> dict[str, float]:
    """Kinds that are drawn from windows of so many frames, with their weights."""
    return {n: w for n, w in kinds.items() if w > 0 and frames >= KINDS[n].min_frames}


def _text(window: Window) -> Draft:  # noqa: ARG001
    return Draft()


def _inpaint(window: Window) -> Draft:
    rng = window.rng
    shape = choose(window.options.mask_shapes, rng)
    # drawn in any case, so that what follows does not depend on whether a subject was found
    outline = rng.choice(list(SHAPES))
    form = str(rng.choice(list(FORMS)))
    expand = float(rng.uniform(*_EXPAND)) * (rng.random() < _EXPANDED)
    if shape == SUBJECT and window.subject is not None:
        mask = window.subject.masks.astype(np.uint8) * 255
    else:
        shape = str(outline) if shape == SUBJECT else shape
        mask = moving_shape(window.size, shape, window.options.mask_area, rng)
    formed = [shape_mask(each, form, expand) for each in mask]
    if np.mean(formed) > _MAX_COVERED * GENERATED:
        form, expand = "original", 0.0
    return Draft(mask=mask, form=form, expand=expand)


def _outpaint(window: Window) -> Draft:
    """Borders on one side, on opposite sides or on all."""
    rng = window.rng
    border = {}
    axes = [("left", "right", window.size[2]), ("top", "bottom", window.size[1])]
    for first, last, side in (axes, axes[:1], axes[1:])[int(rng.integers(3))]:
        added = round(side * (1 - rng.uniform(*_KEPT)))
        before = round(added * float(rng.choice([0.0, rng.random(), 1.0])))
        border |= {first: before, last: added - before}
    return Draft(border=tuple(border.get(n, 0) for n in ("left", "top", "right", "bottom")))  # pyright: ignore[reportArgumentType]


def _extension(window: Window) -> Draft:
    """Known frames: the first, the last, both or random ones, each a frame or a clip."""
    rng, count = window.rng, window.size[0]
    places = str(rng.choice(["first", "last", "both", "random"]))
    known = np.zeros(count, bool)
    if rng.random() < 0.5:  # single frames
        pieces, length = int(rng.integers(1, _MAX_KNOWN_FRAMES + 1)), 1
    else:
        pieces = int(rng.integers(1, 3))
        length = max(1, round(count * rng.uniform(*_KNOWN)) // (2 if places == "both" else pieces))
    if places in ("first", "both"):
        known[:length] = True
    if places in ("last", "both"):
        known[-length:] = True
    if places == "random":
        for start in rng.integers(0, count - length + 1, min(pieces, count // 2)):
            known[start : start + length] = True
    if known.all():
        known[count // 2] = False
    return Draft(known=known)


def _control(name: str) -> Callable[[Window], Draft]:
    return lambda window: Draft(control=name)  # noqa: ARG005


def _layout(window: Window) -> Draft:
    """Boxes around the subject, and around parts of the frame that move along with it."""
    rng, frames = window.rng, window.frames
    keys = sorted({*range(0, len(frames), _TRACK_STEP), len(frames) - 1})
    tracks = []
    more = int(rng.integers(_MAX_TRACKS))
    if window.subject is not None:
        boxes = {key: window.subject.box(key) for key in keys}
        _, height, width = window.size
        scale = np.array((width, height, width, height))
        tracks.append({k: _limits(np.array(b) / scale) for k, b in boxes.items() if b is not None})
    for _ in range(more if tracks else max(1, more)):
        side = rng.uniform(*_TRACK_SIDE, 2)
        corner = rng.uniform(0, 1 - side)
        boxes = follow_box(frames, (*corner, *(corner + side)))
        tracks.append({key: _limits(boxes[key]) for key in keys})
    return Draft(tracks=tuple(Track(b, c) for b, c in zip(tracks, _colours(rng), strict=False)))


def _control_video(window: Window) -> Draft:
    """The part of one of the clip's control videos that belongs to the window."""
    assert window.place is not None
    paths = window.control_videos
    path = paths[int(window.rng.integers(len(paths)))]
    start = window.place.start
    return Draft(video=read_control_video(path, start, start + len(window.frames)))


def _limits(box: Sequence[float] | np.ndarray) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(min(1.0, max(0.0, value))) for value in box)
    return left, top, right, bottom


def _colours(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Black for all boxes, or a colour for each."""
    order = rng.permutation(len(_COLOURS))
    black = rng.random() < 0.5
    return [_COLOURS[0] if black else _COLOURS[place] for place in order]


@dataclass(frozen=True)
class Kind:
    """One row of KINDS.

    Attributes:
        draw: draws it for a window.
        min_frames: frames that a window needs.
    """

    draw: Callable[[Window], Draft]
    min_frames: int = 1


KINDS: dict[str, Kind] = {
    "text": Kind(_text),
    "inpaint": Kind(_inpaint),
    "outpaint": Kind(_outpaint),
    "extension": Kind(_extension, min_frames=5),
    "grey": Kind(_control("grey")),
    "scribble": Kind(_control("scribble")),
    "flow": Kind(_control("flow"), min_frames=5),
    "layout": Kind(_layout),
    CONTROL_VIDEO: Kind(_control_video),
}

_REGION = ("inpaint", "extension")
_COMPUTED = ("grey", "scribble", "flow")
TOGETHER: dict[str, tuple[str, ...]] = {
    "inpaint": ("extension", "outpaint", *_COMPUTED),
    "extension": ("inpaint", "outpaint", *_COMPUTED),
    "outpaint": _REGION,
    **dict.fromkeys(_COMPUTED, _REGION),
}
"""Kind -> kinds that may be drawn with it: the control then fills the region that is generated."""
