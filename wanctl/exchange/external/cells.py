"""Makes a clip of one row of an index: its file, its captions and the figures it states."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wanctl.data.sidecars.texts import captions_of_facts, clean
from wanctl.exchange.external.clips import ExternalClip, LayoutError
from wanctl.exchange.external.rows import PATH_KEYS, IndexRow, no_path_column
from wanctl.textfiles import RepeatedKeys, TextError, decode_text
from wanctl.video.sources import disk_path, url_of

FIGURES = ("num_frames", "fps", "height", "width")


def clips_of(rows: Sequence[IndexRow], index: Path, base: Path) -> list[ExternalClip]:
    """One clip per row; a row without a file is a clip with an error.

    Args:
        rows: of the index.
        index: the index file, for messages.
        base: the folder from which relative paths start.

    Raises:
        LayoutError: the index has no rows, or no row names a file.
    """
    if not rows:
        raise LayoutError(f"{index}: not readable: lists no clip")
    clips = [clip_of(row, index, base) for row in rows]
    if all(clip.error for clip in clips):
        values = next((row.values for row in rows if row.values), None)
        if values is not None and not _lowered(values).keys() & set(PATH_KEYS):
            raise no_path_column(index, list(values))
        raise LayoutError(f"{index}: not readable: {clips[0].name}: {clips[0].error}")
    return clips


def clip_of(row: IndexRow, index: Path, base: Path) -> ExternalClip:
    """The clip of one row; what its cells hold in the place of values is noted."""
    name = f"{index.name} {row.place}"
    if row.problem:
        return ExternalClip(index, name=name, error=row.problem)
    values = _lowered(row.values)
    path, why = _path(values, base)
    if path is None:
        return ExternalClip(index, name=name, error=why)
    texts = captions_of_facts(values)
    stated, left_out = figures(values)
    notes = [*row.notes, *texts.problems, *left_out]
    if not texts.captions and exists(path.parent / f"{path.stem}.txt"):
        notes.append(f"{path.stem}.txt beside it is not read, {index.name} counts")
    return ExternalClip(
        path=path,
        captions=[each.text for each in texts.captions],
        stated=stated,
        name=why,
        notes=notes,
    )


def figures(values: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """The figures that a row or an object of facts states, and which were left out and why."""
    size = values.get("resolution")
    sides = size if isinstance(size, Mapping) else {}
    stated: dict[str, float] = {}
    problems = []
    for key in FIGURES:
        value = values.get(key, sides.get(key))
        if value is None or value == "":
            continue
        number = _number(value)
        if number is None:
            shown = repr(value)
            shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
            problems.append(f"{key}: got {shown}, need a number above 0; left out")
        else:
            stated[key] = number
    return stated, problems


def _number(value: Any) -> float | None:
    """A finite number above 0; None for everything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _lowered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by lower-case keys, bytes as text where they are."""
    lowered = {str(key).strip().lower(): _as_text(value) for key, value in values.items()}
    return RepeatedKeys(lowered, values.repeated) if isinstance(values, RepeatedKeys) else lowered


def _as_text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return decode_text(value, "")
    except TextError:
        return value


def _path(values: Mapping[str, Any], base: Path) -> tuple[Path | None, str]:
    """(path, name) of a row's file; (None, why) where it has none."""
    problems = []
    for key in PATH_KEYS:
        if _is_given(value := values.get(key)):
            name, why = _file_name(value)
            if name:
                return find_file(base, name), name
            problems.append(f"{key}: {why}")
    return None, "; ".join(problems) or (
        f"names no file in any of the columns {', '.join(PATH_KEYS)}"
    )


def _file_name(value: Any) -> tuple[str, str]:
    """(name, "") of a cell that names a file; ("", why) for another."""
    if isinstance(value, Mapping):  # as Hugging Face stores videos
        value = value.get("path")
        if not value:
            return "", "the video is stored in the index; only files are checked"
    if not isinstance(value, str):
        return "", f"got {str(value)[:40]}, need the name of a file"
    if "\0" in value:
        return "", "the name of the file holds NUL"
    if url_of(value):
        return "", "is a URL; only files are checked, download it first"
    return value, ""


def _is_given(value: Any) -> bool:
    return value is not None and value != "" and not (isinstance(value, str) and value.isspace())


def find_file(base: Path, name: str) -> Path:
    """The file as it is written, or as it is meant where there is none of this name.

    Cells may have white space or a byte order mark at their ends, or backslashes.
    """
    plain = base / disk_path(name)
    meant = clean(name)
    if (meant == name and "\\" not in name) or exists(plain):
        return plain
    for other in (meant, name.replace("\\", "/"), meant.replace("\\", "/")):
        if exists(base / other):
            return base / other
    return plain


def exists(path: Path) -> bool:
    """Whether a file is there; False for names that no file system takes."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
