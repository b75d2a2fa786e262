"""Finds clips by what they hold: filters of the page as SQL, and the list of what they find."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from wanctl.labels.review.index import STRUCTURE, ClipIndex

STATES = ("left", "flagged", "accepted", "edited", "rejected", "reviewed")
"""Values of the filter `state`; a clip is found if one of its captions is in that state."""

FILTERS = ("state", "check", "captioner", "variant", "field", "value", "text")
"""Names of the filters; "" is no filter."""

# Lists are kept while somebody walks through them: a clip stays in its place after a decision.
_KEPT_LISTS = 8
_MAX_PAGE = 200

_STATE_SQL = {
    "left": f"d.n IS NULL AND k.variant <> '{STRUCTURE}'",
    "flagged": f"d.n IS NULL AND k.checks <> '' AND k.variant <> '{STRUCTURE}'",
    "accepted": "d.text = k.text",
    "edited": "d.text <> k.text AND d.text <> ''",
    "rejected": "d.text = ''",
    "reviewed": "d.n IS NOT NULL",
}
_COUNTS = f"""
SELECT (SELECT COUNT(*) FROM decisions d WHERE EXISTS
        (SELECT 1 FROM captions k WHERE k.n = d.n AND k.variant = d.variant)),
    (SELECT COUNT(*) FROM decisions WHERE text = ''),
    (SELECT COUNT(*) FROM (SELECT DISTINCT n, variant FROM captions
        WHERE checks <> '' AND variant <> '{STRUCTURE}'
        EXCEPT SELECT n, variant FROM decisions))
