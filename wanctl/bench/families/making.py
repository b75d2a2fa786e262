"""How a file was made: squeezed, woven of two fields, padded with repeats; honest footage."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from wanctl.bench.cases import (
    Case,
    Family,
    Figure,
    Graded,
    Outcome,
    Point,
    first_clips,
    judged,
)
from wanctl.bench.material import Material, Shot
from wanctl.bench.scores import average_precision

CRFS = (18, 24, 30, 36, 42, 46, 50)
SQUEEZED, FINE = 46, 30
WOVEN = (0.2, 0.4, 1.0)  # 0.4 is film brought to 60 fields a second
REPEATS = {"24 to 30": 1.25, "24 to 48": 2.0, "24 to 60": 2.5}
FRAMES, FPS = 48, 24.0
LABELS = {"compression": "bits", "woven fields": "interlaced", "repeats": "repeats"}


def make(material: Material, quick: bool) -> list[Case]:
    """Every strength of three faults, and footage that looks like them."""
    cases = []
    for i, shot in enumerate(material.large(2 if quick else 5)):
        for crf in CRFS[::2] if quick else CRFS:
            truth = True if crf >= SQUEEZED else False if crf <= FINE else None
            render = partial(_clean, shot)
            cases.append(
                Case(f"crf_{i}_{crf}", "compression", crf, truth, render, fps=FPS, crf=crf)
            )
        for share in WOVEN[1:] if quick else WOVEN:
            name = f"woven_{i}_{100 * share:03.0f}"
            truth = True if share >= WOVEN[1] else None
            render = partial(_woven, shot, share)
            cases.append(Case(name, "woven fields", 100 * share, truth, render, fps=FPS, crf=20))
        for kind, rate in REPEATS.items():
            share = 1 - 1 / rate
            truth = True if share >= 0.5 else None
            render = partial(_padded, shot, rate)
            name = f"repeats_{i}_{kind.replace(' ', '-')}"
            cases.append(Case(name, "repeats", 100 * share, truth, render, fps=FPS * rate, crf=20))
        for look, draw in (("clean", _clean), ("blinds", _blinds), ("standing still", _still)):
            name = f"{look.replace(' ', '-')}_{i}"
            cases.append(Case(name, look, None, False, partial(draw, shot), fps=FPS, crf=20))
    return cases


def grade(outcomes: Sequence[Outcome]) -> Graded:
    """A fault is found where its own label is said; compression has a score to order it by."""
    points: list[Point] = []
    squeezed: list[tuple[bool, float]] = []
    for case, found in first_clips(outcomes):
        point = judged(case, found, score=float(found.fired), note=f"label {found.label}")
        if case.dose is not None:
            point = Point(
                case.name,
                case.variant,
                case.dose,
                case.positive,
                found.label == LABELS[case.variant],
                point.score,
                point.note,
            )
        points.append(point)
        if case.variant == "compression" and case.positive is not None:
            squeezed.append((case.positive, -(found.score or 0.0)))
    ap = average_precision([truth for truth, _ in squeezed], [score for _, score in squeezed])
    return Graded(points, [Figure("compression, average precision", ap)])


def _clean(shot: Shot) -> np.ndarray:
    return shot.frames(360, FRAMES)


def _woven(shot: Shot, share: float) -> np.ndarray:
    """In this share of the pictures every other row is of the next moment."""
    frames = shot.frames(360, FRAMES)
    woven = frames.copy()
    chosen = np.flatnonzero(np.arange(len(frames) - 1) % 10 < 10 * share)
    woven[chosen, 1::2] = frames[chosen + 1, 1::2]
    return woven


def _padded(shot: Shot, rate: float) -> np.ndarray:
    frames = shot.frames(360, FRAMES)
    return frames[(np.arange(int(len(frames) * rate)) / rate).astype(int)]


def _blinds(shot: Shot) -> np.ndarray:
    """Fine blinds and a striped wall: rows that alternate, but belong to one moment."""
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
    """A second of a title card or a pause: the same picture, then motion again."""
    frames = shot.frames(360, FRAMES)
    return np.concatenate([frames[:1].repeat(16, axis=0), frames])


FAMILY = Family(
    name="container",
    filter="container",
    summary="x264 crf 18 to 50, woven fields, repeated pictures; blinds, a title that stands still",
    dose="crf, or % of the pictures",
    make=make,
    grade=grade,
    one_scale=False,
)
