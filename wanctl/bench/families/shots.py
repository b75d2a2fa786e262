"""Shot boundaries: hard cuts, dissolves, fades at 24, 30 and 60 fps; flashes and whip pans."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wanctl.bench.boundaries import (
    ScannedFile,
    detect_boundaries,
    scan_files,
    sweep_thresholds,
)
from wanctl.bench.cases import Case, CaseResult, ClipResult, Decision, Evaluation, Family, Metric
from wanctl.bench.drawing import film_still
from wanctl.bench.footage import CleanFootage, Shot
from wanctl.bench.metrics import Interval, f1, match_intervals
from wanctl.bench.settings import BenchSettings, DetectionSettings
from wanctl.video.frames import Box

LENGTHS = (5, 10, 20, 35, 50, 70)  # frames of a dissolve or fade
RATES = (24, 30, 60)
PIECE = 40  # frames of each shot between two boundaries, at least
SIZE = (320, 180)
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Sequences of one kind of boundary each, at every frame rate; sequences without any."""
    cases: list[Case] = []
    rates = RATES[:1] if quick else RATES
    for index, fps in enumerate(rates):
        pieces = _pieces(footage, 5 * index, 5 if quick else 8)
        cuts = [1] * (len(pieces) - 1)
        cases.append(_sequence(f"cuts_{fps}", "hard cut", fps, pieces, cuts))
        alike = _alike(footage, 5 * index, len(pieces))
        cases.append(_sequence(f"cuts-alike_{fps}", "hard cut", fps, alike, cuts))
        for number, lengths in enumerate((LENGTHS[1::2],) if quick else (LENGTHS,)):
            for kind in ("dissolve",) if quick else ("dissolve", "fade"):
                pieces = _pieces(footage, 7 * index + 3 * number + 2, len(lengths) + 1)
                cases.append(_sequence(f"{kind}_{fps}", kind, fps, pieces, list(lengths)))
    return cases + _negatives(footage, rates)


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """As in TRECVID: boundaries are matched one to one, a gradual one by any overlap."""
    decisions: list[Decision] = []
    curve: dict[float, list[int]] = {}
    for case_result in case_results:
        if not case_result.clips:
            continue
        evidence = case_result.clips[0].evidence
        decisions += _decisions(case_result.case, evidence["boundaries"])
        for threshold, detected in evidence["sweep"]:
            counts = curve.setdefault(threshold, [0, 0, 0])
            for i, value in enumerate(_counts(case_result.case, detected)):
                counts[i] += value
    # the strictest threshold first, so that recall rises
    pr = [
        (threshold, t / (t + f) if t + f else 1.0, t / (t + m) if t + m else 1.0)
        for threshold, (t, f, m) in sorted(curve.items(), reverse=True)
    ]
    return Evaluation(decisions, _metrics(decisions), curve=_rising(pr))


def run_cases(
    family: Family, cases: Sequence[Case], folder: Path, out: Path, settings: BenchSettings
) -> list[CaseResult]:
    """Scan the files in decode workers and detect as curation does, at every threshold.

    This does not run `wanctl curate`, where the network would run once for every threshold.
    """
    del family, out
    files = scan_files([folder / f"{case.name}.mp4" for case in cases], settings.detection)
    return [
        CaseResult(case, () if file is None else (_detect(file, settings.detection),))
        for case, file in zip(cases, files, strict=True)
    ]


def _detect(file: ScannedFile, settings: DetectionSettings) -> ClipResult:
    evidence: dict[str, Any] = {
        "boundaries": detect_boundaries(file, settings),
        "sweep": sweep_thresholds(file, settings, THRESHOLDS),
    }
    return ClipResult(True, (), None, Box(0, 0, *SIZE), SIZE, None, evidence)


