"""What people decide on captions: the table `captions/review@v1` and its journal.

The table holds what counts now, one row per clip and variant. The journal holds every change with
its time and the text before it, one line of JSON per request. A line is on the disk before the
table is written, so that a kill between the two loses nothing: the next start writes the change.
"""

import datetime
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.atomic import make_folder, writing
from wanctl.data.captions import REVIEW_TABLE, Decision, read_decisions
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import record_tables
from wanctl.log import log

FOLDER = "review"
JOURNAL = "journal.jsonl"


class ConflictError(Exception):
    """Somebody else changed a caption after it was shown.

    Args:
        current: what is stored of each caption that was changed.
    """

    def __init__(self, current: Sequence["Change"]) -> None:
        super().__init__("somebody else has changed this caption meanwhile")
        self.current = list(current)


@dataclass(frozen=True)
class Change:
    """A change of the decision on one variant of a clip; None stands for undecided.

    Attributes:
        clip: id.
        variant: of the caption.
        before: what was shown to the person who decided.
        after: what was decided.
    """

    clip: str
    variant: str
    before: Decision | None
    after: Decision | None


class DecisionStore:
    """The decisions of a data set. Safe for several threads.

    Args:
        dataset: the data set.
        parts: clip -> the part of the data set that it is in.
    """

    def __init__(self, dataset: DatasetDir, parts: Mapping[str, str]) -> None:
        self._dataset = dataset
        self._lock = threading.Lock()
        self._journal = dataset.path / FOLDER / JOURNAL
        self._parts = {**parts, **_parts_of_rows(dataset)}
        self.decisions = read_decisions(dataset)
        self._recorded = False
        make_folder(self._journal.parent)
        self._finish_last()

    def get(self, clip: str, variant: str) -> Decision | None:
        """The decision on a variant of a clip; None where there is none."""
        return self.decisions.get(clip, {}).get(variant)

    def change(self, changes: Sequence[Change], action: str) -> None:
        """Store all changes, or none.

        Args:
            changes: at least one.
            action: what the person did, for the journal.

        Raises:
            ConflictError: one of them was decided otherwise meanwhile.
            WriteError: the journal or the table cannot be written.
        """
        with self._lock:
            stored = [self.get(each.clip, each.variant) for each in changes]
            current = [
                Change(each.clip, each.variant, each.before, now)
                for each, now in zip(changes, stored, strict=True)
                if now != each.before
            ]
            if current:
                raise ConflictError(current)
            self._append(changes, action)
            self._apply(changes)

    def _apply(self, changes: Sequence[Change]) -> None:
        """Write the parts of the table that the changes touch."""
        before = {clip: dict(several) for clip, several in self.decisions.items()
                  if clip in {each.clip for each in changes}}  # fmt: skip
        for each in changes:
            several = self.decisions.setdefault(each.clip, {})
            if each.after is None:
                several.pop(each.variant, None)
            else:
                several[each.variant] = each.after
        try:
            if not self._recorded:
                record_tables(self._dataset, [REVIEW_TABLE])
                self._recorded = True
            for part in sorted({self._parts[each.clip] for each in changes}):
                self._dataset.write_part(REVIEW_TABLE, part, self._rows(part))
        except BaseException:
            for clip in {each.clip for each in changes}:
                self.decisions[clip] = before.get(clip, {})
            raise

    def _rows(self, part: str) -> list[dict[str, str]]:
        return [
            {"id": clip, "text": each.text, "variant": variant, "backend": each.backend}
            for clip, several in sorted(self.decisions.items())
            if self._parts.get(clip) == part
            for variant, each in sorted(several.items())
        ]

    def _append(self, changes: Sequence[Change], action: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = {
            "time": now,
            "action": action,
            "changes": [
                {"id": each.clip, "variant": each.variant,
                 "before": _json(each.before), "after": _json(each.after)}
                for each in changes
            ],
        }  # fmt: skip
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        with writing(self._journal), self._journal.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a line that a kill cut off
                    data = b"\n" + data
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:  # a full disk: half a line would be read as one that was cut off
                os.ftruncate(file.fileno(), size)
                raise

    def _finish_last(self) -> None:
        """Apply the last line of the journal where a kill came before the table was written."""
        last = _last_line(self._journal)
        if last is None:
            return
        changes = [
            Change(each["id"], each["variant"], _decision(each["before"]), _decision(each["after"]))
            for each in last["changes"]
        ]
        lost = [
            each for each in changes
            if each.clip in self._parts and self.get(each.clip, each.variant) != each.after
        ]  # fmt: skip
        if lost:
            self._apply(lost)
            log.info("%d decisions of the journal were not in the table yet; added", len(lost))


def _parts_of_rows(dataset: DatasetDir) -> dict[str, str]:
    """Clip -> the part of the table that holds it."""
    return {
        clip: part
        for part in dataset.parts(REVIEW_TABLE)
        for clip in dataset.read(REVIEW_TABLE, ["id"], parts=[part])["id"].to_pylist()
    }


def _last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of the journal; None where there is none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:  # empty, or cut off by a kill
            continue
    return None


def _json(decision: Decision | None) -> dict[str, str] | None:
    return None if decision is None else decision._asdict()


def _decision(value: Mapping[str, str] | None) -> Decision | None:
    return None if value is None else Decision(value["text"], value["backend"])
