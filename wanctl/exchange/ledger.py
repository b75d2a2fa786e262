"""What an export has put into a folder, so that the next one can take away what is stale.

Trainers that read whole folders would otherwise go on training on clips that a later selection
dropped. Only files that an export wrote itself are ever removed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.errors import UserError

NAME = "export.json"


class ExportError(UserError):
    """The folder of an export cannot be used."""


class Ledger:
    """The record `export.json` in the folder of an export.

    Args:
        folder: of the export.

    Raises:
        ExportError: there is a file of that name that is no such record.

    Attributes:
        left_out: clip id -> why it could not be exported.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        record: dict[str, Any] = {"files": [], "left_out": {}}
        if self._path.exists():
            try:
                record = json.loads(self._path.read_bytes())
                self._files = set(record["files"])
            except (ValueError, KeyError, TypeError) as error:
                raise ExportError(
                    f"{self._path}: not the record of an export; name another folder"
                ) from error
        self._files = set(record["files"])
        self.left_out: dict[str, str] = dict(record["left_out"])

    def claim(self, files: Iterable[str]) -> None:
        """Write down files, relative to the folder, before they are made."""
        self._files |= set(files)
        self.save()

    def settle(self, files: Iterable[str]) -> int:
        """Keep only these; removes the others that earlier exports made. Returns how many."""
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
        """Write the record."""
        record = {"files": sorted(self._files), "left_out": dict(sorted(self.left_out.items()))}
        write_bytes(self._path, json.dumps(record, indent=1, ensure_ascii=False).encode())
