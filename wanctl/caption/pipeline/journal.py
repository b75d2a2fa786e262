"""The journal of one part: results of its clips, one JSON object per line, written as they come.

Answers to a clip that is not complete yet are in it too, so that no request is repeated which was
answered before a run was killed.

A line is one write to a file opened for appending, so that `kill -9` loses nothing that was
written; at a power cut the last seconds may be missing. `tables.py` moves the lines into the tables
and deletes the journal.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wanctl.atomic import make_folder, writing
from wanctl.vlm.chat import ChatAnswer


class Journal:
    """Appends to the journal of one part; the file is made with the first record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._torn = False

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            WriteError: the disk is full; what was written of the line is ignored by `read`.
        """
        line = json.dumps(record, ensure_ascii=False).encode(errors="replace") + b"\n"
        if self._descriptor is None:
            make_folder(self.path.parent)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with writing(self.path):
                self._descriptor = os.open(self.path, flags, 0o644)
        line = b"\n" * self._torn + line
        self._torn = True  # by a full disk or Ctrl-C
        with writing(self.path):
            while line:
                line = line[os.write(self._descriptor, line) :]
        self._torn = False

    def clear(self) -> None:
        """Delete the file, whose records are in the tables."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a journal, also of a process that was killed: a last line that is torn is none."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError:  # torn, and written on behind it
                continue


def open_answers(path: Path) -> dict[str, ChatAnswer]:
    """Request id -> answer, of clips whose result is not in the journal."""
    by_clip: dict[str, dict[str, ChatAnswer]] = {}
    for record in read_journal(path):
        if "answer" in record:
            answer = ChatAnswer(**record["answer"])
            by_clip.setdefault(answer.id.partition("/")[0], {})[answer.id] = answer
        else:
            by_clip.pop(record.get("id", ""), None)
    return {name: answer for answers in by_clip.values() for name, answer in answers.items()}
