"""The clips that are captioned, part by part, with what filters measured of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wanctl.caption.backends import CaptionClip
from wanctl.caption.trimmed_evidence import evidence_in_span
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import crop_of, kept_ids, kept_rows
from wanctl.data.table_order import latest_table
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.video.frames import SPAN, Box, span_key, trimmed

Row = dict[str, Any]


@dataclass(frozen=True)
class KeptClips:
    """A selection.

    Attributes:
        ids: of the kept clips; None (all clips) where nothing has been selected yet.
        labels: kept clip -> filter -> label of the clip; empty where nothing is selected.
        crops: kept clip that is cropped -> its crop.
        spans: kept clip that is trimmed -> its columns SPAN.
    """

    ids: set[str] | None
    labels: Mapping[str, Mapping[str, str]]
    crops: Mapping[str, Box] = field(default_factory=dict)
    spans: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def trimmed(self, row: Row) -> Row:
        """A row of the clips table, cut down to the span that is kept."""
        return trimmed({**row, **self.spans.get(row["id"], {})})


# Of the clips table, what captioning uses.
_COLUMNS = (
    "id", "source", "shot", "start_pts", "end_pts", "start_s", "end_s", "width", "height",
    "has_audio", "clock", "first_frame", "num_frames",
)  # fmt: skip


class RowsById:
    """Rows of a table by their id, made into Python objects one at a time to save memory."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._place = {name: index for index, name in enumerate(rows["id"].to_pylist())}

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._place

    def get(self, clip_id: str) -> Row | None:
        """The row; None where there is none."""
        place = self._place.get(clip_id)
        return None if place is None else self._rows.slice(place, 1).to_pylist()[0]


class PartClips:
    """The clips of one part that are captioned.

    Args:
        dataset: the data set.
        part: name of the part.
        first: rows whose clip no earlier part holds (`DatasetDir.first_rows`); None: all rows.
        kept: the selection.

    Attributes:
        ids: of the clips, in order.
    """

    def __init__(
        self, dataset: DatasetDir, part: str, first: np.ndarray | None, kept: KeptClips
    ) -> None:
        self.part = part
        self._dataset = dataset
        self._kept = kept
        rows = dataset.read("clips", _COLUMNS, parts=[part])
        if first is not None:
            rows = rows.take(first)
        if kept.ids is not None:
            rows = rows.filter(pa.array([each in kept.ids for each in rows["id"].to_pylist()]))
        # as rows of Python objects at once: one by one takes 0.15 ms each
        self._rows: dict[str, Row] = {row["id"]: kept.trimmed(row) for row in rows.to_pylist()}
        self.ids = list(self._rows)
        self._evidence: dict[str, RowsById | None] = {}

    def row(self, clip_id: str) -> Row:
        """A clip's row of the clips table, cut down to the span that is kept."""
        return self._rows[clip_id]

    def span(self, clip_id: str) -> str | None:
        """The kept span of a clip as the tables of captions name it; None: all of it is kept."""
        return "-".join(map(str, span_key(self._rows[clip_id]))) or None

    def duration_s(self, clip_id: str) -> float:
        """Of a clip."""
        row = self._rows[clip_id]
        return row["end_s"] - row["start_s"]

    def clip(self, clip_id: str, filters: Sequence[str]) -> CaptionClip:
        """The metadata that captioners get, with the measurements of some filters."""
        row, labels = self.row(clip_id), self._kept.labels.get(clip_id, {})
        crop = self._kept.crops.get(clip_id)
        width, height = (crop.width, crop.height) if crop else (row["width"], row["height"])
        evidence = {
            name: {**found, "label": labels.get(name)}
            for name in filters
            if (table := self._table(name)) is not None and (found := table.get(clip_id))
        }
        return CaptionClip(
            id=clip_id,
            source=Path(row["source"]),
            shot=row["shot"],
            start_s=row["start_s"],
            duration_s=self.duration_s(clip_id),
            width=width,
            height=height,
            has_audio=row["has_audio"],
            evidence=evidence_in_span(evidence, row),
            crop=crop,
        )

    def _table(self, name: str) -> RowsById | None:
        """A filter's measurements; those of its latest settings where it ran with several."""
        if name not in self._evidence:
            table = latest_table(self._dataset, "evidence", name, part=self.part)
            rows = None if table is None else self._dataset.read(table, parts=[self.part])
            self._evidence[name] = None if rows is None else RowsById(rows)
        return self._evidence[name]


def read_kept(dataset: DatasetDir, selection: str) -> KeptClips:
    """The clips of a selection.

    Raises:
        UserError: there are selections, and none has this name, or it keeps no clip.
    """
    table = f"selections/{selection}"
    names = dataset.tables("selections")
    if table not in names:
        if names:
            known = ", ".join(name.removeprefix("selections/") for name in names)
            raise UserError(
                f"dataset.selection: no selection named {selection!r} in {dataset.path} "
                f"(there are: {known}); `wanctl data select` makes one"
            )
        log.info("nothing is selected yet; captioning all clips")
        return KeptClips(None, {})
    ids = set(kept_ids(dataset, selection))
    if not ids:
        raise UserError(
            f"{dataset.path}: selection {selection!r} keeps no clip; "
            "`wanctl data select` decides again after the filters were loosened"
        )
    labels: dict[str, Mapping[str, str]] = {}
    crops: dict[str, Box] = {}
    spans: dict[str, Mapping[str, float]] = {}
    columns = ["id", "labels", "crop_x", "crop_y", "crop_w", "crop_h", *SPAN]
    for row in kept_rows(dataset, selection, columns).to_pylist():
        if row["labels"]:
            labels[row["id"]] = {each["filter"]: each["label"] for each in row["labels"]}
        if crop := crop_of(row):
            crops[row["id"]] = crop
        if row[SPAN[0]] is not None:
            spans[row["id"]] = {name: row[name] for name in SPAN}
    return KeptClips(ids, labels, crops, spans)
