"""Everything that the page shows of one clip, as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from wanctl.caption.checks.facts import measured_facts
from wanctl.caption.trimmed_evidence import evidence_in_span
from wanctl.data.captions import Decision
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import latest_table
from wanctl.labels.review.index import STRUCTURE, ClipIndex, KeptClip
from wanctl.video.frames import trimmed

_pc: Any = pc  # its functions are unknown to type checkers

EVIDENCE = ("motion", "ocr", "exposure", "blur", "category", "shot_size")
"""Filters whose measurements `measured_facts` reads."""


class ClipViews:
    """Reads single clips from the data set and the index.

    Args:
        dataset: the data set.
        index: a filled index.
        backends: the recipe's captioners; of several captions of a variant, that of the first one
            is shown first.
        kept: clip -> what the selection says of it; empty where there is none.
    """

    def __init__(
        self,
        dataset: DatasetDir,
        index: ClipIndex,
        backends: Sequence[str],
        kept: Mapping[str, KeptClip],
    ) -> None:
        self._kept = kept
        self._dataset = dataset
        self._index = index
        self._backends = list(backends)

    def row(self, clip: str) -> dict[str, Any] | None:
        """Row of a clip, cut down to the kept span; None where it is not under review."""
        found = self._index.rows("SELECT part FROM clips WHERE id = ?", (clip,))
        if not found:
            return None
        table = self._dataset.read("clips", parts=[found[0][0]])
        rows = table.filter(_pc.equal(table["id"], clip)).to_pylist()
        return trimmed({**rows[0], **self._kept.get(clip, KeptClip()).span}) if rows else None

    def view(self, clip: str) -> dict[str, Any] | None:
        """The clip with its captions, structure and measured facts; None: not under review."""
        row = self.row(clip)
        if row is None:
            return None
        number, part, structure, model, labels = self._index.rows(
            "SELECT n, part, structure, model, labels FROM clips WHERE id = ?", (clip,)
        )[0]
        return {
            "id": clip,
            "source": row["source"],
            "start_s": row["start_s"],
            "end_s": row["end_s"],
            "structure": _object(structure),
            "model": model,
            "facts": [*_footage(row), *self._measured(row, part, json.loads(labels))],
            "captions": self.captions(number),
        }

    def captions(self, number: int) -> list[dict[str, Any]]:
        """One entry per variant: what captioners wrote, flags, and the decision.

        Each is {variant, texts: [{backend, text}], flags: [{backend, text, checks, attempts}],
        decision: {text, backend} or null}; the structure's own flags come first, then flagged
        variants, then the others.
        """
        entries: dict[str, dict[str, Any]] = {}
        for variant, backend, text, checks, attempts in self._index.rows(
            "SELECT variant, backend, text, checks, attempts FROM captions WHERE n = ?", (number,)
        ):
            entry = entries.setdefault(
                variant, {"variant": variant, "texts": [], "flags": [], "decision": None}
            )
            if checks:
                flag = {"checks": checks.split("\n"), "attempts": attempts}
                entry["flags"].append({"backend": backend, "text": text, **flag})
            else:
                entry["texts"].append({"backend": backend, "text": text})
        for variant, text, backend in self._index.rows(
            "SELECT variant, text, backend FROM decisions WHERE n = ?", (number,)
        ):
            # the caption may be gone, if the recipe's variants have changed since
            entry = entries.setdefault(variant, {"variant": variant, "texts": [], "flags": []})
            entry["decision"] = Decision(text, backend)._asdict()
        for entry in entries.values():
            entry["texts"].sort(key=lambda each: self._rank(each["backend"]))
        return sorted(entries.values(), key=self._order)

    def _order(self, entry: Mapping[str, Any]) -> tuple[bool, bool, int, tuple[int, ...], str]:
        backend = [*entry["texts"], *entry["flags"], entry["decision"]][0]["backend"]
        words = entry["variant"].split("-")
        places = tuple(_PLACES.get(word, len(_PLACES)) for word in [words[-1], *words])
        return (
            entry["variant"] != STRUCTURE, not entry["flags"], self._rank(backend), places,
            entry["variant"],
        )  # fmt: skip

    def _rank(self, backend: str) -> int:
        known = self._backends
        return known.index(backend) if backend in known else len(known)

    def _measured(
        self, row: Mapping[str, Any], part: str, labels: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """What filters measured of the clip, in words."""
        evidence: dict[str, dict[str, Any]] = {
            name: {"label": labels[name]} for name in EVIDENCE if name in labels
        }
        for name in EVIDENCE:
            table = latest_table(self._dataset, "evidence", name, part=part)
            if table is not None:
                rows = self._dataset.read(table, parts=[part])
                for each in rows.filter(_pc.equal(rows["id"], row["id"])).to_pylist():
                    evidence[name] = {**each, "label": labels.get(name)}
        facts = measured_facts(row["end_s"] - row["start_s"], evidence_in_span(evidence, row))
        pairs = [
            ("camera", ", ".join(facts.camera) if facts.camera is not None else ""),
            ("text read", ", ".join(f'"{text}"' for text in facts.texts or ())
             or ("none" if facts.texts is not None else "")),
            ("shot size", facts.shot_size or ""),
            ("category", facts.category or ""),
            ("motion", facts.motion or ""),
            ("looks", ", ".join(facts.looks)),
        ]  # fmt: skip
        return [pair for pair in pairs if pair[1]]


# Readers want the long caption of a style first, English before the others.
_PLACES = {word: place for place, word in enumerate(
    ("en", "zh", "long", "medium", "short", "formal", "informal", "poetic", "motion")
)}  # fmt: skip


def _footage(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    fps = f", {row['fps']:g} fps" if row["fps"] else ""
    return [
        ("file", Path(row["source"]).name),
        ("time", f"{row['start_s']:.2f} to {row['end_s']:.2f} s"),
        ("footage", f"{row['width']}×{row['height']}{fps}, {row['num_frames']} frames"),
    ]


def _object(text: str | None) -> dict[str, Any]:
    """A structure; empty where there is none or it is no JSON object."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
