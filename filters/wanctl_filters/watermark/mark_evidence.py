"""The stored evidence of many clips, and the marks of their sources in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wanctl.curate.api import Box, ClipBatch, Ragged
from wanctl_filters.watermark.graphics import COLUMNS, unpack
from wanctl_filters.watermark.marks import (
    Mark,
    MarkRules,
    apart,
    marks_among,
    may_be_mark,
    may_be_marks,
    repeated,
)
from wanctl_filters.watermark.scenes import scenes_of
from wanctl_filters.watermark.shapes import (
    MIN_CELLS,
    PLACE,
    alike_in_group,
    common_shapes,
    unpack_boxes,
    unpack_cells,
)

_LAGS = 3  # clips of a source that are compared with each, before their cells are
_SOURCES = 3  # of a channel that must have a shape, in scenes that differ
_CHANNEL_LAGS = 8
_ENOUGH = 64  # clips of a channel that are compared cell by cell, per place


@dataclass(frozen=True)
class MarkEvidence:
    """Columns of a batch of clips.

    Attributes:
        grids: (N, 2) width and height of each clip's grid.
        scales: (N,) display pixels per cell of it.
        views: (N, 4) the part of each frame that counts, in display pixels.
        graphics: of each clip, as `pack` stores them.
        suspects: of each clip, two numbers each, as `pack_suspect` stores them.
        blocks: with cells of suspects, as `pack_cells` stores them.
        bits: their cells.
        thumbs: (N, 64) uint8.
        moving: (N,) share of the frame that changes.
    """

    grids: np.ndarray
    scales: np.ndarray
    views: np.ndarray
    graphics: Ragged
    suspects: Ragged
    blocks: Ragged
    bits: Ragged
    thumbs: np.ndarray
    moving: np.ndarray

    @classmethod
    def of(cls, batch: ClipBatch) -> "MarkEvidence":
        """The columns of a batch with evidence of `watermark`."""

        def matrix(name: str, width: int) -> np.ndarray:
            column = batch.lists(name)
            start = int(column.starts[0])
            return column.values[start : start + width * len(batch)].reshape(-1, width)

        grids = matrix("grid", 2)
        graphics, suspects, blocks, bits = (
            Ragged(each.values[each.starts[0] : each.starts[-1]], each.starts - each.starts[0])
            for each in map(batch.lists, ("graphics", "suspects", "blocks", "bits"))
        )
        return cls(
            grids,
            batch.clip("width") / np.maximum(grids[:, 0], 1),
            batch.views,
            graphics,
            suspects,
            blocks,
            bits,
            np.ascontiguousarray(matrix("scene", 8)).view(np.uint8),
            batch.numbers("moving"),
        )

    def marks_of_clip(self, row: int, rules: MarkRules) -> list[Mark]:
        """The marks among the graphics of one clip, in display pixels."""
        graphics = unpack(self.graphics[row])
        marks = marks_among(graphics, self._view(row), rules, one_scene=True)
        return self._displayed(marks, row)

    def source_marks(
        self, groups: np.ndarray, rules: MarkRules, min_change: float
    ) -> dict[int, list[Mark]]:
        """Source -> its marks, in display pixels; sources without any are left out.

        Args:
            groups: (N,) number of each clip's source.
            rules: thresholds.
            min_change: luma levels by which the clips of a source must differ to be two scenes.
        """
        sizes = np.bincount(groups)
        promising = self._promising(rules)
        several = (sizes > 1)[groups]
        result = {
            int(groups[row]): self.marks_of_clip(row, rules)
            for row in np.flatnonzero(promising & ~several).tolist()
        }
        chosen = np.zeros(len(sizes), bool)
        chosen[groups[promising & several]] = True
        chosen[self._sharing(groups, several)] = True
        rows = np.flatnonzero(chosen[groups])
        rows = rows[np.argsort(groups[rows], kind="stable")]
        for own in np.split(rows, np.flatnonzero(np.diff(groups[rows])) + 1):
            if len(own):
                result[int(groups[own[0]])] = self.marks_of_source(own, rules, min_change)
        return {source: marks for source, marks in result.items() if marks}

    def channel_marks(
        self, groups: np.ndarray, channels: np.ndarray, rules: MarkRules, min_change: float
    ) -> dict[int, list[Mark]]:
        """Source -> marks that it shares with other sources of its channel, in display pixels.

        At least three sources must suspect the same shape at the same place, each in a scene that
        the others do not show: intros, studios and copies are the same picture, shape or not. Its
        cost is linear in the number of suspects: they are sorted by place, and compared
        with their neighbours in that order before any cells are.

        Args:
            groups: (N,) number of each clip's source.
            channels: (N,) number of each clip's channel.
            rules: thresholds.
            min_change: luma levels by which two scenes differ.
        """
        counts = self.suspects.counts() // 2
        rows = np.repeat(np.arange(len(groups)), counts)
        places, bits = self.suspects.values.reshape(-1, 2).T
        boxes = unpack_boxes(places)
        middles = (boxes[:, :2] + boxes[:, 2:] // 2) // PLACE
        keys = np.column_stack([channels[rows], self.grids[rows], middles])
        order = np.lexsort(keys.T[::-1])
        new = np.append(True, (np.diff(keys[order], axis=0) != 0).any(axis=1))[: len(order)]
        buckets = np.cumsum(new)
        alike = alike_in_group(buckets, bits[order], _CHANNEL_LAGS)
        rows, buckets = rows[order][alike], buckets[alike]
        result: dict[int, list[Mark]] = {}
        for own in np.split(rows, np.flatnonzero(np.diff(buckets)) + 1):
            if len(np.unique(groups[own])) >= _SOURCES:
                for source, mark in self._of_channel(np.unique(own), groups, rules, min_change):
                    known = result.setdefault(source, [])
                    known += apart([mark], known)
        return result

    def _promising(self, rules: MarkRules) -> np.ndarray:
        """(N,) bool: most clips have no graphic that may be a mark, and need no look."""
        starts = self.graphics.starts // COLUMNS
        passed = np.concatenate([[0], np.cumsum(may_be_marks(self.graphics.values, rules))])
        return passed[starts[1:]] > passed[starts[:-1]]

    def _sharing(self, groups: np.ndarray, several: np.ndarray) -> np.ndarray:
        """Sources of which two clips may suspect a shape at the same place: they share its cells.

        Clips are compared with the next few that suspect anything there.
        """
        rows = np.repeat(np.arange(len(groups)), self.blocks.counts())
        used = several[rows]
        keys = groups[rows[used]] << 32 | self.blocks.values[used]
        order = np.argsort(keys, kind="stable")
        keys, words = keys[order], self.bits.values[used][order].view(np.uint64)
        shared = np.zeros(int(groups.max(initial=0)) + 1, np.int64)
        for lag in range(1, _LAGS + 1):
            same = np.flatnonzero(keys[lag:] == keys[:-lag])
            one, other = words[same], words[same + lag]
            both = np.bitwise_count(one & other).astype(np.int64)
            both[2 * both < np.bitwise_count(one | other)] = 0
            np.maximum(
                shared,
                np.bincount(keys[same] >> 32, both, minlength=len(shared)).astype(np.int64),
                out=shared,
            )
        return np.flatnonzero(shared >= MIN_CELLS // 2)

    def marks_of_source(self, rows: np.ndarray, rules: MarkRules, min_change: float) -> list[Mark]:
        """What the scenes of a source have in common: suspects, or marks that each has by itself.

        Args:
            rows: (K,) its clips.
            rules: thresholds.
            min_change: luma levels by which clips must differ to be two scenes.
        """
        first, view = int(rows[0]), self._view(int(rows[0]))
        scenes = rows[scenes_of(self.thumbs[rows], self.moving[rows].tolist(), min_change)]
        each = [
            marks_among(unpack(self.graphics[row]), view, rules, one_scene=True)
            for row in scenes.tolist()
        ]
        if len(scenes) == 1:
            return self._displayed(each[0], first)
        suspecting = rows[self.blocks.counts()[rows] > 0]
        moving = self.moving[suspecting].tolist()
        suspecting = suspecting[scenes_of(self.thumbs[suspecting], moving, min_change)]
        marks = [mark for mark, _ in self._shared(suspecting, view, rules, 2)]
        return self._displayed(marks + apart(repeated(each), marks), first)

    def _of_channel(
        self, rows: np.ndarray, groups: np.ndarray, rules: MarkRules, min_change: float
    ) -> list[tuple[int, Mark]]:
        """(source, mark) of clips that suspect something at one place."""
        _, first = np.unique(groups[rows], return_index=True)
        sources = rows[first]
        scenes = sources[
            scenes_of(self.thumbs[sources], self.moving[sources].tolist(), min_change)
        ][:_ENOUGH]
        found = []
        for mark, _ in self._shared(scenes, self._view(int(rows[0])), rules, _SOURCES):
            for row in sources.tolist():
                if self._covers(row, mark.box):
                    found.append((int(groups[row]), self._displayed([mark], row)[0]))
        return found

    def _covers(self, row: int, box: Box) -> bool:
        """Whether a clip suspects something at a place."""
        for x, y, width, height in unpack_boxes(self.suspects[row][::2]).tolist():
            wide = min(x + width, box.x + box.width) - max(x, box.x)
            high = min(y + height, box.y + box.height) - max(y, box.y)
            if max(0, wide) * max(0, high) >= box.width * box.height / 2:
                return True
        return False

    def _shared(
        self, rows: np.ndarray, view: Box, rules: MarkRules, needed: int
    ) -> list[tuple[Mark, list[int]]]:
        """Marks that at least `needed` of the clips have cell by cell, in cells of their grid."""
        grid = (int(self.grids[rows[0], 0]), int(self.grids[rows[0], 1])) if len(rows) else (0, 0)
        same = [row for row in rows.tolist() if tuple(self.grids[row].tolist()) == grid]
        cells = [unpack_cells(self.blocks[row], self.bits[row], grid[0]) for row in same]
        return [
            (Mark(box, share), places)
            for box, share, places in common_shapes(cells, grid, needed)
            if share >= rules.min_steady and may_be_mark(box, view, rules)
        ]

    def _view(self, row: int) -> Box:
        return Box(*(round(value / self.scales[row]) for value in self.views[row].tolist()))

    def _displayed(self, marks: Sequence[Mark], row: int) -> list[Mark]:
        return [mark.scaled(float(self.scales[row])) for mark in marks]
