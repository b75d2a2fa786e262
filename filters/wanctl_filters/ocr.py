"""Drops clips covered by text; tells burned-in overlays from text in the scene."""

from functools import cached_property
from itertools import pairwise
from statistics import median
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
from wanctl_filters._polygons import Polygon, bounds, captioned, coverage, plausible, repeated
from wanctl_filters._text_engines import Detector, LineReader, load_detector, require

_MOTION_PX = (64, 36)  # size at which two samples are compared


class Ocr(Filter):
    """Share of the frame under text, as the union of the detector's polygons.

    Overlay is what stays in one place while the picture moves (logos with letters, titles,
    credits) and what comes back on the line where subtitles sit. The rest belongs to the scene: a
    shop sign is worth learning. In a still picture the two look alike, so that all of it counts as
    scene. Polygons are stored, so that every number below can change without looking again.
    """

    evidence: ClassVar[dict[str, str]] = {
        "polygons": "polygons",
        "motion": "floats",
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
        default=0.02, ge=0, le=1, description="largest share under overlaid text, mean over frames"
    )
    overlay_share: float = threshold(
        default=0.6, gt=0, le=1, description="overlay is present in this share of the frames"
    )
    overlay_overlap: float = threshold(
        default=0.7, gt=0, le=1, description="intersection over union of boxes in the same place"
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
    min_motion: float = threshold(
        default=2.0,
        ge=0,
        description="mean luma change between samples below which the picture counts as still",
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
        """Polygons per frame in display pixels, luma change between frames, words."""
        assert frames is not None
        found = [self._detector(frame) for frame in frames.frames]
        return {
            "polygons": [
                [[round(value / frames.scale, 1) for value in polygon] for polygon in frame]
                for frame in found
            ],
            "motion": _changes(frames.frames),
            "texts": self._read(frames.frames, found) if self.read else [],
        }

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the mean share of the frame under any text, in %."""
        text = _mean_coverage(self._lines(clip, evidence), clip)
        overlay = _mean_coverage(self.overlays(clip, evidence), clip)
        reason = ""
        if overlay > self.max_overlay:
            reason = f"overlaid text covers {overlay:.1%}, allowed {self.max_overlay:.1%}"
        elif text > self.max_text:
            reason = f"text covers {text:.1%}, allowed {self.max_text:.1%}"
        return Verdict(keep=not reason, reason=reason, score=100 * text)

    def overlays(self, clip: Clip, evidence: Evidence) -> list[list[Polygon]]:
        """The polygons of each frame that were laid over the picture."""
        frames = self._lines(clip, evidence)
        moves = evidence["motion"] and median(evidence["motion"]) >= self.min_motion
        if not moves:
            return [[] for _ in frames]
        stays = repeated(frames, min_overlap=self.overlay_overlap)
        returns = captioned(frames, width=clip.width, height=clip.height)
        return [
            [
                polygon
                for polygon, stay, back in zip(*columns, strict=True)
                if stay >= self.overlay_share or back >= self.caption_share
            ]
            for columns in zip(frames, stays, returns, strict=True)
        ]

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


def _mean_coverage(frames: list[list[Polygon]], clip: Clip) -> float:
    shares = [coverage(polygons, clip.width, clip.height) for polygons in frames]
    return sum(shares) / len(shares)


def _changes(frames: np.ndarray) -> list[float]:
    """Mean absolute luma change (0..255) from each sample to the next."""
    import cv2

    small = [
        cv2.resize(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), _MOTION_PX, interpolation=cv2.INTER_AREA
        )
        for frame in frames
    ]
    return [round(float(cv2.absdiff(a, b).mean()), 3) for a, b in pairwise(small)]
