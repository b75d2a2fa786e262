"""`controls.png`: what a run is going to be trained on, to be looked at when it starts.

One row per example: frames of the window, of the control, and of the mask (white is generated),
then the reference images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from wanctl.atomic import make_folder
from wanctl.log import log
from wanctl.model.shapes import PixelShape
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.pixels import to_array, to_frames
from wanctl.tasks.vace.sizes import letterbox_white
from wanctl.tasks.vace.task import VACE
from wanctl.train.dit.vace.control_videos import CONTROL_VIDEO, find_control_videos
from wanctl.train.dit.vace.kinds import TOGETHER, Window, draw_draft, usable_kinds
from wanctl.train.dit.vace.options import ControlOptions
from wanctl.train.dit.vace.references import draw_references
from wanctl.train.inputs.windows import ClipWindow, Footage
from wanctl.train.rng import keyed_seed
from wanctl.video.encode import write_png

SHOWN_FRAMES = 4
_CELL_WIDTH_PX = 120
_WINDOWS = 6  # of footage, used in turn
_GAP_PX = 3
_LINE_PX = 16
_GREY = 90


@dataclass(frozen=True)
class Example:
    """Inputs that were drawn for a window.

    Attributes:
        title: the kinds.
        frames: (T, H, W, 3) uint8 RGB, the window.
        inputs: what was drawn.
    """

    title: str
    frames: np.ndarray
    inputs: Inputs


def write_controls(
    options: ControlOptions, footage: Footage, fps: float, seed: int, folder: Path
) -> None:
    """Write `controls.png` and log where it is.

    Args:
        options: of the run.
        footage: source of windows.
        fps: their frame rate.
        seed: of the examples.
        folder: of the run's transformer; receives the file.
    """
    windows = footage.training_windows()
    fitting = [w for w in windows if usable_kinds(options.kinds, w.shape.frames)]
    chosen = fitting[:: max(1, len(fitting) // _WINDOWS)][:_WINDOWS]
    if options.control_videos:
        clips = {window.clip for window in fitting}
        found = [clip for clip in clips if find_control_videos(options, clip)]
        log.info("train-dit: %d of %d clips have a control video", len(found), len(clips))
    shown = [(window, footage.read(window)) for window in chosen]
    path = folder / "controls.png"
    make_folder(folder)
    write_control_sheet(path, list(draw_examples(shown, options, fps, seed)))
    log.info("train-dit: look at %s: what is drawn from the footage", path)


def draw_examples(
    windows: Sequence[tuple[ClipWindow | None, np.ndarray]],
    options: ControlOptions,
    fps: float,
    seed: int,
) -> Iterator[Example]:
    """One example of every kind that is drawn, and of every two kinds that are drawn together.

    References come with every second example where the run draws any.

    Args:
        windows: place and frames (T, H, W, 3) uint8 RGB of each, used in turn.
        options: of the run.
        fps: frame rate of the windows.
        seed: of the examples.
    """
    number = 0
    for kinds in _rows(options):
        fitting = [each for each in windows if _fits(kinds, *each, options)]
        if not fitting:
            continue
        place, frames = fitting[number % len(fitting)]
        rng = np.random.default_rng(keyed_seed(seed, "controls.png", *kinds))
        only = replace(options, kinds=kinds, composite=float(len(kinds) > 1))
        window = Window(frames, rng, only, place)
        draft, names = draw_draft(window)
        count = 1 + number // 2 % options.max_references if number % 2 and options.references else 0
        inputs = draft.inputs(frames, fps, draw_references(window, count))
        yield Example(" + ".join(names), frames, inputs)
        number += 1


def control_sheet(examples: Sequence[Example]) -> np.ndarray:
    """(H, W, 3) uint8 picture of examples of any sizes, one row each."""
    columns = 3 * SHOWN_FRAMES + max(len(each.inputs.references) for each in examples)
    return np.concatenate([_row(example, columns) for example in examples])


def write_control_sheet(path: Path, examples: Sequence[Example]) -> None:
    """Write the sheet as PNG."""
    write_png(path, control_sheet(examples), {"rows": "\n".join(e.title for e in examples)})


def _fits(
    kinds: dict[str, float], place: ClipWindow | None, frames: np.ndarray, options: ControlOptions
) -> bool:
    """Whether a window can be drawn from in all these kinds."""
    if CONTROL_VIDEO in kinds and not (place and find_control_videos(options, place.clip)):
        return False
    return len(usable_kinds(kinds, len(frames))) == len(kinds)


def _rows(options: ControlOptions) -> list[dict[str, float]]:
    """Weights of the kinds of each row; of two kinds the second is a partner of the first."""
    drawn = [name for name, weight in options.kinds.items() if weight > 0]
    pairs = [
        {first: 1.0, second: 1e-9}
        for first in drawn
        for second in TOGETHER.get(first, ())
        if second in drawn and drawn.index(second) > drawn.index(first)
    ]
    return [*({name: 1.0} for name in drawn), *(pairs if options.composite else [])]


def _row(example: Example, columns: int) -> np.ndarray:
    frames = example.frames
    size = PixelShape(*frames.shape[:3])
    source = VACE().source(example.inputs, size)
    masks = to_frames(source.mask.expand(3, -1, -1, -1) * 2 - 1)
    shown = np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int)
    groups = [("footage", frames), ("control", to_frames(source.video)), ("mask", masks)]
    pictures = [(name, video[place]) for name, video in groups for place in shown]
    for reference in example.inputs.references:
        pictures.append(("reference", to_array(letterbox_white(reference, *size[1:]))))
    height = round(_CELL_WIDTH_PX * size.height / size.width)
    row = np.full(
        (2 * _LINE_PX + height + _GAP_PX, columns * (_CELL_WIDTH_PX + _GAP_PX), 3), 255, np.uint8
    )
    _write(row, example.title, 0, _LINE_PX - 4, 0)
    named = ""
    for column, (name, picture) in enumerate(pictures):
        left = column * (_CELL_WIDTH_PX + _GAP_PX)
        if name != named:
            _write(row, name, left, 2 * _LINE_PX - 4, _GREY)
        named = name
        cell = cv2.resize(picture, (_CELL_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        # a thin frame: white masks and letter-boxed references end where the paper begins
        cv2.rectangle(cell, (0, 0), (_CELL_WIDTH_PX - 1, height - 1), (_GREY,) * 3, 1)
        row[2 * _LINE_PX : 2 * _LINE_PX + height, left : left + _CELL_WIDTH_PX] = cell
    return row


def _write(row: np.ndarray, text: str, left: int, baseline: int, grey: int) -> None:
    cv2.putText(row, text, (left + 1, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (grey,) * 3, 1,
                cv2.LINE_AA)  # fmt: skip
