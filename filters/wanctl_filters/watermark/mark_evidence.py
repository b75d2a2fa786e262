"""The stored evidence of many clips, and the marks of their sources in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wanctl.curate.api import Box, ClipBatch, Ragged
from wanctl_filters.watermark.graphics import COLUMNS, LEVELS, MIN_CELLS, find_graphics, unpack
from wanctl_filters.watermark.marks import (
    Mark,
    MarkRules,
    apart,
    marks_among,
    may_be_marks,
    repeated,
    scenes_of,
)
from wanctl_filters.watermark.standing_edges import Edges, cells_in_common, pooled_maps


@dataclass(frozen=True)
class MarkEvidence:
    """Columns of a batch of clips.

    Attributes:
        grids: (N, 2) width and height of each clip's grid.
        scales: (N,) display pixels per cell of it.
        views: (N, 4) the part of each frame that counts, in display pixels.
        graphics: of each clip, as `pack` stores them.
        edges: the columns of `Edges`.
        edge_counts: (N,) cells with an edge.
    """

    grids: np.ndarray
    scales: np.ndarray
    views: np.ndarray
    graphics: Ragged
    edges: Sequence[Ragged]
    edge_counts: np.ndarray

    @classmethod
    def of(cls, batch: ClipBatch) -> "MarkEvidence":
        """The columns of a batch with evidence of `watermark`."""
        grid = batch.lists("grid")
        start = int(grid.starts[0])
        grids = grid.values[start : start + 2 * len(batch)].reshape(-1, 2)
        return cls(
            grids,
            batch.clip("width") / np.maximum(grids[:, 0], 1),
            batch.views,
            batch.lists("graphics"),
            [batch.lists(name) for name in Edges._fields],
            batch.numbers("edges"),
        )

    def marks_of_clip(self, row: int, rules: MarkRules) -> list[Mark]:
        """The marks among the graphics of one clip, in display pixels."""
        graphics = unpack(self.graphics[row])
        marks = marks_among(graphics, self._view(row), rules, one_scene=True)
        return self._displayed(marks, row)

    def drawn_marks(
        self, groups: np.ndarray, rules: MarkRules, min_change: float
    ) -> list[list[Mark]]:
        """The marks of each clip's source, in display pixels.

        Args:
            groups: (N,) number of each clip's source.
            rules: thresholds.
            min_change: luma levels by which the clips of a source must differ to be two scenes.
        """
        result: list[list[Mark]] = [[] for _ in range(len(groups))]
        order = np.argsort(groups, kind="stable")
        promising, measured = self._promising(rules), self.edges[0].counts() > 0
        for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            if len(rows) == 1 and promising[rows[0]]:
                result[rows[0]] = self.marks_of_clip(int(rows[0]), rules)
            elif len(rows) > 1 and measured[rows].any():
                marks = self._marks_of_source(rows, rules, min_change)
                for row in rows.tolist():
                    result[row] = list(marks)
        return result

    def _promising(self, rules: MarkRules) -> np.ndarray:
        """(N,) bool: most clips have no graphic that may be a mark, and need no look."""
        starts = self.graphics.starts // COLUMNS
        passed = np.concatenate([[0], np.cumsum(may_be_marks(self.graphics.values, rules))])
        return passed[starts[1:]] > passed[starts[:-1]]

    def _marks_of_source(self, rows: np.ndarray, rules: MarkRules, min_change: float) -> list[Mark]:
        """What its scenes have in common: in their mean, or at one place in two of them."""
        clips = [Edges(*(column[row] for column in self.edges)) for row in rows.tolist()]
        places = scenes_of(clips, min_change)
        scenes = rows[places]
        view = self._view(int(rows[0]))
        each = [
            marks_among(unpack(self.graphics[row]), view, rules, one_scene=True)
            for row in scenes.tolist()
        ]
        if len(scenes) == 1:
            return self._displayed(each[0], int(rows[0]))
        pooled = [clips[place] for place in places]
        # stored values are rounded; most sources have no mark and end here
        if cells_in_common(pooled, 0.9 * LEVELS[0]) < MIN_CELLS:
            return self._displayed(repeated(each), int(rows[0]))
        width, height = self.grids[rows[0]].tolist()
        edges = round(float(self.edge_counts[scenes].mean()))
        together = pooled_maps(pooled, (width, height), edges)
        marks = marks_among(find_graphics(together), view, rules, one_scene=False)
        return self._displayed(marks + apart(repeated(each), marks), int(rows[0]))

    def _view(self, row: int) -> Box:
        return Box(*(round(value / self.scales[row]) for value in self.views[row].tolist()))

    def _displayed(self, marks: Sequence[Mark], row: int) -> list[Mark]:
        return [mark.scaled(float(self.scales[row])) for mark in marks]