def _decisions(case: Case, detected: Sequence[Interval]) -> list[Decision]:
    truth: list[Interval] = [tuple(each) for each in case.truth["boundaries"]]
    pairs = match_intervals(truth, detected, tolerance(case.fps))
    hit = {at for at, _ in pairs}
    decisions = [
        Decision(
            case.name,
            case.variant,
            float(last - first + 1) if case.variant != "hard cut" else None,
            True,
            index in hit,
            note=f"frames {first} to {last}",
        )
        for index, (first, last) in enumerate(truth)
    ]
    used = {index for _, index in pairs}
    return decisions + [
        Decision(case.name, case.variant, None, False, True, note=f"detected at frames {a} to {b}")
        for index, (a, b) in enumerate(detected)
        if index not in used
    ]


def _counts(case: Case, detected: Sequence[Interval]) -> tuple[int, int, int]:
    decisions = _decisions(case, detected)
    true = sum(bool(decision.truth) and decision.fired for decision in decisions)
    false = sum(not decision.truth for decision in decisions)
    return true, false, sum(bool(decision.truth) and not decision.fired for decision in decisions)


def _metrics(decisions: Sequence[Decision]) -> list[Metric]:
    metrics = []
    cuts = [p for p in decisions if p.variant in ("hard cut", "clean")]
    metrics.append(Metric("hard cuts, F1", _f1(cuts), 0.95))
    hard = [p for p in decisions if p.variant not in ("dissolve", "fade")]
    metrics.append(Metric("hard cuts with flashes and whip pans, F1", _f1(hard)))
    for kind, bar in (("dissolve", 0.8), ("fade", None)):
        own = [p for p in decisions if p.variant == kind and p.truth]
        if own:
            metrics.append(Metric(f"{kind}s hit", float(np.mean([p.fired for p in own])), bar))
            metrics.append(Metric(f"{kind}s, F1", _f1([p for p in decisions if p.variant == kind])))
    for fps in RATES:
        own = [p for p in decisions if p.case.endswith(f"_{fps}")]
        if own:
            metrics.append(Metric(f"all boundaries at {fps} fps, F1", _f1(own)))
    return metrics


def _f1(decisions: Sequence[Decision]) -> float:
    true = sum(bool(p.truth) and p.fired for p in decisions)
    return f1(
        true,
        sum(not p.truth for p in decisions),
        sum(bool(p.truth) and not p.fired for p in decisions),
    )


