"""The record of the files that an export wrote, so that the next export can remove stale ones.

Trainers that read all files of a folder would otherwise still train on clips that a later
selection dropped. Only files that an export wrote itself are ever removed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.errors import UserError
from wanctl.path_names import is_inside
from wanctl.textfiles import parse_json, read_text

NAME = "export.json"
_MAX_BYTES = 2 << 30


class ExportError(UserError):
    """The folder of an export cannot be used."""


class ExportManifest:
    """`export.json` in the folder of an export.

    Args:
        folder: the folder of the export.

    Raises:
        ExportError: a file of that name exists that is not such a record.

    Attributes:
        left_out: clip id -> the reason why it could not be exported.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._files: set[str] = set()
        self.left_out: dict[str, str] = {}
        if self._path.exists():
            try:
                record: Any = parse_json(read_text(self._path, _MAX_BYTES), str(self._path))
                self._files = set(record["files"])
                self.left_out = dict(record["left_out"])
                if not all(map(is_inside, self._files)):  # stale files are deleted
                    raise ValueError("it lists files of other folders")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ExportError(
                    f"{self._path}: not the record of an export; name another folder"
                ) from error

    def record_files(self, files: Iterable[str]) -> None:
        """Record files, relative to the folder, before they are written."""
        self._files |= set(files)
        self.save()

    def remove_stale(self, files: Iterable[str]) -> int:
        """Delete recorded files that are not among `files`, and return how many were deleted."""
        kept = set(files)
        stale = [self._folder / name for name in sorted(self._files - kept)]
        removed = 0
        for path in stale:
            if path.exists():
                path.unlink()
                removed += 1
        self._files = kept
        self.save()
        return removed

    def save(self) -> None:
        """Write `export.json`."""
        record = {"files": sorted(self._files), "left_out": dict(sorted(self.left_out.items()))}
        write_bytes(self._path, json.dumps(record, indent=1, ensure_ascii=False).encode())
