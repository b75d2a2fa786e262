"""Estimates whether a clip was generated, from metadata of its file and a trained probe."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from wanctl.curate.api import (
    Clip,
    ClipBatch,
    Embedder,
    Evidence,
    Field,
    FrameBatch,
    Trained,
    UserError,
    Verdicts,
    open_source,
    threshold,
)
from wanctl_filters.shared.embedders import CnnEmbedder
from wanctl_filters.shared.embedding_keys import ClipKeys, mean_vectors
from wanctl_filters.shared.head_training import LEAST, fit_classes, fold_of
from wanctl_filters.shared.heads import Head, Inputs, check_inputs, read_head
from wanctl_filters.synthetic.provenance import read_provenance

# IPTC's digital source types of which a generator made all or a part.
GENERATED = ("trainedalgorithmicmedia", "compositewithtrainedalgorithmicmedia", "algorithmicmedia")
GENERATORS = (
    "wanctl", "sora", "openai", "veo", "google imagen", "runway", "kling", "pika labs", "pika art",
    "dream machine", "luma ai", "hailuo", "minimax", "wan2", "wan 2", "hunyuanvideo", "cogvideox",
    "ltx-video", "ltx-2", "mochi 1", "stable video diffusion", "animatediff", "comfyui", "vidu ai",
    "pixverse", "seedance", "jimeng", "firefly", "midjourney", "stable diffusion",
)  # fmt: skip
# Free text, in which "sora" may mean sky and "veo" be a verb.
FREE_TEXT = {"title", "nam", "artist", "art", "album", "alb", "description", "desc", "synopsis"}
# Keys that only generators write: ComfyUI's graph, and the label that Chinese law requires.
GENERATOR_KEYS = {"workflow", "aigc"}
SIZES = {
    (832, 480), (1280, 720), (1280, 704), (720, 480), (768, 512), (704, 480), (848, 480),
    (960, 544), (1024, 576), (1360, 768),
}  # fmt: skip
# 4n + 1: default frame counts of published models.
COUNTS = {25, 33, 49, 65, 77, 81, 93, 97, 113, 121, 125, 129, 161, 193, 201, 241, 257}
RATES = (8.0, 16.0, 24.0)
DECLARED, TYPICAL = 0.99, 0.3


class Synthetic(ClipKeys):
    """Probability that a clip was generated. Drops nothing unless `max_probability` is set.

    0.99 where the file declares it (a C2PA manifest or XMP with a generated source type, tags that
    name a generator, this program's own tags). Otherwise the probability of the probe in `head`;
    without one, 0.3 for a size, length and frame rate that are defaults of generators, and no score
    for the rest: re-encoded files have lost their tags, so missing tags mean nothing. No detector
    generalises to generators that it was not trained on; train the probe on yours with
    `wanctl filters label synthetic` and `wanctl filters fit synthetic SHEET`.
    """

    evidence: ClassVar[dict[str, str]] = {"tags": "strings", "marks": "strings"}
    unit: ClassVar[str] = ""

    embedding: Literal["cnn", "clip", "none"] = Field(
        default="cnn", description="input of the probe; `none` where there will be no probe"
    )
    head: str | None = threshold(
        default=None, description="file that `wanctl filters fit synthetic` made"
    )
    generators: tuple[str, ...] = threshold(
        default=GENERATORS, description="names in tags that declare a file as generated"
    )
    max_probability: float | None = threshold(
        default=None, quantile=1, ge=0, le=1, description="highest kept; null drops nothing"
    )

    def choices(self) -> Mapping[str, str]:
        """The marks 0 (filmed) and 1 (generated)."""
        return {"0": "filmed", "1": "generated"}

    def embedder(self) -> Embedder | None:
        """The embedder that `embedding` names."""
        if self.embedding == "clip":
            return self.clip_embedder()
        if self.embedding == "cnn":
            return CnnEmbedder(samples=self.samples, device=self.device)
        return None

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return () if self.max_probability is None else (self.max_probability,)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Tags and provenance marks of the source file."""
        with open_source(clip.source) as source:
            if isinstance(source, Path):
                with source.open("rb") as file:
                    provenance = read_provenance(file)
            else:
                provenance = read_provenance(source)
        return {"tags": provenance.tags, "marks": provenance.marks}

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The score is the probability; the label is `declared` where the file declares it."""
        declared = self._declared(batch)
        probability = np.where(_typical(batch), TYPICAL, np.nan)
        if self.head is not None:
            probability = self._probed(batch)
        probability = np.where(declared, DECLARED, probability)
        most = np.inf if self.max_probability is None else self.max_probability
        return Verdicts.judge(
            probability,
            (
                probability > most,
                lambda row: f"generated with probability {probability[row]:.2f}, allowed {most:g}",
            ),
            label=np.where(declared, "declared", np.array(None)),
        )

    def train(self, batch: ClipBatch, marks: list[str] | None) -> Trained:
        """Train a probe on the embedding."""
        if marks is None or len(marks) < LEAST or len(set(marks)) < 2:
            raise UserError(f"synthetic: give {LEAST} labels or more, of both kinds")
        embedder = self.embedder()
        if embedder is None:
            raise UserError("synthetic: set `embedding` to cnn or clip, and curate again, to train")
        head = fit_classes(
            Inputs(f"{embedder.name}@{embedder.config_hash()}"),
            np.concatenate([units for _, units in mean_vectors(batch)]),
            np.array([int(mark) for mark in marks]),
            ("filmed", "generated"),
            fold_of(batch.clip("source").tolist(), batch.clip("id").tolist()),
        )
        return Trained(head.tensors(), head.metadata(), head.about)

    def _declared(self, batch: ClipBatch) -> np.ndarray:
        # Clips of one file have equal tags, so each distinct set is examined once.
        seen: dict[tuple[str, ...], bool] = {}
        rows = zip(*(batch.evidence[name].to_pylist() for name in ("tags", "marks")), strict=True)
        declared = []
        for tags, marks in rows:
            key = (*tags, "\n", *marks)
            if key not in seen:
                seen[key] = self._is_declared(tags, marks)
            declared.append(seen[key])
        return np.array(declared, dtype=bool)

    def _is_declared(self, tags: list[str], marks: list[str]) -> bool:
        for mark in marks:
            kind, _, value = mark.partition(": ")
            if kind == "source type" and value.casefold() in GENERATED:
                return True
            if kind == "made by" and self._pattern.search(value):
                return True
        for tag in tags:
            key, _, value = tag.partition("=")
            key = key.casefold().rpartition(".")[2]
            if key in GENERATOR_KEYS:
                return True
            if key not in FREE_TEXT and self._pattern.search(value):
                return True
        return False

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        names = "|".join(re.escape(name) for name in self.generators) or r"(?!)"
        return re.compile(rf"(?<![a-z])(?:{names})(?![a-z])", re.IGNORECASE)

    def _probed(self, batch: ClipBatch) -> np.ndarray:
        embedder = self.embedder()
        if embedder is None:
            raise UserError(
                "filter synthetic: `head` wants vectors; set `embedding` to cnn or clip"
            )
        check_inputs(self._head, f"{embedder.name}@{embedder.config_hash()}", (), "synthetic")
        probability = np.full(len(batch), np.nan)
        for rows, units in mean_vectors(batch):
            probability[rows] = self._head.probabilities(units)[:, 1]
        return probability

    @cached_property
    def _head(self) -> Head:
        assert self.head is not None
        return read_head(self.head, "synthetic")


def _typical(batch: ClipBatch) -> np.ndarray:
    """(N,) bool: size, number of frames and frame rate are defaults of generators."""
    sides = np.stack([batch.clip("width"), batch.clip("height")], axis=1)
    long_first = np.sort(sides, axis=1)[:, ::-1]
    size = np.logical_or.reduce([(long_first == pair).all(axis=1) for pair in SIZES])
    rate = np.logical_or.reduce([np.abs(batch.clip("fps") - fps) < 0.01 for fps in RATES])
    return size & rate & np.isin(batch.clip("num_frames"), list(COUNTS))