def _rising(curve: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Points in order of recall; points where recall falls, as runs merge, are left out."""
    kept: list[tuple[float, float, float]] = []
    for decision in curve:
        if not kept or decision[2] >= kept[-1][2]:
            kept.append(decision)
    return kept


def tolerance(fps: float) -> int:
    """Frames by which a boundary may be off: one of the detector's, which sees 30 a second."""
    return max(1, round(fps / 30))


def _pieces(footage: CleanFootage, start: int, count: int) -> list[Shot]:
    """Shots whose neighbours come from different files or places: their boundaries are visible."""
    by_file: dict[str, list[Shot]] = {}
    for shot in footage.shots:
        by_file.setdefault(shot.path.stem, []).append(shot)
    turns = [shots for _, shots in sorted(by_file.items())]
    return [
        turns[index % len(turns)][(index // len(turns)) % len(turns[index % len(turns)])]
        for index in range(start, start + count)
    ]


def _alike(footage: CleanFootage, start: int, count: int) -> list[Shot]:
    """Shots of the file that has most of them, as its own editor might have cut them."""
    names = [shot.path.stem for shot in footage.shots]
    own = [s for s in footage.shots if s.path.stem == max(sorted(set(names)), key=names.count)]
    return [own[index % len(own)] for index in range(start, start + count)]


def _sequence(
    name: str, kind: str, fps: int, pieces: Sequence[Shot], lengths: Sequence[int]
) -> Case:
    """Shots joined by boundaries of these lengths; a hard cut has the length 1."""
    truth, at = [], PIECE
    for length in lengths:
        # a hard cut is named by the last frame before it, a gradual one by its own frames
        truth.append((at - 1, at - 1) if kind == "hard cut" else (at, at + length - 1))
        at += PIECE + (0 if kind == "hard cut" else length)
    render = partial(_joined, kind, pieces, lengths)
    return Case(name, kind, None, None, render, {"boundaries": truth}, fps=fps, crf=23)


def _joined(kind: str, pieces: Sequence[Shot], lengths: Sequence[int]) -> np.ndarray:
    out: list[np.ndarray] = []
    lead = 0  # frames that the boundary before has taken of this shot
    for index, shot in enumerate(pieces):
        tail = lengths[index] if index < len(lengths) and kind != "hard cut" else 0
        frames = _footage(shot, lead + PIECE + tail)
        out.append(frames[lead : lead + PIECE])
        if tail:
            after = _footage(pieces[index + 1], tail)
            out.append(_mixed(kind, frames[lead + PIECE :], after))
        lead = tail
    return np.concatenate(out)


def _mixed(kind: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    share = ((np.arange(len(before)) + 1) / (len(before) + 1))[:, None, None, None]
    if kind == "dissolve":
        mixed = before * (1 - share) + after * share
    else:  # down to black and up again
        mixed = before * np.clip(1 - 2 * share, 0, 1) + after * np.clip(2 * share - 1, 0, 1)
    return mixed.astype(np.uint8)


def _footage(shot: Shot, count: int) -> np.ndarray:
    """`count` frames of a shot, played forwards and backwards where it is shorter."""
    frames = shot.frames(SIZE[1])
    order = np.concatenate([np.arange(len(frames)), np.arange(len(frames) - 2, 0, -1)])
    picked = frames[np.resize(order, count)]
    return np.stack([_wide(frame) for frame in picked])


def _wide(frame: np.ndarray) -> np.ndarray:
    """The centre of a frame at SIZE."""
    scale = max(SIZE[0] / frame.shape[1], SIZE[1] / frame.shape[0])
    grown = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    x = max(0, (grown.shape[1] - SIZE[0]) // 2)
    y = max(0, (grown.shape[0] - SIZE[1]) // 2)
    return cv2.resize(grown[y : y + SIZE[1], x : x + SIZE[0]], SIZE)


def _negatives(footage: CleanFootage, rates: Sequence[int]) -> list[Case]:
    cases = []
    for index, fps in enumerate(rates):
        (shot,) = _pieces(footage, 4 * index + 1, 1)
        for kind, draw in (("clean", _footage), ("flash", _flashes), ("whip pan", _whip)):
            name = f"{kind.replace(' ', '-')}_{fps}"
            render = partial(draw, shot, 3 * PIECE)
            truth: dict[str, Any] = {"boundaries": []}
            cases.append(Case(name, kind, None, None, render, truth, fps=fps, crf=23))
    return cases


def _flashes(shot: Shot, count: int) -> np.ndarray:
    """Camera flashes: one to three frames far too bright, six times."""
    frames = _footage(shot, count).astype(np.float32)
    for index, at in enumerate(range(PIECE // 2, count - 5, count // 6)):
        for step in range(1 + index % 3):
            frames[at + step] = np.minimum(255, frames[at + step] * 2.2 + 70 - 25 * step)
    return frames.astype(np.uint8)


def _whip(shot: Shot, count: int) -> np.ndarray:
    """A whip pan of eight frames with motion blur between two views of one place."""
    still = shot.frames(360)[0]
    wide = np.concatenate([still, still[:, ::-1]], axis=1)  # a mirrored join has no edge
    path = np.zeros((count, 4))
    path[:, 1], path[:, 2] = 180, 1.0
    left, right = SIZE[0] * 0.6, wide.shape[1] - SIZE[0] * 0.6
    turn = np.clip((np.arange(count) - count // 2) / 8, 0, 1)
    path[:, 0] = left + (right - left) * (3 * turn**2 - 2 * turn**3)
    return film_still(wide, path, SIZE, blur=True)


FAMILY = Family(
    name="shots",
    filter="",
    summary="hard cuts, dissolves and fades of 5 to 70 frames at 24, 30 and 60 fps",
    dose="length of the transition in frames",
    make_cases=make_cases,
    evaluate=evaluate,
    run_cases=run_cases,
)
