"""Faults of the file: heavy compression, combed fields, repeated frames; footage without any."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from wanctl.bench.cases import (
    Case,
    CaseResult,
    Decision,
    Evaluation,
    Family,
    Metric,
    clip_decision,
    first_clips,
)
from wanctl.bench.footage import CleanFootage, Shot
from wanctl.bench.metrics import average_precision

CRFS = (18, 24, 30, 36, 42, 46, 50)
HEAVY_CRF, GOOD_CRF = 46, 30
COMBED_SHARES = (0.2, 0.4, 1.0)  # 0.4 is film brought to 60 fields a second
# rate that is converted from, and to how many times of it
REPEATS = {"24 to 30": (24.0, 1.25), "24 to 48": (24.0, 2.0), "24 to 60": (24.0, 2.5)} | {
    "12 to 24": (12.0, 2.0),
    "12 to 30": (12.0, 2.5),
    "10 to 30": (10.0, 3.0),
}
FRAMES, FPS = 48, 24.0
MIN_FPS = 16  # the filter's default, and training's rate
LABELS = {"compression": "bits", "combed fields": "interlaced", "repeats": "repeats"}


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Every strength of three faults, and footage that resembles them."""
    cases = []
    for i, shot in enumerate(footage.largest(2 if quick else 5)):
        for crf in CRFS[::2] if quick else CRFS:
            truth = True if crf >= HEAVY_CRF else False if crf <= GOOD_CRF else None
            render = partial(_clean, shot)
            cases.append(
                Case(f"crf_{i}_{crf}", "compression", crf, truth, render, fps=FPS, crf=crf)
            )
        for share in COMBED_SHARES[1:] if quick else COMBED_SHARES:
            name = f"combed_{i}_{100 * share:03.0f}"
            truth = True if share >= COMBED_SHARES[1] else None
            render = partial(_combed, shot, share)
            cases.append(Case(name, "combed fields", 100 * share, truth, render, fps=FPS, crf=20))
        for kind, (fps, rate) in REPEATS.items():
            # where different frames come often enough, training and exports read those
            truth = fps < MIN_FPS
            render = partial(_with_repeats, shot, rate)
            name = f"repeats_{i}_{kind.replace(' ', '-')}"
            dose = 100 * (1 - 1 / rate)
            cases.append(Case(name, "repeats", dose, truth, render, fps=fps * rate, crf=20))
        for kind, draw in (("clean", _clean), ("blinds", _blinds), ("still title", _still)):
            name = f"{kind.replace(' ', '-')}_{i}"
            cases.append(Case(name, kind, None, False, partial(draw, shot), fps=FPS, crf=20))
    return cases


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """A fault is detected where the label is its own; only compression has a score to order by."""
    decisions: list[Decision] = []
    compression_scores: list[tuple[bool, float]] = []
    for case, clip in first_clips(case_results):
        decision = clip_decision(case, clip, score=float(clip.fired), note=f"label {clip.label}")
        if case.dose is not None:
            decision = Decision(
                case.name,
                case.variant,
                case.dose,
                case.positive,
                clip.label == LABELS[case.variant],
                decision.score,
                decision.note,
            )
        decisions.append(decision)
        if case.variant == "compression" and case.positive is not None:
            compression_scores.append((case.positive, -(clip.score or 0.0)))
    ap = average_precision(
        [truth for truth, _ in compression_scores], [score for _, score in compression_scores]
    )
    return Evaluation(decisions, [Metric("compression, average precision", ap)])


def _clean(shot: Shot) -> np.ndarray:
    return shot.frames(360, FRAMES)


def _combed(shot: Shot, share: float) -> np.ndarray:
    """Every other row of this share of the frames is of the next frame, as in interlaced video."""
    frames = shot.frames(360, FRAMES)
    combed = frames.copy()
    chosen = np.flatnonzero(np.arange(len(frames) - 1) % 10 < 10 * share)
    combed[chosen, 1::2] = frames[chosen + 1, 1::2]
    return combed


def _with_repeats(shot: Shot, rate: float) -> np.ndarray:
    frames = shot.frames(360, FRAMES)
    return frames[(np.arange(int(len(frames) * rate)) / rate).astype(int)]


def _blinds(shot: Shot) -> np.ndarray:
    """Fine blinds and a striped wall: rows that alternate, but belong to one frame."""
    frames = shot.frames(360, FRAMES).copy()
    _, height, width, _ = frames.shape
    stripes = np.where((np.arange(height) // 2 % 2)[:, None], 205, 90)
    wall = np.repeat(stripes[:, : width // 3], width // 3, axis=1).astype(np.uint8)
    wall = cv2.GaussianBlur(wall, (0, 0), 0.5)
    for index, frame in enumerate(frames):
        x = min(index * 2, width - wall.shape[1])
        frame[:, x : x + wall.shape[1]] = wall[..., None]
    return frames


def _still(shot: Shot) -> np.ndarray:
    """A second of a title card or a pause: the same frame, then motion again."""
    frames = shot.frames(360, FRAMES)
    return np.concatenate([frames[:1].repeat(16, axis=0), frames])


FAMILY = Family(
    name="container",
    filter="container",
    summary="x264 crf 18 to 50, combed fields, repeated frames; blinds, a still title",
    dose="crf, or % of the frames",
    make_cases=make_cases,
    evaluate=evaluate,
    one_scale=False,
)
