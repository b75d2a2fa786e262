"""Reads a text image back with OCR to find out whether the text is legible.

OCR does not verify glyphs (it tolerates malformed strokes; the font's own table is the authority).
Text that it cannot read at all is too small, too pale or too crowded to learn from.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from wanctl.errors import UserError
from wanctl.video.frames import Box


class ReadbackResult(NamedTuple):
    """How well OCR read the drawn lines.

    Attributes:
        error: edit distance divided by length, over the characters that the OCR model knows.
        judged: number of drawn characters that the model knows.
        missed: known characters that the model did not return.
    """

    error: float
    judged: int
    missed: str


def read_back(
    image: np.ndarray, lines: Sequence[str], cells: Sequence[Sequence[Box]]
) -> ReadbackResult:
    """Compare lines with what PP-OCR reads in their boxes.

    Args:
        image: (H, W, 3) uint8.
        lines: the strings that were drawn.
        cells: their boxes, as in `TextImage.lines`; the cells of a column are joined to a row.
    """
    reader, alphabet = _reader()
    wrong, judged, missed = 0, 0, ""
    for line, boxes in zip(lines, cells, strict=True):
        strip = np.concatenate([_cut(image, box) for box in boxes], axis=1)
        expected = "".join(each for each in _plain(line) if each in alphabet)
        text = _plain(reader(strip))
        judged += len(expected)
        wrong += edit_distance(expected, text)
        missed += "".join(each for each in expected if each not in text)
    return ReadbackResult(wrong / judged if judged else 0.0, judged, missed)


def edit_distance(one: str, other: str) -> int:
    """Levenshtein distance of two strings."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def _plain(text: str) -> str:
    # OCR returns full-width and half-width forms of the same mark, and drops spaces
    return "".join(unicodedata.normalize("NFKC", text).split())


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    cell = image[max(0, box.y) : box.y + box.height, max(0, box.x) : box.x + box.width]
    missing = ((0, box.height - cell.shape[0]), (0, box.width - cell.shape[1]), (0, 0))
    return np.pad(cell, missing, mode="edge")


@cache
def _reader() -> tuple[Any, frozenset[str]]:
    """A function image -> text and the characters that it knows; loaded once per process."""
    try:
        from rapidocr import RapidOCR  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "text_images.check: rapidocr is not installed; `pip install rapidocr`, or set "
            "text_images.check=false"
        ) from error
    engine: Any = RapidOCR(params={"Global.log_level": "critical"})

    def read(strip: np.ndarray) -> str:
        output = engine(strip[:, :, ::-1], use_det=False, use_cls=False, use_rec=True)
        return str(output.txts[0]) if output.txts else ""

    read(np.full((48, 96, 3), 255, np.uint8))  # the model is loaded at its first use
    return read, frozenset(engine.text_rec.postprocess_op.character)
