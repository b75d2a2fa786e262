"""From graded points to the numbers of one family, as plain data."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from wanctl.bench.cases import Family, Graded, Outcome, Point
from wanctl.bench.scores import f1, half_dose, precision_recall, recall_by_dose, step_area

Result = dict[str, Any]
MAX_WRONG = 40


def summarise(
    family: Family, outcomes: Sequence[Outcome], graded: Graded, settings: dict[str, Any]
) -> Result:
    """Everything that bench.json, the page and the screen show of a family."""
    result = _numbers(graded, family)
    return {
        "family": family.name,
        "filter": family.filter,
        "summary": family.summary,
        "settings": settings,
        "cases": len(outcomes),
        "unread": [o.case.name for o in outcomes if not o.clips],
        "kinds": dict(Counter(o.case.variant for o in outcomes)),
        **result,
    }


def summarise_points(name: str, filters: str, summary: str, graded: Graded) -> Result:
    """The same of a labelled set, which knows no cases."""
    return {
        "family": name,
        "filter": filters,
        "summary": summary,
        "settings": {},
        "cases": len({point.case for point in graded.points}),
        "unread": [],
        "kinds": dict(Counter(point.variant for point in graded.points if point.truth)),
        **_numbers(graded, None),
    }


def _numbers(graded: Graded, family: Family | None) -> Result:
    counted = [point for point in graded.points if point.truth is not None]
    true = sum(point.fired and bool(point.truth) for point in counted)
    false = sum(point.fired and not point.truth for point in counted)
    missed = sum(not point.fired and bool(point.truth) for point in counted)
    curve = graded.curve or _curve(counted)
    ap = step_area([(p, r) for _, p, r in curve]) if curve else None
    precision = true / (true + false) if true + false else 1.0
    figures = [
        {"what": f.what, "value": f.value, "bar": f.bar, "below": f.below, "met": f.met}
        for f in graded.figures
    ]
    if graded.ap_bar is not None and ap is not None:
        figures.append(_figure("average precision", ap, graded.ap_bar))
    if graded.precision_bar is not None:
        figures.append(_figure("precision as set", precision, graded.precision_bar))
    return {
        "precision": precision,
        "recall": true / (true + missed) if true + missed else 1.0,
        "f1": f1(true, false, missed),
        "counts": {"true": true, "false": false, "missed": missed, "of": len(counted)},
        "ap": ap,
        "curve": curve,
        "dose": _dose(family, graded.points),
        "figures": figures,
        "wrong": _wrong(counted),
    }


def _figure(what: str, value: float, bar: float) -> dict[str, Any]:
    return {"what": what, "value": value, "bar": bar, "below": False, "met": value >= bar}


def _curve(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    scored = [point for point in points if point.score is not None]
    if len(scored) < len(points) or not any(point.truth for point in scored):
        return []
    return precision_recall(
        [bool(point.truth) for point in scored], [point.score or 0.0 for point in scored]
    )


def _dose(family: Family | None, points: Sequence[Point]) -> dict[str, Any]:
    """Share found by dose: over all variants, and for each."""
    dosed = [point for point in points if point.dose is not None]
    name = family.dose if family else "frames"
    if not dosed:
        return {"name": name, "half": None, "curves": {}, "halves": {}}
    curves, halves = {}, {}
    for variant in dict.fromkeys(point.variant for point in dosed):
        own = [point for point in dosed if point.variant == variant]
        curves[variant] = recall_by_dose(
            [point.dose or 0.0 for point in own], [point.fired for point in own]
        )
        halves[variant] = half_dose(curves[variant])
    overall = recall_by_dose(
        [point.dose or 0.0 for point in dosed], [point.fired for point in dosed]
    )
    half = half_dose(overall) if family is None or family.one_scale else None
    return {"name": name, "half": half, "curves": curves, "halves": halves}


def _wrong(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Decisions that are not as they ought to be, false alarms first."""
    wrong = [point for point in points if bool(point.truth) != point.fired]
    wrong.sort(key=lambda point: (bool(point.truth), point.case))
    return [
        {
            "case": point.case,
            "variant": point.variant,
            "dose": point.dose,
            "what": "missed" if point.truth else "false alarm",
            "note": point.note,
        }
        for point in wrong[:MAX_WRONG]
    ]
