"""Ranks clips within clusters of similar clips, so that a bound on quality keeps rare content."""

import logging
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from typing import ClassVar, Literal

import numpy as np

from wanctl.curate.api import (
    Clip,
    ClipBatch,
    Evidence,
    FrameBatch,
    FrameSpec,
    Trained,
    UserError,
    Verdicts,
    threshold,
)
from wanctl_filters.quality.clusters import assign, even_sample, ranks_within, spherical_kmeans
from wanctl_filters.quality.frame_statistics import COLUMNS, LONG_SIDE_PX, clip_statistics
from wanctl_filters.quality.suitability_features import ALL, features, missing_filters
from wanctl_filters.quality.suitability_training import fit_suitability
from wanctl_filters.shared.embedding_keys import EmbeddingKeys, mean_vectors, vectors_of
from wanctl_filters.shared.head_training import LEAST, fit_regression, fold_of
from wanctl_filters.shared.heads import Head, Inputs, check_inputs, read_head
from wanctl_filters.shared.survivors import survivors

PACKAGED_HEAD = "suitability.safetensors"
RANK_BY = {"aesthetic": 1.0, "blur": -1.0, "exposure": -1.0}
PAIR = 2  # neighbouring frames per sample, which show flicker


class Quality(EmbeddingKeys):
    """Visual quality: clusters of embeddings, a score from labels, and a quota for every cluster.

    The score, 1 (bad) to 5 (excellent), is that of a head trained on people's labels; the packaged
    one (`suitability.md` describes it) unless `head` names another: `wanctl filters label quality`
    makes the sheet, `wanctl filters fit quality SHEET` the head. With `rank_by` it is the mean
    rank, 0 to 1, over scores of earlier filters. Clips that earlier filters drop do not count. The
    label is the cluster.
    """

    scope: ClassVar[Literal["clip", "source", "set"]] = "set"
    evidence: ClassVar[dict[str, str]] = dict.fromkeys(COLUMNS, "float")

    clusters: int = threshold(
        default=100, ge=1, description="clusters at most; each has ten clips or more on average"
    )
    head: str | None = threshold(
        default=None,
        description="file that `wanctl filters fit quality` made; null is the packaged head",
    )
    features: Literal["scores", "all"] = threshold(
        default="scores",
        description="inputs of a head that is trained, next to the embedding: the scores in "
        "`rank_by`, or all: scores and labels of earlier filters, and statistics of the frames",
    )
    rank_by: dict[str, float] | None = threshold(
        default=None,
        description="rank by these scores instead of the packaged head: filter -> weight of its "
        "score's rank, negative where less is better",
    )
    keep_share: float = threshold(
        default=1.0, gt=0, le=1, description="share of every cluster kept, the best first"
    )
    min_score: float | None = threshold(
        default=None,
        quantile=1,
        description="lowest score kept; `min_kept` clips of each cluster are kept regardless",
    )
    min_kept: int = threshold(
        default=1, ge=0, description="best clips of every cluster that `min_score` cannot drop"
    )

    def choices(self) -> Mapping[str, str]:
        """The marks from 1 (bad) to 5 (excellent)."""
        return {"1": "bad", "2": "poor", "3": "fair", "4": "good", "5": "excellent"}

    def frames(self) -> FrameSpec:
        """Pairs of neighbouring frames in colour."""
        return FrameSpec(count=4, burst=PAIR, long_side_px=LONG_SIDE_PX)

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Statistics of detail, noise, colour and flicker (`frame_statistics`)."""
        assert frames is not None
        return clip_statistics(frames.frames, frames.scale, PAIR)

    def bounds(self) -> tuple[float, ...]:
        """The lowest score kept; quotas have no single bound."""
        return () if self.min_score is None else (self.min_score,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """Cluster, score, and keep the top share of every cluster."""
        names = batch.clip("id").astype(str)
        groups = self._groups(batch, names)
        score = self._score(batch)
        candidates = survivors(batch)
        ranks = np.zeros(len(batch), dtype=np.int64)
        ranks[candidates] = ranks_within(groups[candidates], score[candidates], names[candidates])
        sizes = np.bincount(groups[candidates] + 1, minlength=groups.max(initial=0) + 2)[groups + 1]
        places = np.ceil(self.keep_share * sizes - 1e-9)
        least = -np.inf if self.min_score is None else self.min_score
        return Verdicts.judge(
            score,
            (
                candidates & (ranks >= places),
                lambda row: (
                    f"number {ranks[row] + 1} of {sizes[row]} in its cluster, of which the best "
                    f"{places[row]:.0f} are kept"
                ),
            ),
            (
                (score < least) & ~(candidates & (ranks < self.min_kept)),
                lambda row: f"scores {score[row]:.2f}, at least {least:g} wanted",
            ),
            label=_labels(groups),
        )

    def train(self, batch: ClipBatch, marks: list[str] | None) -> Trained:
        """Train a head that predicts people's marks.

        Args:
            batch: the labelled clips only.
            marks: 1 to 5 for each.
        """
        if marks is None or len(marks) < LEAST:
            raise UserError(f"quality: {len(marks or [])} labels are too few; give {LEAST} or more")
        vectors = np.concatenate([units for _, units in mean_vectors(batch)])
        numbers = np.array([float(mark) for mark in marks])
        sources, ids = batch.clip("source").tolist(), batch.clip("id").tolist()
        if self.features == "all":
            used = tuple(name for name in ALL if not missing_filters(batch, [name]))
            inputs = Inputs(self._embedding_key(), used)
            head = fit_suitability(inputs, vectors, features(batch, used), numbers, sources, ids)
        else:
            used = tuple(name for name in self.rank_by or RANK_BY if name in batch.verdicts)
            inputs = Inputs(self._embedding_key(), used)
            folds = fold_of(sources, ids)
            head = fit_regression(inputs, vectors, features(batch, used), numbers, folds)
        report = {**head.about, "scores": ", ".join(head.inputs.scores)}
        return Trained(head.tensors(), head.metadata(), report)

    def _groups(self, batch: ClipBatch, names: np.ndarray) -> np.ndarray:
        sample = even_sample(names)
        chosen = [
            units[np.isin(np.arange(rows.start, rows.stop), sample)]
            for rows, units in mean_vectors(batch)
        ]
        units = np.concatenate(chosen) if chosen else np.zeros((0, 1), np.float32)
        order = np.argsort(names[np.sort(sample)], kind="stable")
        units = units[order][units[order].any(axis=1)]
        if not len(units):
            return np.full(len(batch), -1)
        centres = spherical_kmeans(units, self.clusters)
        return assign(centres, mean_vectors(batch), len(batch))

    def _score(self, batch: ClipBatch) -> np.ndarray:
        if self.head is not None:
            head = read_head(self.head, "quality")
            known = (*batch.verdicts, *(name for name in ALL if not missing_filters(batch, [name])))
            check_inputs(head, self._embedding_key(), known, "quality")
            return _predict(head, batch)
        if self.rank_by is None and self._fits_packaged_head(batch):
            if missing := missing_filters(batch, self._packaged_head.inputs.scores):
                _log().info(
                    "filter quality: the recipe has no %s before it, which count as average",
                    ", ".join(missing),
                )
            return _predict(self._packaged_head, batch)
        return self._mean_rank(batch)

    def _fits_packaged_head(self, batch: ClipBatch) -> bool:
        """Whether the embedding is the one that the packaged head was trained on."""
        head = self._packaged_head
        width = len(head.mean) - len(head.inputs.scores)
        return head.inputs.embedding == self._embedding_key() and (
            vectors_of(batch).values.shape[1] == width
        )

    def _mean_rank(self, batch: ClipBatch) -> np.ndarray:
        rank_by = RANK_BY if self.rank_by is None else self.rank_by
        used = {name: weight for name, weight in rank_by.items() if name in batch.verdicts}
        if not used and (self.keep_share < 1 or self.min_score is not None):
            raise UserError(
                "filter quality: nothing to rank by: fit a head, or put one of "
                f"{', '.join(rank_by) or 'rank_by'} before it"
            )
        if not used:
            _log().info("filter quality: no head and no scores; clusters only")
        return mean_rank(features(batch, tuple(used)), np.array(list(used.values())))

    def _embedding_key(self) -> str:
        embedder = self.embedder()
        assert embedder is not None
        return f"{embedder.name}@{embedder.config_hash()}"

    @cached_property
    def _packaged_head(self) -> Head:
        return read_head(str(files("wanctl_filters.quality").joinpath(PACKAGED_HEAD)), "quality")


def _predict(head: Head, batch: ClipBatch) -> np.ndarray:
    """(N,) the head's score, clipped to the range of the labels."""
    columns = features(batch, head.inputs.scores)
    predicted = np.zeros(len(batch))
    for rows, units in mean_vectors(batch):
        predicted[rows] = np.clip(head.predict(units, columns[rows])[:, 0], 1, 5)
    return predicted


def _log() -> logging.Logger:
    return logging.getLogger("wanctl")


def mean_rank(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,) weighted mean over columns of (N, F) of the rank from 0 to 1; NaN without columns.

    A negative weight reverses the order; missing scores are ignored.
    """
    from scipy.stats import rankdata

    total, weight = np.zeros(len(scores)), np.zeros(len(scores))
    for column, factor in zip(scores.T, weights, strict=True):
        present = ~np.isnan(column)
        ranks = rankdata(np.sign(factor) * column[present]) - 1
        total[present] += abs(factor) * ranks / max(present.sum() - 1, 1)
        weight[present] += abs(factor)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)


def _labels(groups: np.ndarray) -> np.ndarray:
    digits = len(str(groups.max(initial=0)))
    names = [f"c{number:0{digits}d}" for number in range(groups.max(initial=0) + 1)]
    return np.array([*names, None], dtype=object)[groups]
