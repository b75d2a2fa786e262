"""Reads `labels.csv`: what a person saw in each clip of a folder."""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wanctl.bench.metrics import Interval
from wanctl.errors import UserError
from wanctl.video.frames import Box

TABLE = "labels.csv"
OVERLAY_TEXT = ("none", "light", "heavy")
EXPOSURES = ("fine", "under", "over")
MOTIONS = ("optimal", "medium", "static", "camera", "low", "shaky")
UNKNOWN = ("not labelled", "mixed", "title card")
WORDS = {"small": "light", "camera-driven": "camera", "subject": "optimal"}
"""Other words for the same labels."""

T = TypeVar("T")


@dataclass(frozen=True)
class ClipLabels:
    """Labels of one file; None where it has no label of that kind.

    Attributes:
        file: name of the video beside the table.
        group: files of one film or channel; they are judged together.
        overlay_text: none, light or heavy.
        logo: whether a corner or an edge carries a mark. One across the centre counts as none, as
            no crop removes it.
        border: whether bars surround the active area.
        crop: the active area in pixels, where it was measured.
        motion: one of MOTIONS.
        blurred: whether the clip is out of focus, smeared or upscaled.
        exposure: fine, under or over.
        quality: a person's mark, 1 to 5.
        transitions: first frame of each new shot twice, or first and last frame of a gradual one.
    """

    file: str
    group: str
    overlay_text: str | None = None
    logo: bool | None = None
    border: bool | None = None
    crop: Box | None = None
    motion: str | None = None
    blurred: bool | None = None
    exposure: str | None = None
    quality: float | None = None
    transitions: tuple[Interval, ...] | None = None


def read(folder: Path) -> list[ClipLabels]:
    """Labels of the videos that are there, in the order of the table.

    Columns: `file`, and any of `group`, `overlay_text`, `logo` (none, centre, or where it is),
    `border` (yes, no), `border_crop_xywh` ("0,58,854,364", empty for none), `motion_tier` or
    `motion`, `blurred` (yes, no), `exposure`, `quality_1_5` and
    `transitions_first_frame_of_new_shot` (none, or numbers and ranges such as "80 205-240"). Words
    of WORDS are read too. A cell that is empty or in UNKNOWN is no label.

    Raises:
        UserError: no table, no video that it names, or a value that is none of these; says where.
    """
    table = folder / TABLE
    if not table.is_file():
        raise UserError(f"{folder}: expected {TABLE} and the videos that it names")
    rows = []
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "file" not in (reader.fieldnames or ()):
            raise UserError(f"{table}: expected a column `file`, got {reader.fieldnames or []}")
        for cells in reader:
            labels = _labels(_Row(table, reader.line_num, cells))
            if (folder / labels.file).is_file():
                rows.append(labels)
    if not rows:
        raise UserError(f"{table}: none of its videos is in {folder}")
    return rows


class _Row:
    """The cells of one line, and where it is."""

    def __init__(self, table: Path, line: int, cells: Mapping[str, str | None]) -> None:
        self._where = f"{table}:{line}"
        self._cells = {key: (value or "").strip() for key, value in cells.items() if key}

    def has(self, name: str) -> bool:
        return name in self._cells

    def text(self, name: str) -> str:
        value = self._cells.get(name, "")
        return "" if value in UNKNOWN else WORDS.get(value, value)

    def parsed(self, name: str, parse: Callable[[str], T], allowed: str) -> T | None:
        """The cell's value; None where it is empty."""
        text = self.text(name)
        if not text:
            return None
        try:
            return parse(text)
        except (ValueError, KeyError):
            raise UserError(f"{self._where}: {name}: got {text!r}; allowed: {allowed}") from None

    def choice(self, name: str, values: tuple[str, ...]) -> str | None:
        return self.parsed(name, lambda text: values[values.index(text)], ", ".join(values))

    def yes_no(self, name: str) -> bool | None:
        return self.parsed(name, {"yes": True, "no": False}.__getitem__, "yes, no")


def _labels(row: _Row) -> ClipLabels:
    crop = row.parsed("border_crop_xywh", _box, "x,y,width,height")
    border = row.yes_no("border")
    if border is None and row.has("border_crop_xywh"):
        border = crop is not None
    return ClipLabels(
        file=row.text("file"),
        group=row.text("group") or row.text("file"),
        overlay_text=row.choice("overlay_text", OVERLAY_TEXT),
        logo=row.parsed("logo", lambda text: text not in ("none", "centre"), "any text"),
        border=border,
        crop=crop,
        motion=row.choice("motion_tier", MOTIONS) or row.choice("motion", MOTIONS),
        blurred=row.yes_no("blurred"),
        exposure=row.choice("exposure", EXPOSURES),
        quality=row.parsed("quality_1_5", _mark, "1 to 5"),
        transitions=row.parsed(
            "transitions_first_frame_of_new_shot", _transitions, 'none, or such as "80 205-240"'
        ),
    )


def _box(text: str) -> Box:
    x, y, width, height = (int(part) for part in text.split(","))
    return Box(x, y, width, height)


def _mark(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 5:
        raise ValueError(text)
    return value


def _transitions(text: str) -> tuple[Interval, ...]:
    if text == "none":
        return ()
    found = []
    for part in text.split():
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not numbers:
            raise ValueError(text)
        first = int(numbers[1])
        found.append((first, int(numbers[2] or first)))
    return tuple(found)
