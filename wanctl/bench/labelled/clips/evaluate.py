"""Curates a folder of labelled clips with every filter, and counts what each gets wrong."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import wanctl
from wanctl.bench.cases import Decision, Evaluation, Metric
from wanctl.bench.curation import hash_sources
from wanctl.bench.labelled.clips import folds, measures
from wanctl.bench.labelled.clips.decided import DecidedClip, DecidedFiles
from wanctl.bench.labelled.clips.labels import ClipLabels, read
from wanctl.bench.labelled.clips.measures import MEASURES, Measure
from wanctl.bench.labelled.clips.page import Disagreement, write_page
from wanctl.bench.metrics import srcc
from wanctl.bench.result import Result, summarise_labelled_set
from wanctl.bench.settings import BenchSettings
from wanctl.curate.timing import all_stages
from wanctl.log import log

# The light filters and the networks that packages ship; a recipe may set keys of each.
FILTERS: Mapping[str, Mapping[str, Any]] = {
    "duration": {},
    "container": {},
    "resolution": {},
    "border": {},
    "ocr": {"engine": "rapidocr"},
    "watermark": {},
    "motion": {},
    "duplicates": {},
    "exposure": {},
    "blur": {},
    "nsfw": {},
    "quality": {"features": "all"},
}
PAGE = "disagreements.html"


def run(folder: Path, out: Path, settings: BenchSettings) -> list[Result]:
    """One result per kind of label, and `disagreements.html` with pictures of all mistakes."""
    labels = read(folder)
    # clips are cut anew where the code that cuts them has changed; evidence has versions of its own
    package = Path(wanctl.__file__).parent
    code = hash_sources(package / "curate" / "split", package / "video")[:10]
    section = {
        "split": {
            "detector": settings.detection.detector,
            "threshold": settings.detection.thresholds.threshold,
        },
        "filters": {
            name: {**keys, **settings.keys_of(name), "optional": True}
            for name, keys in FILTERS.items()
        },
    }
    curated = settings.curate(section, folder, out / f"curated-{code}")
    decided = DecidedFiles(curated.dataset, curated.filters)
    labels = list(_with_clips(labels, decided))
    results, disagreements = [], []
    for measure in MEASURES:
        if measure.filter in decided.filters:
            results += _yes_no(measure, labels, decided, disagreements)
    for part in (_motion, _crops, _shots):
        results += part(labels, decided, disagreements)
    results += _quality(labels, decided, out)
    results += _throughput(decided)
    write_page(out / PAGE, disagreements)
    log.info("look at %s: %d disagreements", out / PAGE, len(disagreements))
    return results


def _with_clips(labels: Sequence[ClipLabels], decided: DecidedFiles) -> Iterator[ClipLabels]:
    for each in labels:
        if decided.rows_of_file.get(each.file):
            yield each
        else:
            log.warning("%s has no clips; it is not counted", each.file)


def _yes_no(
    measure: Measure,
    labels: Sequence[ClipLabels],
    decided: DecidedFiles,
    disagreements: list[Disagreement],
) -> list[Result]:
    truth = {each.file: true for each in labels if (true := measure.truth(each)) is not None}
    if not truth:
        return []
    variants = folds.answers(decided, measure, list(truth))
    fired = variants[0]
    verdicts = decided.verdicts[measure.filter]
    decisions = []
    for file, true in truth.items():
        clips = decided.of_file(file, verdicts)
        clip = next(filter(measure.fired, clips), None) or measures.longest(clips)
        note = _words(clip)
        decisions.append(Decision(file, measure.name, None, true, fired[file], note=note))
        if fired[file] != true:
            what = "missed" if true else "false alarm"
            disagreements.append(Disagreement(measure.name, what, clip, note))
    if measure.only_false:
        metrics = [Metric("false alarms", sum(fired.values()), 0, lower_is_better=True)]
        return [_result(measure.name, measure.filter, decisions, metrics)]
    judged = folds.held_out(variants, _folds(labels, truth), folds.goodness_of(truth))
    metrics = [
        *_shares(folds.counts(truth, fired), measure.precision, measure.recall),
        *_shares(folds.counts(truth, judged), prefix="five-fold "),
    ]
    return [_result(measure.name, measure.filter, decisions, metrics)]


def _motion(
    labels: Sequence[ClipLabels], decided: DecidedFiles, disagreements: list[Disagreement]
) -> list[Result]:
    truth = {e.file: tier for e in labels if (tier := measures.merged_tier(e.motion)) is not None}
    if not truth or measures.MOTION_FILTER not in decided.filters:
        return []
    variants = folds.tiers(decided, list(truth))
    verdicts = decided.verdicts[measures.MOTION_FILTER]
    decisions = []
    for file, tier in truth.items():
        predicted = variants[0][file]
        note = f"labelled {tier}, called {predicted}"
        decisions.append(Decision(file, tier, None, True, predicted == tier, note=note))
        if predicted != tier:
            clip = measures.longest(decided.of_file(file, verdicts))
            disagreements.append(Disagreement("motion tier", note, clip, _words(clip)))
    goodness = folds.mean_f1(truth)
    judged = folds.held_out(variants, _folds(labels, truth), goodness)
    metrics = [
        Metric("macro-F1", goodness(variants[0]), measures.MOTION_TARGET),
        Metric("five-fold macro-F1", goodness(judged)),
    ]
    return [_result("motion tier", measures.MOTION_FILTER, decisions, metrics)]


def _crops(
    labels: Sequence[ClipLabels], decided: DecidedFiles, disagreements: list[Disagreement]
) -> list[Result]:
    """How far the border's crop reaches into the picture, where it is known."""
    if "border" not in decided.filters:
        return []
    decisions = []
    for each in labels:
        if each.crop is None and each.border is not False:
            continue
        for clip in decided.of_file(each.file, decided.verdicts["border"]):
            share = measures.crop_into_picture(clip, each)
            cut = share > measures.CROP_TARGET
            note = f"{share:.1%} of the picture cut off"
            decisions.append(Decision(each.file, "crop", share, False, cut, note=note))
            if cut:
                disagreements.append(Disagreement("crop", "too far", clip, note))
    worst = max((decision.dose or 0.0 for decision in decisions), default=0.0)
    metric = Metric("largest share cut off", worst, measures.CROP_TARGET, lower_is_better=True)
    return [_result("border crop", "border", decisions, [metric])] if decisions else []


