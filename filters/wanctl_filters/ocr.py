"""Drops clips covered by text; tells burned-in overlays from text in the scene."""

from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from wanctl.curate.api import (
    Clip,
    Evidence,
    Field,
    Filter,
    FrameBatch,
    FrameSpec,
    Verdict,
    threshold,
)
from wanctl_filters._overlay import stillness
from wanctl_filters._polygons import Polygon, bounds, captioned, coverage, plausible
from wanctl_filters._text_engines import Detector, LineReader, load_detector, require


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
        default=0.035, ge=0, le=1, description="largest share under overlaid text in any frame"
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
    min_around: float = threshold(
        default=2.0,
        ge=0,
        description="luma change (0..255) around a text below which the picture stands still, so "
        "that overlay and scene cannot be told apart",
    )

    def frames(self) -> FrameSpec:
        """A frame a second, in colour."""
        return FrameSpec(
            fps=self.rate_fps, max_count=self.max_samples, long_side_px=self.long_side_px
        )

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

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the share under overlaid text in the fullest frame, in %."""
        text = _shares(self._lines(clip, evidence), clip)
        overlay = max(_shares(self.overlays(clip, evidence), clip))
        mean = sum(text) / len(text)
        reason = ""
        if overlay > self.max_overlay:
            reason = f"overlaid text covers {overlay:.1%}, allowed {self.max_overlay:.1%}"
        elif mean > self.max_text:
            reason = f"text covers {mean:.1%} on average, allowed {self.max_text:.1%}"
        return Verdict(keep=not reason, reason=reason, score=100 * overlay)

    def overlays(self, clip: Clip, evidence: Evidence) -> list[list[Polygon]]:
        """The polygons of each frame that were laid over the picture."""
        frames = evidence["polygons"]
        subtitles = captioned(frames, width=clip.width, height=clip.height)
        steady, around = iter(evidence["steady"]), iter(evidence["around"])
        chosen = [
            [
                polygon
                for polygon, back in zip(polygons, shares, strict=True)
                if self._is_overlay(next(steady), next(around), back)
            ]
            for polygons, shares in zip(frames, subtitles, strict=True)
        ]
        return plausible(chosen, width=clip.width, height=clip.height, max_share=self.max_line)

    def _is_overlay(self, steady: float, around: float, subtitle: float) -> bool:
        stays = steady >= self.overlay_share or subtitle >= self.caption_share
        return stays and around >= self.min_around

    def _lines(self, clip: Clip, evidence: Evidence) -> list[list[Polygon]]:
        return plausible(
            evidence["polygons"], width=clip.width, height=clip.height, max_share=self.max_line
        )

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


def _shares(frames: list[list[Polygon]], clip: Clip) -> list[float]:
    """Share of each frame under its polygons."""
    return [coverage(polygons, clip.width, clip.height) for polygons in frames]
