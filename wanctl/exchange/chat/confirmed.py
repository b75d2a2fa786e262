"""Which captions and structures of a clip are good enough to teach a captioner."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from wanctl.data.captions import REVIEW, read_decisions
from wanctl.data.dataset import DatasetDir
from wanctl.data.sidecars.texts import clean
from wanctl.data.table_order import name_of, tables_newest_first
from wanctl.errors import UserError, unknown

Texts = Mapping[str, Mapping[str, str]]
"""Clip id -> variant -> caption."""


class CaptionExportError(UserError):
    """There is nothing to export."""


@dataclass(frozen=True)
class Confirmed:
    """What counts of one clip.

    Attributes:
        captions: variant -> text.
        structure: that the captions agree with, without the clip's id; None where there is none,
            or where a person corrected or rejected a caption that was written from it.
    """

    captions: Mapping[str, str]
    structure: Mapping[str, Any] | None


def confirmed_clips(
    dataset: DatasetDir, captioner: str, ids: Collection[str]
) -> dict[str, Confirmed]:
    """Clip id -> what counts of it, of the clips that have something.

    Args:
        dataset: the data set.
        captioner: `review`: what people accepted or corrected; else all captions of that captioner,
            with the decisions of people.
        ids: of the clips.

    Raises:
        CaptionExportError: there is no such captioner, or it captioned none of the clips.
    """
    names = {name_of(table) for table in dataset.tables("captions")} | {REVIEW}
    if captioner not in names:
        raise CaptionExportError(f"--from: {unknown('captioner', captioner, names)}")
    decisions = read_decisions(dataset, ids)
    reviewed = {each.backend for several in decisions.values() for each in several.values()}
    made = {name: _texts(dataset, name, ids) for name in {*reviewed, captioner} - {REVIEW}}
    structures = _structures(dataset, ids)
    found: dict[str, Confirmed] = {}
    for clip in ids:
        decided = decisions.get(clip, {})
        sound = all(
            each.text == made.get(each.backend, {}).get(clip, {}).get(variant)
            for variant, each in decided.items()
        )
        # of a clip with a mistake the captions that nobody looked at are doubtful, too
        own = made.get(captioner, {}).get(clip, {}) if sound else {}
        texts = {variant: each.text for variant, each in decided.items() if each.text}
        if captions := {**own, **texts}:
            found[clip] = Confirmed(captions, structures.get(clip) if sound else None)
    if not found:
        why = (
            "no caption of the kept clips is reviewed; run `wanctl data review`, or say "
            "`--from vlm` for captions that nobody has looked at"
            if captioner == REVIEW
            else f"no caption of {captioner} is left for the kept clips"
        )
        raise CaptionExportError(f"{dataset.path}: {why}")
    return found


def _texts(dataset: DatasetDir, captioner: str, ids: Collection[str]) -> Texts:
    """The captions of a captioner; of several tables the newest with the clip counts."""
    found: dict[str, dict[str, str]] = {}
    for table in tables_newest_first(dataset, "captions", captioner):
        new: dict[str, dict[str, str]] = {}
        for row in dataset.read(table, ["id", "text", "variant"]).to_pylist():
            if row["id"] in ids and row["id"] not in found and (text := clean(row["text"] or "")):
                new.setdefault(row["id"], {})[row["variant"] or "default"] = text
        found |= new
    return found


def _structures(dataset: DatasetDir, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for table in tables_newest_first(dataset, "structures"):
        for row in dataset.read(table, ["id", "structure"]).to_pylist():
            if row["id"] in ids and row["id"] not in found:
                found[row["id"]] = json.loads(row["structure"])
    return found