"""


class ClipQueries:
    """Lists of clips by filter. Safe for several threads.

    Args:
        index: a filled index.
    """

    def __init__(self, index: ClipIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._lists: OrderedDict[tuple[str, ...], array[int]] = OrderedDict()
        distinct = f"SELECT DISTINCT n, variant FROM captions WHERE variant <> '{STRUCTURE}'"
        self.captions: int = index.rows(f"SELECT COUNT(*) FROM ({distinct})")[0][0]
        self.clips: int = index.rows("SELECT COUNT(*) FROM clips")[0][0]

    def counts(self) -> dict[str, int]:
        """Captions reviewed, rejected and left, flagged ones left, and all captions and clips."""
        reviewed, rejected, flagged = self._index.rows(_COUNTS)[0]
        return {
            "reviewed": reviewed,
            "rejected": rejected,
            "left": max(0, self.captions - reviewed),
            "flagged": flagged,
            "captions": self.captions,
            "clips": self.clips,
        }

    def choices(self) -> dict[str, list[str]]:
        """The checks, captioners and variants that there are."""
        rows = self._index.rows("SELECT DISTINCT checks FROM captions WHERE checks <> ''")
        lines = {line for (checks,) in rows for line in checks.split("\n")}
        names = "SELECT DISTINCT {} FROM captions ORDER BY 1"
        return {
            "check": sorted({line.partition(":")[0] for line in lines}),
            "captioner": [name for (name,) in self._index.rows(names.format("backend"))],
            "variant": [name for (name,) in self._index.rows(names.format("variant"))],
        }

    def page(
        self, filters: Mapping[str, str], start: int, count: int, *, again: bool
    ) -> dict[str, Any]:
        """Some of the clips that the filters find.

        Args:
            filters: name of FILTERS -> value.
            start: place of the first one in the list.
            count: how many, at most 200.
            again: find them anew, after decisions; otherwise the list stays as it was.
        """
        numbers = self._list(filters, again=again)
        part = numbers[start : start + min(count, _MAX_PAGE)]
        marks = ", ".join("?" * len(part))
        rows = self._index.rows(
            "SELECT c.n, c.id, c.source, c.start_s, c.end_s, COUNT(DISTINCT k.variant),"
            " COUNT(DISTINCT CASE WHEN d.n IS NOT NULL THEN k.variant END),"
            " COUNT(DISTINCT CASE WHEN d.n IS NULL AND k.checks <> '' THEN k.variant END)"
            f" FROM clips c LEFT JOIN captions k ON k.n = c.n AND k.variant <> '{STRUCTURE}'"
            " LEFT JOIN decisions d ON d.n = k.n AND d.variant = k.variant"
            f" WHERE c.n IN ({marks}) GROUP BY c.n ORDER BY c.n",
            part,
        )
        keys = ("id", "source", "start_s", "end_s", "captions", "reviewed", "flagged")
        found = [dict(zip(keys, row[1:], strict=True)) for row in rows]
        return {"total": len(numbers), "start": start, "clips": found}

    def next_flagged(self, filters: Mapping[str, str], start: int, step: int) -> int | None:
        """Place of the nearest clip of the list with a flagged caption that is undecided.

        Args:
            filters: of the list.
            start: place of the clip from which to look.
            step: 1 forwards, -1 backwards.
        """
        rows = self._index.rows(
            "SELECT DISTINCT n, variant FROM captions WHERE checks <> ''"
            " EXCEPT SELECT n, variant FROM decisions"
        )
        flagged = {n for n, variant in rows if variant != STRUCTURE}
        numbers = self._list(filters, again=False)
        places = range(start + step, len(numbers) if step > 0 else -1, step)
        return next((place for place in places if numbers[place] in flagged), None)

    def _list(self, filters: Mapping[str, str], *, again: bool) -> "array[int]":
        key = tuple(filters.get(name, "") for name in FILTERS)
        with self._lock:
            if key in self._lists and not again:
                self._lists.move_to_end(key)
                return self._lists[key]
        sql, values = _sql(filters)
        numbers = array("q", (n for (n,) in self._index.rows(sql, values)))
        with self._lock:
            self._lists[key] = numbers
            self._lists.move_to_end(key)
            while len(self._lists) > _KEPT_LISTS:
                self._lists.popitem(last=False)
        return numbers


def _sql(filters: Mapping[str, str]) -> tuple[str, list[str]]:
    """A query for the numbers of the clips.

    State, check, captioner, variant and text have to fit one and the same caption.
    """
    wheres: list[str] = []
    values: list[str] = []
    for name in FILTERS:
        value = filters.get(name, "").strip()
        if value and name in _WHERE:
            where, several = _WHERE[name](value, filters)
            wheres.append(where)
            values += several
    if not wheres:
        return "SELECT n FROM clips ORDER BY n", []
    return (
        "SELECT DISTINCT c.n FROM clips c JOIN captions k ON k.n = c.n"
        " LEFT JOIN decisions d ON d.n = k.n AND d.variant = k.variant"
        f" WHERE {' AND '.join(wheres)} ORDER BY c.n",
        values,
    )


def _state(value: str, filters: Mapping[str, str]) -> tuple[str, list[str]]:
    del filters
    return _STATE_SQL.get(value, "1"), []


def _check(value: str, filters: Mapping[str, str]) -> tuple[str, list[str]]:
    del filters
    return "(char(10) || k.checks) LIKE ? ESCAPE '!'", [f"%\n{_literal(value)}:%"]


def _text(value: str, filters: Mapping[str, str]) -> tuple[str, list[str]]:
    del filters
    pattern = f"%{_literal(value)}%"
    likes = [f"{column} LIKE ? ESCAPE '!'" for column in ("k.text", "d.text", "c.source")]
    return f"({' OR '.join(likes)})", [pattern] * len(likes)


def _value(value: str, filters: Mapping[str, str]) -> tuple[str, list[str]]:
    # without a field the whole structure is searched
    field = filters.get("field", "")
    path = f'$."{field}"' if field.replace("_", "").isalpha() else "$"
    return (
        "json_valid(c.structure) AND EXISTS (SELECT 1 FROM json_tree(c.structure, ?)"
        " WHERE atom LIKE ? ESCAPE '!')",
        [path, f"%{_literal(value)}%"],
    )


_WHERE: dict[str, Callable[[str, Mapping[str, str]], tuple[str, list[str]]]] = {
    "state": _state,
    "check": _check,
    "captioner": lambda value, _: ("k.backend = ?", [value]),
    "variant": lambda value, _: ("k.variant = ?", [value]),
    "value": _value,
    "text": _text,
}


def _literal(text: str) -> str:
    """Text without the wildcards of LIKE."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
