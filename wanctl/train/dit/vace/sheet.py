"""`controls.png`: what a run is going to be trained on, to be looked at when it starts.

One row per example: frames of the window, of the control, and of the mask (white is generated),
then the reference images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wanctl.model.shapes import PixelShape
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.pixels import to_array, to_frames
from wanctl.tasks.vace.sizes import letterbox_white
from wanctl.tasks.vace.task import VACE
from wanctl.video.encode import write_png

SHOWN_FRAMES = 3
_CELL_WIDTH_PX = 144
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


def control_sheet(examples: Sequence[Example]) -> np.ndarray:
    """(H, W, 3) uint8 picture of examples of any sizes, one row each."""
    columns = 3 * SHOWN_FRAMES + max(len(each.inputs.references) for each in examples)
    return np.concatenate([_row(example, columns) for example in examples])


def write_control_sheet(path: Path, examples: Sequence[Example]) -> None:
    """Write the sheet as PNG."""
    write_png(path, control_sheet(examples), {"rows": "\n".join(e.title for e in examples)})


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
