"""Builds the rows of a selection from verdicts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wanctl.curate.columns import Verdicts
from wanctl.curate.select.balance import apply_factors, combined_weights
from wanctl.curate.select.decisions import Decisions, Reasons, whole_views
from wanctl.curate.select.overrides import OVERRIDE, ClipOverrides, Override
from wanctl.curate.select.trimming import KeptSpans, drop_short_spans
from wanctl.data.buckets import BucketLike, bucket_name, clip_bucket, why_no_bucket
from wanctl.data.schemas import SELECTION
from wanctl.video.decode import num_frames_at_many
from wanctl.video.frames import SPAN

_pc: Any = pc  # its functions are unknown to type checkers

CROP = "crop"

_SIDE = 1 << 24  # above any width or height in pixels


@dataclass(frozen=True)
class SelectRules:
    """Settings of a selection besides filters.

    Attributes:
        max_crop_loss: share of the frame that crops may remove; more drops the clip.
        buckets: training shapes, for the `bucket` column.
        clip_fps: frame rate of training.
        fingerprint: text whose hash is the recipe hash.
        overrides: clip id -> what a person decided; no part of the recipe.
    """

    max_crop_loss: float
    buckets: Sequence[BucketLike]
    clip_fps: float
    fingerprint: str
    overrides: Mapping[str, Override]

    @property
    def recipe_hash(self) -> str:
        """Sixteen hex digits of the fingerprint's sha256, recorded in every row."""
        return hashlib.sha256(self.fingerprint.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SelectionRows:
    """Rows of a selection.

    Attributes:
        table: table of schema SELECTION.
        unfit: number of kept clips that fit no bucket.
        why_unfit: reason of the first one.
        trimmed: number of kept clips of which a span is kept.
    """

    table: pa.Table
    unfit: int
    why_unfit: str
    trimmed: int


@dataclass(frozen=True)
class FinalVerdicts:
    """All verdicts on some clips.

    Attributes:
        by_filter: of the filters, then of CROP, which drops clips of too small a crop, and where
            the data set has overrides of OVERRIDE, which drops what people drop.
        overrides: what people decided.
        kept: (N,) bool: no verdict drops the clip, or a person keeps it.
        weight: (N,) sampling weight, before balancing.
        spans: what is kept of each clip; all of it where a person keeps a clip whose span is too
            short.
    """

    by_filter: dict[str, Verdicts]
    overrides: ClipOverrides
    kept: np.ndarray
    weight: np.ndarray
    spans: KeptSpans

    @classmethod
    def of(cls, decisions: Decisions, rules: SelectRules) -> "FinalVerdicts":
        """The verdicts after the last filter."""
        overrides = ClipOverrides.of(decisions.clips["id"], rules.overrides)
        spans = KeptSpans.of(decisions)
        by_filter, short = drop_short_spans(decisions, spans)
        verdicts = {**by_filter, CROP: _crop_verdicts(decisions, rules.max_crop_loss)}
        if rules.overrides:
            verdicts[OVERRIDE] = Verdicts(keep=~overrides.drop, why=overrides.reason)
        kept = np.logical_and.reduce([each.keep for each in verdicts.values()]) | overrides.keep
        weight = combined_weights(verdicts, len(kept))
        # a filter may give what it drops no weight; a clip that a person keeps is sampled
        weight[overrides.keep & (weight == 0)] = 1.0
        spans = spans.without(short & overrides.keep, decisions.clips)
        return cls(verdicts, overrides, kept, weight, spans)


def build_rows(
    decisions: Decisions,
    final: FinalVerdicts,
    rules: SelectRules,
    balance_factors: tuple[str, Mapping[str | None, float]] | None = None,
) -> SelectionRows:
    """Rows of a selection, one per clip.

    Args:
        decisions: the clips after the last filter.
        final: all verdicts on them.
        rules: settings of the selection besides filters.
        balance_factors: (filter, label -> factor for the weights of its clips).
    """
    count = decisions.clips.num_rows
    verdicts, kept, overrides, spans = final.by_filter, final.kept, final.overrides, final.spans
    decisions = replace(decisions, views=_views(decisions, overrides))
    buckets = _Buckets(decisions, spans.seconds, rules)
    left, top, width, height = decisions.views.T
    weight = final.weight
    if balance_factors:
        weight = apply_factors(weight, verdicts[balance_factors[0]].label, balance_factors[1])
    table = pa.table(
        {
            "id": decisions.clips["id"],
            "kept": kept,
            "reasons": _reasons(verdicts, count),
            "scores": _scores(verdicts, count),
            "crop_x": left,
            "crop_y": top,
            "crop_w": width,
            "crop_h": height,
            "weight": weight,
            "labels": _labels(verdicts, count),
            "bucket": buckets.names(),
            "recipe_hash": pa.repeat(pa.scalar(rules.recipe_hash), count),
            OVERRIDE: overrides.texts,
            SPAN[0]: spans.column(spans.start_s),
            SPAN[1]: spans.column(spans.end_s),
            "span_reason": spans.reasons,
        },
        schema=SELECTION,
    )
    unfit = np.flatnonzero(kept & (buckets.index < 0))
    why_unfit = buckets.why_unfit(int(unfit[0])) if len(unfit) else ""
    return SelectionRows(table, len(unfit), why_unfit, int(np.count_nonzero(kept & spans.trimmed)))


def _views(decisions: Decisions, overrides: ClipOverrides) -> np.ndarray:
    """(N, 4) the crops; whole frames for clips that people keep where crops leave nothing."""
    views = decisions.views
    lost = overrides.keep & (views[:, 2:].min(axis=1) == 0)
    return np.where(lost[:, None], whole_views(decisions.clips), views)


def _crop_verdicts(decisions: Decisions, allowed: float) -> Verdicts:
    clips, views = decisions.clips, decisions.views
    area = clips["width"].to_numpy().astype(np.int64) * clips["height"].to_numpy()
    loss = 1 - views[:, 2].astype(np.int64) * views[:, 3] / area
    rows = np.flatnonzero(loss > allowed)
    texts = [f"crops take {loss[row]:.0%} of the picture, allowed {allowed:.0%}" for row in rows]
    return Verdicts(keep=~(loss > allowed), why=Reasons.of(rows, texts))


def _reasons(verdicts: Mapping[str, Verdicts], count: int) -> pa.Array:
    """Per clip, "filter: reason" of each filter that drops it, in the order of the funnel."""
    rows: list[np.ndarray] = []
    texts: list[pa.Array] = []
    for name, each in verdicts.items():
        dropped = np.flatnonzero(~each.keep)
        rows.append(dropped)
        why = each.why
        if not isinstance(why, Reasons):
            why = Reasons.of(dropped, [why(row) for row in dropped.tolist()])
        texts.append(_pc.binary_join_element_wise(name, why.texts.cast(pa.string()), ": "))
    return _lists(np.concatenate(rows), pa.concat_arrays(texts), count)


def _scores(verdicts: Mapping[str, Verdicts], count: int) -> pa.Array:
    scored = {name: each.score for name, each in verdicts.items() if each.score is not None}
    table = np.full((count, len(scored)), np.nan)
    for column, score in enumerate(scored.values()):
        table[:, column] = score
    present = ~np.isnan(table)
    codes = np.broadcast_to(np.arange(len(scored), dtype=np.int32), table.shape)[present]
    structs = pa.StructArray.from_arrays(
        [_names(codes, list(scored)), pa.array(table[present])], names=["filter", "score"]
    )
    return pa.ListArray.from_arrays(_offsets(present.sum(axis=1)), structs)


def _labels(verdicts: Mapping[str, Verdicts], count: int) -> pa.Array:
    labelled = {name: each.label for name, each in verdicts.items() if each.label is not None}
    rows: list[np.ndarray] = []
    columns: list[pa.Array] = [pa.array([], pa.string())]
    for label in labelled.values():
        column = pa.array(label, pa.string(), from_pandas=True)
        present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        rows.append(present)
        columns.append(column.drop_null())
    codes = np.repeat(np.arange(len(rows), dtype=np.int32), [len(each) for each in rows])
    structs = pa.StructArray.from_arrays(
        [_names(codes, list(labelled)), pa.concat_arrays(columns)], names=["filter", "label"]
    )
    return _lists(np.concatenate([*rows, np.zeros(0, np.int64)]), structs, count)


def _names(codes: np.ndarray, names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, pa.int32()), pa.array(names, pa.string())
    ).cast(pa.string())


