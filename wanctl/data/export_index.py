"""Which files of an export folder are finished, without opening any of them.

`index.jsonl` in the folder holds one line per finished file: the clip's id, the key that decides
its pixels, and its size in bytes. A line is appended after the file was renamed into place, so a
killed run loses at most lines; their files are then opened once and listed again. Folders of
versions without an index are listed the same way.
"""

import json
from pathlib import Path

from wanctl.atomic import write_error
from wanctl.log import log
from wanctl.textfiles import split_lines

FILE = "index.jsonl"


class ExportIndex:
    """The finished files of one folder.

    Args:
        folder: where the files are; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._entries: dict[str, tuple[str, int]] = {}
        self.reload()

    def reload(self) -> None:
        """Read the index again: another process may have written files meanwhile."""
        if not self.path.exists():
            return
        for line in split_lines(self.path.read_text(encoding="utf-8", errors="replace")):
            try:
                entry = json.loads(line)
                self._entries[entry["id"]] = entry["key"], int(entry["bytes"])
            except (ValueError, KeyError, TypeError):  # cut short when a run was killed
                log.debug("%s: line left out: %s", self.path, line)

    def finished(self, clip: str, key: str, file: Path) -> bool | None:
        """Whether the file of this clip was finished with this key and still has its size.

        None where the index does not list it: the file itself must be asked.
        """
        listed, size = self._entries.get(clip, (None, 0))
        if listed != key:
            return None
        try:
            return file.stat().st_size == size
        except FileNotFoundError:
            return False

    def add(self, clip: str, key: str, file: Path) -> None:
        """List a finished file.

        Raises:
            WriteError: the index cannot be written.
        """
        size = file.stat().st_size
        self._entries[clip] = key, size
        line = json.dumps({"id": clip, "key": key, "bytes": size}) + "\n"
        try:
            # one write in append mode: lines of several processes do not mix
            with self.path.open("ab", buffering=0) as index:
                index.write(line.encode())
        except OSError as error:
            raise write_error(self.path, error) from error