def _shots(
    labels: Sequence[ClipLabels], decided: DecidedFiles, disagreements: list[Disagreement]
) -> list[Result]:
    decisions = []
    verdicts = next(iter(decided.verdicts.values()))
    for each in labels:
        if each.transitions is None:
            continue
        clips = decided.of_file(each.file, verdicts)
        missed, false = measures.match_gaps(each.transitions, measures.gaps(clips))
        for at in each.transitions:
            kind = "cut" if at[0] == at[1] else "gradual"
            note = f"frames {at[0]}-{at[1]}"
            decisions.append(Decision(each.file, kind, None, True, at not in missed, note=note))
        for at in false:
            note = f"frames {at[0]}-{at[1]}"
            decisions.append(Decision(each.file, "none", None, False, True, note=note))
        for what, where in (("missed", missed), ("false alarm", false)):
            note = ", ".join(f"frames {a}-{b}" for a, b in where)
            if where:
                clip = measures.longest(clips)
                disagreements.append(Disagreement("shots", what, clip, note))
    if not decisions:
        return []
    found = sum(bool(d.truth) and d.fired for d in decisions)
    wrong = sum(not d.truth for d in decisions)
    missed = sum(bool(d.truth) and not d.fired for d in decisions)
    metrics = _shares((found, wrong, missed), measures.SHOTS_PRECISION, measures.SHOTS_RECALL)
    return [_result("shots", "", decisions, metrics)]


def _quality(labels: Sequence[ClipLabels], decided: DecidedFiles, out: Path) -> list[Result]:
    marks = {each.file: each.quality for each in labels if each.quality is not None}
    if len(set(marks.values())) < 2 or measures.QUALITY_FILTER not in decided.filters:
        return []
    verdicts = decided.verdicts[measures.QUALITY_FILTER]
    metrics = []
    if verdicts.score is not None and np.isfinite(verdicts.score).all():
        scores = [
            max(clip.verdict.score or 0.0 for clip in decided.of_file(file, verdicts))
            for file in marks
        ]
        metrics.append(Metric("Spearman as set", srcc(list(marks.values()), scores)))
    judged = folds.quality_correlation(decided, marks, _folds(labels, marks), out / "heads")
    if judged is not None:
        metrics.append(Metric("five-fold Spearman", judged, measures.QUALITY_TARGET))
    return [_result("quality", measures.QUALITY_FILTER, [], metrics)]


def _throughput(decided: DecidedFiles) -> list[Result]:
    """Seconds of footage per core second of all stages together.

    From the rate of each stage, because one that was measured again has more seconds than others.
    """
    rates = [stage.rate for stage in all_stages(decided.dataset.path).values() if stage.rate]
    if not rates:
        return []
    rate = 1 / sum(1 / each for each in rates)
    metric = Metric("video s per core s", rate, measures.THROUGHPUT_TARGET)
    return [_result("throughput", "", [], [metric])]


def _folds(labels: Sequence[ClipLabels], files: Mapping[str, Any]) -> dict[str, int]:
    return {file: fold for file, fold in folds.fold_of(labels).items() if file in files}


def _shares(
    counts: tuple[int, int, int],
    precision: float | None = None,
    recall: float | None = None,
    prefix: str = "",
) -> list[Metric]:
    right, wrong, missed = counts
    found, there = right + wrong, right + missed
    return [
        Metric(f"{prefix}precision", right / found if found else 1.0, precision),
        Metric(f"{prefix}recall", right / there if there else 1.0, recall),
    ]


def _words(clip: DecidedClip) -> str:
    verdict = clip.verdict
    score = "" if verdict.score is None else f"score {verdict.score:.3g}"
    return ", ".join(part for part in (verdict.label, score, verdict.reason) if part)


def _result(
    name: str, filter_name: str, decisions: Sequence[Decision], metrics: Sequence[Metric]
) -> Result:
    summary = f"{len({decision.case for decision in decisions})} labelled files"
    return summarise_labelled_set(name, filter_name, summary, Evaluation(decisions, metrics))
