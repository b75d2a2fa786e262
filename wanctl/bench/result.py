"""Results of one family as plain data: from decisions to precision, recall and metrics."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from wanctl.bench.cases import CaseResult, Decision, Evaluation, Family
from wanctl.bench.metrics import f1, half_dose, precision_recall, recall_by_dose, step_area

Result = dict[str, Any]
MAX_WRONG = 40


def summarise(
    family: Family,
    case_results: Sequence[CaseResult],
    evaluation: Evaluation,
    settings: dict[str, Any],
) -> Result:
    """Everything that bench.json, the page and the terminal show of a family."""
    result = _numbers(evaluation, family)
    return {
        "family": family.name,
        "filter": family.filter,
        "summary": family.summary,
        "settings": settings,
        "cases": len(case_results),
        "unread": [o.case.name for o in case_results if not o.clips],
        "kinds": dict(Counter(o.case.variant for o in case_results)),
        **result,
    }


def summarise_labelled_set(name: str, filters: str, summary: str, evaluation: Evaluation) -> Result:
    """Everything that bench.json, the page and the terminal show of a labelled set."""
    return {
        "family": name,
        "filter": filters,
        "summary": summary,
        "settings": {},
        "cases": len({decision.case for decision in evaluation.decisions}),
        "unread": [],
        "kinds": dict(
            Counter(decision.variant for decision in evaluation.decisions if decision.truth)
        ),
        **_numbers(evaluation, None),
    }


def _numbers(evaluation: Evaluation, family: Family | None) -> Result:
    counted = [decision for decision in evaluation.decisions if decision.truth is not None]
    true = sum(decision.fired and bool(decision.truth) for decision in counted)
    false = sum(decision.fired and not decision.truth for decision in counted)
    missed = sum(not decision.fired and bool(decision.truth) for decision in counted)
    curve = evaluation.curve or _curve(counted)
    ap = step_area([(p, r) for _, p, r in curve]) if curve else None
    precision = true / (true + false) if true + false else 1.0
    metrics = [
        {
            "what": metric.name,
            "value": metric.value,
            "bar": metric.target,
            "below": metric.lower_is_better,
            "met": metric.is_met,
        }
        for metric in evaluation.metrics
    ]
    if evaluation.ap_target is not None and ap is not None:
        metrics.append(_lower_bound("average precision", ap, evaluation.ap_target))
    if evaluation.precision_target is not None:
        target = evaluation.precision_target
        metrics.append(_lower_bound("precision as set", precision, target))
    return {
        "precision": precision,
        "recall": true / (true + missed) if true + missed else 1.0,
        "f1": f1(true, false, missed),
        "counts": {"true": true, "false": false, "missed": missed, "of": len(counted)},
        "ap": ap,
        "curve": curve,
        "dose": _dose(family, evaluation.decisions),
        "figures": metrics,
        "wrong": _wrong(counted),
    }


def _lower_bound(name: str, value: float, target: float) -> dict[str, Any]:
    return {
        "what": name,
        "value": value,
        "bar": target,
        "below": False,
        "met": value >= target,
    }


def _curve(decisions: Sequence[Decision]) -> list[tuple[float, float, float]]:
    scored = [decision for decision in decisions if decision.score is not None]
    if len(scored) < len(decisions) or not any(decision.truth for decision in scored):
        return []
    return precision_recall(
        [bool(decision.truth) for decision in scored],
        [decision.score or 0.0 for decision in scored],
    )


def _dose(family: Family | None, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Recall by dose: over all variants, and for each."""
    dosed = [decision for decision in decisions if decision.dose is not None]
    name = family.dose if family else "frames"
    if not dosed:
        return {"name": name, "half": None, "curves": {}, "halves": {}}
    curves, halves = {}, {}
    for variant in dict.fromkeys(decision.variant for decision in dosed):
        own = [decision for decision in dosed if decision.variant == variant]
        curves[variant] = recall_by_dose(
            [decision.dose or 0.0 for decision in own], [decision.fired for decision in own]
        )
        halves[variant] = half_dose(curves[variant])
    overall = recall_by_dose(
        [decision.dose or 0.0 for decision in dosed], [decision.fired for decision in dosed]
    )
    half = half_dose(overall) if family is None or family.one_scale else None
    return {"name": name, "half": half, "curves": curves, "halves": halves}


def _wrong(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Wrong decisions, false alarms first."""
    wrong = [decision for decision in decisions if bool(decision.truth) != decision.fired]
    wrong.sort(key=lambda decision: (bool(decision.truth), decision.case))
    return [
        {
            "case": decision.case,
            "variant": decision.variant,
            "dose": decision.dose,
            "what": "missed" if decision.truth else "false alarm",
            "note": decision.note,
        }
        for decision in wrong[:MAX_WRONG]
    ]