def _lists(rows: np.ndarray, values: pa.Array, count: int) -> pa.Array:
    """(count,) lists: values[i] is an element of the list of row rows[i]."""
    order = np.argsort(rows, kind="stable")
    lengths = np.bincount(rows, minlength=count)
    return pa.ListArray.from_arrays(_offsets(lengths), values.take(pa.array(order)))


def _offsets(lengths: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


class _Buckets:
    """The bucket of each clip, looked up once per distinct shape."""

    def __init__(self, decisions: Decisions, seconds: np.ndarray, rules: SelectRules) -> None:
        self._rules = rules
        self._frames = num_frames_at_many(rules.clip_fps, seconds)
        self._sizes = decisions.views[:, 2:]
        # only the buckets for which the frames suffice matter
        lengths = np.unique([bucket.frames for bucket in rules.buckets])
        level = np.searchsorted(lengths, self._frames, side="right")
        width, height = self._sizes.T.astype(np.int64)
        # one number per shape; hashing it is much faster than sorting rows
        coded = pa.array((level * _SIDE + width) * _SIDE + height).dictionary_encode()
        shapes, inverse = coded.dictionary.to_numpy(), coded.indices.to_numpy()
        matched = [
            clip_bucket(rules.buckets, int(lengths[at - 1]) if at else 0, int(height), int(width))
            for at, width, height in zip(
                (shapes // _SIDE**2).tolist(),
                (shapes // _SIDE % _SIDE).tolist(),
                (shapes % _SIDE).tolist(),
                strict=True,
            )
        ]
        self._names = [bucket_name(bucket) if bucket else None for bucket in matched]
        served = np.array([bucket is not None for bucket in matched], dtype=bool)
        self.index = np.where(served[inverse], inverse, -1) if len(matched) else inverse

    def names(self) -> pa.Array:
        codes = pa.array(self.index, pa.int32(), mask=self.index < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(self._names, pa.string())).cast(
            pa.string()
        )

    def why_unfit(self, row: int) -> str:
        width, height = self._sizes[row].tolist()
        return why_no_bucket(self._rules.buckets, int(self._frames[row]), height, width)
