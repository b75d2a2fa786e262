"""Reading a drawn picture back: does an OCR model see what was written?

The font's own table, not this, says that a glyph is right: readers pass over malformed strokes.
What a reader cannot make out at all is too small, too pale or too crowded to learn from.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from wanctl.errors import UserError
from wanctl.video.frames import Box


class Reading(NamedTuple):
    """What came back.

    Attributes:
        error: edit distance by length, over characters that the reader knows; 0 is all right.
        judged: how many of the characters the reader knows.
        missed: characters it knows and did not give back.
    """

    error: float
    judged: int
    missed: str


def read_back(picture: np.ndarray, lines: Sequence[str], cells: Sequence[Sequence[Box]]) -> Reading:
    """Compare lines with what PP-OCR reads at their places.

    Args:
        picture: (H, W, 3) uint8.
        lines: what was written.
        cells: their boxes, as `Drawn.lines`; columns are laid on their side cell by cell.
    """
    reader, alphabet = _reader()
    wrong, judged, missed = 0, 0, ""
    for line, boxes in zip(lines, cells, strict=True):
        strip = np.concatenate([_cut(picture, box) for box in boxes], axis=1)
        wanted = "".join(each for each in _plain(line) if each in alphabet)
        got = _plain(reader(strip))
        judged += len(wanted)
        wrong += distance(wanted, got)
        missed += "".join(each for each in wanted if each not in got)
    return Reading(wrong / judged if judged else 0.0, judged, missed)


def distance(one: str, other: str) -> int:
    """Levenshtein's edit distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def _plain(text: str) -> str:
    # readers give full-width and half-width forms for the same mark, and drop spaces
    return "".join(unicodedata.normalize("NFKC", text).split())


def _cut(picture: np.ndarray, box: Box) -> np.ndarray:
    cell = picture[max(0, box.y) : box.y + box.height, max(0, box.x) : box.x + box.width]
    missing = ((0, box.height - cell.shape[0]), (0, box.width - cell.shape[1]), (0, 0))
    return np.pad(cell, missing, mode="edge")


@cache
def _reader() -> tuple[Any, frozenset[str]]:
    """A function picture -> text, and the characters it can give. Loaded once per process."""
    try:
        from rapidocr import RapidOCR  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "text_images.check: rapidocr is not installed; `pip install rapidocr`, or set "
            "text_images.check=false"
        ) from error
    engine: Any = RapidOCR(params={"Global.log_level": "critical"})

    def read(strip: np.ndarray) -> str:
        found = engine(strip[:, :, ::-1], use_det=False, use_cls=False, use_rec=True)
        return str(found.txts[0]) if found.txts else ""

    read(np.full((48, 96, 3), 255, np.uint8))  # the model is loaded at its first use
    return read, frozenset(engine.text_rec.postprocess_op.character)
