"""dataset.json: format version, recipe, and which sources belong to which part."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.errors import UserError
from wanctl.textfiles import parse_json, read_text
from wanctl.video.sources import SourceFile

FORMAT = 2  # 2: selections have labels, clips say how their file was made
FILE = "dataset.json"
_MAX_BYTES = 2 << 30
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


def is_known(file: SourceFile, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a source is recorded in the description.

    Raises:
        DatasetError: it is recorded with another size or modification time.
    """
    old = known.get(file.uri)
    if old is not None and (old["size"], old["mtime_ns"]) != (file.size, file.mtime_ns):
        raise DatasetError(
            f"{file.uri}: the file changed since this data set was begun; put the old file "
            f"back, or curate into a new folder (--out)"
        )
    return old is not None


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
