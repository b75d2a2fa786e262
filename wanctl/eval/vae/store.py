"""Results of single clips on disk, so that a run that was stopped goes on where it was."""

import contextlib
import json
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes

FOLDER = "results"
# Raised where a measure changes, so that results of earlier versions are not mixed with new ones.
VERSION = 1


class ResultStore:
    """JSON files by two keys, `results/KEY/KEY.json`; each is whole or absent.

    Args:
        out: the output folder.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out / FOLDER

    def get(self, group: str, key: str) -> dict[str, Any] | None:
        """A result; None where there is none, or one of another version."""
        with contextlib.suppress(OSError, ValueError):
            value = json.loads(self._path(group, key).read_text(encoding="utf-8"))
            if isinstance(value, dict) and value.get("version") == VERSION:
                return value
        return None

    def put(self, group: str, key: str, value: dict[str, Any]) -> None:
        """Store a result.

        Raises:
            WriteError: the folder cannot be written.
        """
        text = json.dumps({"version": VERSION, **value}, allow_nan=False)
        write_bytes(self._path(group, key), text.encode())

    def _path(self, group: str, key: str) -> Path:
        return self._folder / group / f"{key}.json"
