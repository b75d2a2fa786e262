"""Finds overlaid marks (logos, station bugs) and crops them away."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from wanctl.curate.api import (
    Box,
    Clip,
    ClipBatch,
    Drawing,
    Evidence,
    Field,
    Filter,
    FrameBatch,
    FrameSpec,
    Verdicts,
    threshold,
)
from wanctl_filters.shared.cut_away import cut_away, overlaps
from wanctl_filters.shared.source_groups import source_groups
from wanctl_filters.watermark.edge_maps import edge_maps
from wanctl_filters.watermark.graphics import find_graphics, pack, unpack
from wanctl_filters.watermark.marks import (
    Mark,
    MarkRules,
    marks_among,
    repeated,
    scenes_of,
)
from wanctl_filters.watermark.standing_edges import Edges, pooled_maps, standing_edges

_PAD_PX = 2  # display pixels around a mark that are cropped with it


class Watermark(Filter):
    """Drawn graphics that are still while hardly any other edge of the frame is.

    A source of several scenes gives most evidence, as only marks are at the same place in all of
    them. One clip is enough where its camera moves, or most of its frame does. With a still camera
    a mark cannot be told from a sign in the scene: such clips are kept uncropped. The score is the
    steadiness of the steadiest mark, 0 to 1; 0 where there is none.
    """

    version: ClassVar[int] = 2
    scope: ClassVar[Literal["clip", "source", "set"]] = "source"
    evidence: ClassVar[dict[str, str]] = {
        "grid": "ints",
        "graphics": "ints",
        "edges": "int",
        "cells": "ints",
        "gradient": "ints",
        "energy": "ints",
        "luma": "ints",
        "spread": "ints",
    }

    samples: int = Field(
        default=16, ge=4, le=600, description="frames measured, spread over the clip"
    )
    long_side_px: int = Field(
        default=320, ge=128, description="frames are scaled down to this; marks are found on it"
    )
    min_steady: float = threshold(
        default=0.55,
        gt=0,
        le=1,
        description="share of the energy of a mark's edges that must be the same in all frames",
    )
    max_still: float = threshold(
        default=0.0025,
        ge=0,
        le=1,
        description="share of a frame's edges that may be as steady as a mark, other lettering "
        "excluded; with a still camera it is 0.02 and more",
    )
    min_change: float = threshold(
        default=5.0,
        ge=0,
        description="luma levels (0..255) by which clips of a source must differ to be two scenes",
    )
    corner_share: float = threshold(
        default=0.3,
        gt=0,
        le=0.5,
        description="marks are searched within this share of the width and of the height from a "
        "corner; 0.5 searches everywhere",
    )
    min_picture_share: float = threshold(
        default=0.8, ge=0, le=1, description="crop only where at least this share is left"
    )
    otherwise: Literal["keep", "drop"] = threshold(
        default="drop", description="what to do with a clip whose mark cannot be cropped away"
    )

    def frames(self) -> FrameSpec:
        """Small frames in colour."""
        return FrameSpec(count=self.samples, long_side_px=self.long_side_px)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """The size of the grid (width, height), the clip's graphics, and `Edges`."""
        assert frames is not None
        _, height, width, _ = frames.frames.shape
        maps = edge_maps(frames.frames)
        edges = standing_edges(frames.frames, maps)
        return {
            "grid": [width, height],
            "graphics": pack(find_graphics(maps)),
            "edges": maps.edges,
            **{name: column.tolist() for name, column in edges._asdict().items()},
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.min_steady,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Crop the marks that a source's clips share, or drop clips where too little is left."""
        marks_of = self.marks(batch)
        score = np.array(
            [max((mark.steadiness for mark in marks), default=0) for marks in marks_of]
        )
        crops = np.zeros((len(batch), 4), dtype=np.int32)
        share = np.ones(len(batch))
        for row in np.flatnonzero(score > 0).tolist():
            view = Box._make(batch.views[row].tolist())
            crop = cut_away([_padded(mark.box) for mark in marks_of[row]], view)
            share[row] = crop.width * crop.height / max(1, view.width * view.height)
            if self.min_picture_share <= share[row] < 1:
                crops[row] = crop

        def why(row: int) -> str:
            where = ", ".join(f"{tuple(mark.box)}" for mark in marks_of[row])
            return (
                f"a mark at {where}: without it {share[row]:.0%} of the frame is left, "
                f"at least {self.min_picture_share:.0%} wanted"
            )

        lost = (share < self.min_picture_share) & (self.otherwise == "drop")
        return Verdicts.judge(score, (lost, why), crops=crops)

    def drawings(self, batch: ClipBatch) -> list[list[Drawing]]:
        """The marks of each clip's source, with their steadiness."""
        return [
            [Drawing.of_box("mark", mark.box, f"{mark.steadiness:.2f}") for mark in marks]
            for marks in self.marks(batch)
        ]

    def marks(self, batch: ClipBatch) -> list[list[Mark]]:
        """The marks of each clip's source, in display pixels."""
        graphics = batch.lists("graphics")
        edges = [batch.lists(name) for name in Edges._fields]
        grid = batch.lists("grid").values.reshape(-1, 2)
        sizes = batch.numbers("edges")
        width = batch.clip("width")
        result: list[list[Mark]] = [[] for _ in range(len(batch))]
        groups = source_groups(batch)
        order = np.argsort(groups, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            if not len(rows) or not edges[0].counts()[rows].any():
                continue
            first = int(rows[0])
            scale = float(width[first]) / int(grid[first, 0])
            view = Box(*(round(value / scale) for value in batch.views[first].tolist()))
            clips = [Edges(*(column[row] for column in edges)) for row in rows.tolist()]
            scenes = scenes_of(clips, self.min_change)
            marks = self._marks_of_scenes(
                [clips[place] for place in scenes],
                [graphics[int(rows[place])] for place in scenes],
                (int(grid[first, 0]), int(grid[first, 1])),
                round(float(sizes[rows[scenes]].mean())),
                view,
            )
            marks = [Mark(_display(mark.box, scale), mark.steadiness) for mark in marks]
            for row in rows.tolist():
                result[row] = marks
        return result

    def _marks_of_scenes(
        self,
        scenes: Sequence[Edges],
        graphics: Sequence[np.ndarray],
        grid: tuple[int, int],
        edges: int,
        view: Box,
    ) -> list[Mark]:
        rules = MarkRules(self.min_steady, self.max_still, self.corner_share)
        each = [marks_among(unpack(one), view, rules, one_scene=True) for one in graphics]
        if len(scenes) == 1:
            return each[0]
        together = find_graphics(pooled_maps(scenes, grid, edges))
        marks = marks_among(together, view, rules, one_scene=False)
        return marks + [
            mark
            for mark in repeated(each)
            if not any(overlaps(mark.box, other.box) for other in marks)
        ]


def _display(box: Box, scale: float) -> Box:
    left, top = int(box.x * scale), int(box.y * scale)
    right = int(np.ceil((box.x + box.width) * scale))
    bottom = int(np.ceil((box.y + box.height) * scale))
    return Box(left, top, right - left, bottom - top)


def _padded(box: Box) -> Box:
    left, top = max(0, box.x - _PAD_PX), max(0, box.y - _PAD_PX)
    return Box(left, top, box.x + box.width + _PAD_PX - left, box.y + box.height + _PAD_PX - top)
