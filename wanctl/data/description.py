"""dataset.json: format version, recipe, and which sources belong to which part."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.credentials import remember
from wanctl.errors import UserError
from wanctl.textfiles import parse_json, read_text
from wanctl.video.sources import SourceFile, sampled

FORMAT = 2  # 2: selections have labels, clips say how their file was made
FILE = "dataset.json"
_MAX_BYTES = 2 << 30
REMOVED = "removed"
"""Key of a source: true where its file is gone, so that its clips do not count."""
CLEAN = "redacted"
"""Key of dataset.json: true where nothing in the data set holds credentials."""


class DatasetError(UserError):
    """The data set directory is missing, damaged, in use, or of another version."""


def load_or_create(path: Path, recipe: str) -> dict[str, Any]:
    """The description of an existing data set, or of a new one, which is written."""
    refuse_foreign(path)
    if (path / FILE).exists():
        description = load(path)
    else:
        description = {"format": FORMAT, "sources": [], "recipe": None, CLEAN: True}
    if description["recipe"] is None or (recipe and recipe != description["recipe"]):
        description["recipe"] = recipe or description["recipe"] or ""
        save(path, description)
    return description


def refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds something and is no data set.

    Raises:
        DatasetError: names the folder.
    """
    if (path / FILE).exists() or all(_is_ours(child.name) for child in path.iterdir()):
        return
    raise DatasetError(
        f"{path}: the folder is not empty and holds no dataset.json; name an empty or new folder"
    )


def save(path: Path, description: Mapping[str, Any]) -> None:
    """Replace the description on disk."""
    text = json.dumps(description, indent=1, ensure_ascii=False)
    write_bytes(path / FILE, text.encode())


def changed_sources(description: Mapping[str, Any], files: Sequence[SourceFile]) -> list[str]:
    """Recorded sources whose size, time of change or sampled content differs from the record.

    Figures that a file system does not give are 0 or "" and differ from nothing.
    """
    known = {source["uri"]: source for source in description["sources"]}
    return [
        file.uri
        for file in files
        if (old := known.get(file.uri)) is not None
        and (
            _differ(old["size"], file.size)
            or _differ(old["mtime_ns"], file.mtime_ns)
            or _differ(old.get("sample"), file.sample)
        )
    ]


def identified(description: Mapping[str, Any], files: Sequence[SourceFile]) -> list[SourceFile]:
    """Files without credentials in their URIs, with what identifies their content."""
    known = {source["uri"]: source for source in description["sources"]}
    public = [replace(file, uri=remember(file.uri)) for file in files]
    return [sampled(file, known.get(file.uri)) for file in public]


def with_sources(
    description: Mapping[str, Any],
    files: Sequence[SourceFile],
    removed: Collection[str],
    per_part: int,
) -> dict[str, Any]:
    """A description with the sources of a listing.

    Args:
        description: known sources keep their part.
        files: the listing; their order decides the order of new ones.
        removed: sources that are marked as removed; sources of the listing are not.
        per_part: new sources per part; they come in new parts.
    """
    listed = {file.uri: file for file in files}
    sources = [_record(source, listed, removed) for source in description["sources"]]
    known = {source["uri"] for source in sources}
    new = [file for file in files if file.uri not in known]
    first = 1 + max((part_number(source["part"]) for source in sources), default=-1)
    sources += [
        {**vars(file), "part": f"part-{first + index // per_part:05d}"}
        for index, file in enumerate(new)
    ]
    return {**description, "sources": sources}


def part_number(part: str) -> int:
    """The number of a part of the clips table."""
    return int(part.removeprefix("part-"))


def _record(
    source: Mapping[str, Any], listed: Mapping[str, SourceFile], removed: Collection[str]
) -> dict[str, Any]:
    file = listed.get(source["uri"])
    if file is not None:
        return {**vars(file), "part": source["part"]}
    return {**source, REMOVED: True} if source["uri"] in removed else dict(source)


def _differ(old: int | str | None, new: int | str) -> bool:
    return bool(old and new and old != new)


def load(path: Path) -> dict[str, Any]:
    """Read the description of the data set at `path`.

    Raises:
        DatasetError: it is damaged, or of another version.
    """
    file = path / FILE
    try:
        description = parse_json(read_text(file, _MAX_BYTES), str(file))
        version = description["format"]
    except (ValueError, KeyError, TypeError) as error:
        why = str(error).removeprefix(f"{file}: ")
        raise DatasetError(
            f"{file}: not a data set description ({why}); restore it or curate into a new folder"
        ) from error
    if version != FORMAT:
        raise DatasetError(
            f"{file}: format {version}, but this wanctl reads format {FORMAT}; "
            "use the wanctl that made it or curate again"
        )
    if not isinstance(description.get("sources"), list) or not all(
        _is_source(source) for source in description["sources"]
    ):
        raise DatasetError(
            f"{file}: a source has no uri, size or part named `part-00000`; restore the file or "
            "curate into a new folder (--out)"
        )
    if not isinstance(description.setdefault("recipe", None), str | None):
        raise DatasetError(f"{file}: recipe: need text; restore the file")
    return description


def _is_source(source: Any) -> bool:
    """Whether a record of a source is complete; its part becomes the name of files."""
    return (
        isinstance(source, dict)
        and isinstance(source.get("uri"), str)
        and {"size", "mtime_ns"} <= set(source)
        and bool(re.fullmatch(r"part-[0-9]{5,9}", str(source.get("part"))))
    )


def _is_ours(name: str) -> bool:
    return name.startswith(".lock") or ".tmp-" in name
