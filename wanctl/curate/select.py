"""Decides from evidence: which clips stay, with which crop, weight and bucket. Decodes nothing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wanctl.curate.api import Box, Clip, Verdict
from wanctl.curate.engine import as_clip
from wanctl.curate.registry import NamedFilter
from wanctl.data.buckets import BucketLike, bucket_name, clip_bucket, why_no_bucket
from wanctl.data.dataset import DatasetDir
from wanctl.data.reads import frames_at
from wanctl.errors import UserError
from wanctl.log import log

CROP = "crop"


@dataclass(frozen=True)
class SelectRules:
    """What is decided beyond the filters.

    Attributes:
        max_crop_loss: share of the picture that crops may take; more drops the clip.
        buckets: training shapes, for the `bucket` column.
        clip_fps: frame rate of training.
        fingerprint: text that the recipe hash is taken of.
    """

    max_crop_loss: float
    buckets: Sequence[BucketLike]
    clip_fps: float
    fingerprint: str


def measured(dataset: DatasetDir, filters: Sequence[NamedFilter]) -> list[NamedFilter]:
    """The filters that can decide: all but optional ones that never measured this data set.

    Unlike measuring, deciding needs no model, so a set measured on one machine can be decided
    on another where a filter cannot run.
    """
    ready = []
    for named in filters:
        if named.filter.optional and _missing(dataset, named):
            log.warning("filter %s is left out: it is optional and did not measure", named.name)
        else:
            ready.append(named)
    return ready


def decide(
    dataset: DatasetDir, filters: Sequence[NamedFilter], rules: SelectRules
) -> list[dict[str, Any]]:
    """Rows of a selection, one per clip in the order of the clips table.

    Raises:
        UserError: some clip was never measured with a filter's present settings.
    """
    clips = dataset.read("clips").to_pylist()
    evidence = {named.name: _evidence(dataset, named) for named in filters}
    failed = {
        (row["clip_id"], row["stage"]): row["error"]
        for row in dataset.read("quarantine").to_pylist()
        if row["clip_id"]
    }
    unfit: list[str] = []
    recipe_hash = hashlib.sha256(rules.fingerprint.encode()).hexdigest()[:16]
    rows = []
    for row in clips:
        clip = as_clip(row)
        verdicts = {
            named.name: _verdict(named, clip, evidence[named.name], failed) for named in filters
        }
        rows.append({**_row(clip, verdicts, rules), "recipe_hash": recipe_hash})
        if rows[-1]["kept"] and rows[-1]["bucket"] is None:
            unfit.append(_why_unfit(clip, rows[-1], rules))
    if unfit:
        log.warning(
            "%d kept clips serve no bucket of train_dit; the first: %s", len(unfit), unfit[0]
        )
    return rows


def _evidence(dataset: DatasetDir, named: NamedFilter) -> dict[str, Mapping[str, Any]]:
    if missing := _missing(dataset, named):
        raise UserError(
            f"{dataset.path}: {len(missing)} parts were not measured with filter {named.name!r} "
            f"as it is set now ({named.key}); run `wanctl curate FOLDER` with this recipe"
        )
    return {row["id"]: row for row in dataset.read(named.table).to_pylist()}


def _missing(dataset: DatasetDir, named: NamedFilter) -> set[str]:
    return set(dataset.parts("clips")) - set(dataset.parts(named.table))


def _verdict(
    named: NamedFilter,
    clip: Clip,
    evidence: Mapping[str, Mapping[str, Any]],
    failed: Mapping[tuple[str, str], str],
) -> Verdict:
    if clip.id in evidence:
        return named.filter.decide(clip, evidence[clip.id])
    return Verdict(keep=False, reason=f"not measured: {failed.get((clip.id, named.name), 'lost')}")


def _row(clip: Clip, verdicts: Mapping[str, Verdict], rules: SelectRules) -> dict[str, Any]:
    reasons = [f"{name}: {v.reason}" for name, v in verdicts.items() if not v.keep]
    crop = _intersection(clip, [v.crop for v in verdicts.values() if v.crop])
    loss = 1 - crop.width * crop.height / (clip.width * clip.height)
    if loss > rules.max_crop_loss:
        reasons.append(
            f"{CROP}: crops take {loss:.0%} of the picture, allowed {rules.max_crop_loss:.0%}"
        )
    frames = frames_at(rules.clip_fps, clip.duration_s)
    bucket = clip_bucket(rules.buckets, frames, crop.height, crop.width)
    weight = 1.0
    for verdict in verdicts.values():
        weight *= verdict.weight
    return {
        "id": clip.id,
        "kept": not reasons,
        "reasons": reasons,
        "scores": [
            {"filter": name, "score": v.score}
            for name, v in verdicts.items()
            if v.score is not None
        ],
        "crop_x": crop.x,
        "crop_y": crop.y,
        "crop_w": crop.width,
        "crop_h": crop.height,
        "weight": weight,
        "labels": [
            {"filter": name, "label": v.label}
            for name, v in verdicts.items()
            if v.label is not None
        ],
        "bucket": bucket_name(bucket) if bucket else None,
    }


def _why_unfit(clip: Clip, row: Mapping[str, Any], rules: SelectRules) -> str:
    frames = frames_at(rules.clip_fps, clip.duration_s)
    return why_no_bucket(rules.buckets, frames, row["crop_h"], row["crop_w"])


def _intersection(clip: Clip, crops: Sequence[Box]) -> Box:
    """The part of the picture that all crops leave; no area where they do not overlap.

    Its edges are even, as chroma is stored for two by two pixels. Without crops it is the whole
    picture, even or not.
    """
    if not crops:
        return Box(0, 0, clip.width, clip.height)
    left = max(0, *(crop.x for crop in crops))
    top = max(0, *(crop.y for crop in crops))
    right = min(clip.width, *(crop.x + crop.width for crop in crops))
    bottom = min(clip.height, *(crop.y + crop.height for crop in crops))
    left, top, right, bottom = left + left % 2, top + top % 2, right // 2 * 2, bottom // 2 * 2
    return Box(left, top, max(0, right - left), max(0, bottom - top))
