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
from wanctl_filters.watermark.channels import folder_groups
from wanctl_filters.watermark.edge_maps import edge_maps, red_and_blue
from wanctl_filters.watermark.graphics import find_graphics, pack
from wanctl_filters.watermark.mark_evidence import MarkEvidence
from wanctl_filters.watermark.marks import Mark, MarkRules, apart, near_side
from wanctl_filters.watermark.scenes import moving_share, thumbnail
from wanctl_filters.watermark.shapes import pack_cells, pack_suspect
from wanctl_filters.watermark.words import words_of

# Instead of `max_still`, for graphics in which `ocr` has read words that are overlaid.
_STILL_LETTERED = 0.02
_PAD_PX = 2  # cropped around a mark with it, at least; else a cell of the grid


class Watermark(Filter):
    """Drawn graphics that are still while hardly any other edge of the frame is.

    A source of several scenes gives most evidence, as only marks are at the same place in all of
    them. One clip is enough where its camera moves, or most of its frame does. With a still camera
    a mark cannot be told from a sign in the scene: such clips are kept uncropped, unless `ocr`,
    where the recipe has it, reads an address, a copyright line, transparent words or a lone logo.
    The score is the steadiness of the steadiest mark, 0 to 1; 0 where there is none.
    """

    version: ClassVar[int] = 6
    scope: ClassVar[Literal["clip", "source", "set"]] = "source"
    other_evidence: ClassVar[tuple[str, ...]] = ("ocr",)
    evidence: ClassVar[dict[str, str]] = {
        "grid": "ints",
        "graphics": "ints",
        "suspects": "ints",
        "blocks": "ints",
        "bits": "ints",
        "scene": "ints",
        "moving": "float",
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
    channel: Literal["folder", "none"] = threshold(
        default="folder",
        description="which files confirm a mark that each of them only suspects: those of the same "
        "folder, where at least three have it in different scenes; or none",
    )
    otherwise: Literal["keep", "drop"] = threshold(
        default="drop", description="what to do with a clip whose mark cannot be cropped away"
    )

    def frames(self) -> FrameSpec:
        """Small frames in colour."""
        return FrameSpec(count=self.samples, long_side_px=self.long_side_px)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """The size of the grid (width, height), graphics, suspects with their cells, the scene."""
        assert frames is not None
        _, height, width, _ = frames.frames.shape
        planes = red_and_blue(frames.frames)
        maps = edge_maps(planes)
        graphics, suspects = find_graphics(maps)
        cells = np.concatenate([np.zeros(0, np.int64), *(own for _, own in suspects)])
        blocks, bits = pack_cells(cells, width)
        return {
            "grid": [width, height],
            "graphics": pack(graphics),
            "suspects": [each for box, own in suspects for each in pack_suspect(box, own, width)],
            "blocks": blocks.tolist(),
            "bits": bits.tolist(),
            "scene": thumbnail(planes[0]).tolist(),
            "moving": moving_share(planes[0]),
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.min_steady,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Crop the marks that a source's clips share, or drop clips where too little is left.

        A mark across the picture that `ocr` has read has no score, as no threshold was compared.
        """
        marks_of = self._marks(batch)
        score = np.zeros(len(batch))
        crops = np.zeros((len(batch), 4), dtype=np.int32)
        share = np.ones(len(batch))
        # clips of one source have the same marks, and mostly the same view
        known: dict[tuple[object, ...], tuple[float, Box, float]] = {}
        long_sides = np.maximum(batch.clip("width"), batch.clip("height"))
        for row, marks in marks_of.items():
            key = (tuple(marks), *batch.views[row].tolist(), int(long_sides[row]))
            if key not in known:
                known[key] = self._judge(marks, Box._make(batch.views[row].tolist()), key[-1])
            score[row], crop, share[row] = known[key]
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

    def _judge(
        self, marks: Sequence[Mark], view: Box, long_side_px: int
    ) -> tuple[float, Box, float]:
        """Score, crop, and the share of the view that is left.

        The score is the steadiness of the steadiest mark in a corner; NaN where there are others
        only.
        """
        corner = [
            mark.steadiness
            for mark in marks
            if not mark.read or near_side(mark.box, view, self.corner_share)
        ]
        pad = max(_PAD_PX, -(-long_side_px // self.long_side_px))
        crop = cut_away([_padded(mark.box, pad) for mark in marks], view)
        share = crop.width * crop.height / max(1, view.width * view.height)
        return max(corner, default=float("nan")), crop, share

    def marks(self, batch: ClipBatch) -> list[list[Mark]]:
        """The marks of each clip, in display pixels: of its source, and in its own text."""
        marks_of = self._marks(batch)
        return [marks_of.get(row, []) for row in range(len(batch))]

    def _marks(self, batch: ClipBatch) -> dict[int, list[Mark]]:
        """Row -> its marks, for the rows that have any."""
        rules = MarkRules(self.min_steady, self.max_still, self.corner_share)
        evidence, groups = MarkEvidence.of(batch), source_groups(batch)
        of_source = evidence.source_marks(groups, rules, self.min_change)
        if self.channel != "none":
            folders = folder_groups(batch)
            shared = evidence.channel_marks(groups, folders, rules, self.min_change)
            for source, marks in shared.items():
                own = of_source.get(source, [])
                of_source[source] = own + apart(marks, own)
        has = np.zeros(int(groups.max(initial=-1)) + 1, dtype=bool)
        has[list(of_source)] = True
        rows = np.flatnonzero(has[groups]).tolist()
        marks_of = {row: of_source[int(groups[row])] for row in rows}
        rules = MarkRules(self.min_steady, max(self.max_still, _STILL_LETTERED), self.corner_share)
        for row, words in words_of(batch.other("ocr"), len(batch)).items():
            marks = marks_of.get(row, [])
            if words.logos:
                lettered = [
                    mark
                    for mark in evidence.marks_of_clip(row, rules)
                    if any(overlaps(mark.box, logo) for logo in words.logos)
                ]
                marks = marks + apart(lettered, marks)
            marks = marks + apart(words.marks, marks)
            if marks:
                marks_of[row] = marks
        return marks_of


def _padded(box: Box, pad: int) -> Box:
    left, top = max(0, box.x - pad), max(0, box.y - pad)
    return Box(left, top, box.x + box.width + pad - left, box.y + box.height + pad - top)
