"""Defocus and motion blur of known size; bokeh, fog and flat animation, which are sharp."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from wanctl.bench.cases import Case, CaseResult, Evaluation, Family, clip_decision, first_clips
from wanctl.bench.footage import CleanFootage, Shot

# Standard deviation of the blur in pixels of a frame 854 wide, whatever the blur.
SPREADS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.5)
SOFT, SHARP = 2.5, 0.5
SHAPES = ("gaussian", "disk", "motion")
FRAMES, WIDTH = 36, 854


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Every shape at every size; frames that are soft on purpose."""
    shots = footage.largest(2 if quick else 4)
    cases = []
    for i, shot in enumerate(shots):
        for shape in SHAPES[:2] if quick else SHAPES:
            for spread in SPREADS[1::2] if quick else SPREADS:
                truth = True if spread >= SOFT else False if spread <= SHARP else None
                name = f"{shape}_{i}_{10 * spread:02.0f}"
                render = partial(_blurred, shot, shape, spread)
                cases.append(Case(name, shape, spread, truth, render))
    negatives = (
        ("clean", _clean),
        ("bokeh", _bokeh),
        ("fog", _fog),
        ("flat animation", _cartoon),
        ("moment of shake", _moment),
    )
    return cases + [
        Case(f"{kind.replace(' ', '-')}_{i}", kind, None, False, partial(draw, shot))
        for kind, draw in negatives
        for i, shot in enumerate(shots)
    ]


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """Metrics of the filter's decisions; its own score orders the precision-recall curve."""
    return Evaluation(
        [clip_decision(case, clip) for case, clip in first_clips(case_results)], ap_target=0.95
    )


def kernel(shape: str, spread: float, angle: float = 25.0) -> np.ndarray:
    """A blur whose standard deviation along its widest direction is `spread` pixels."""
    # a disk of radius r spreads r/2 along an axis, a line of length l spreads l/sqrt(12)
    reach = {"gaussian": 4 * spread, "disk": 2 * spread, "motion": 12**0.5 * spread / 2}[shape]
    side = 2 * int(np.ceil(reach)) + 1
    fine = 9
    axis = (np.arange(side * fine) + 0.5) / fine - side / 2
    x, y = np.meshgrid(axis, axis)
    if shape == "gaussian":
        dense = np.exp(-(x**2 + y**2) / (2 * spread**2))
    elif shape == "disk":
        dense = (x**2 + y**2 <= reach**2).astype(float)
    else:
        turn = np.deg2rad(angle)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        dense = ((np.abs(along) <= reach) & (np.abs(across) <= 0.5)).astype(float)
    coarse = dense.reshape(side, fine, side, fine).sum(axis=(1, 3))
    return (coarse / coarse.sum()).astype(np.float32)


def _blurred(shot: Shot, shape: str, spread: float) -> np.ndarray:
    frames = _clean(shot)
    weights = kernel(shape, spread * frames.shape[2] / WIDTH)
    return np.stack([cv2.filter2D(frame, -1, weights) for frame in frames])


def _clean(shot: Shot) -> np.ndarray:
    """At most 480 lines, and never enlarged: that would be a blur of its own."""
    return shot.frames(min(480, shot.size[1] // 2 * 2), FRAMES)


def _bokeh(shot: Shot) -> np.ndarray:
    """A sharp subject in the middle third before a background far out of focus."""
    frames = _clean(shot)
    _, height, width, _ = frames.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = np.clip((0.42 - np.sqrt((1.6 * x) ** 2 + y**2) / 1.7) * 20, 0, 1)[..., None]
    weights = kernel("disk", 5.0)
    soft = np.stack([cv2.filter2D(frame, -1, weights) for frame in frames])
    return (frames * inside + soft * (1 - inside)).astype(np.uint8)


def _fog(shot: Shot) -> np.ndarray:
    """Little contrast, every edge as sharp as before, and the sensor's grain."""
    frames = _clean(shot).astype(np.float32)
    noise = np.random.default_rng(3).normal(0, 1.2, (6, *frames.shape[1:3], 1))
    return np.clip(0.28 * frames + 150 + noise[np.arange(len(frames)) % 6], 0, 255).astype(np.uint8)


def _cartoon(shot: Shot) -> np.ndarray:
    """Flat areas with hard outlines: hardly any texture."""
    out = []
    for frame in _clean(shot):
        smooth = cv2.medianBlur(cv2.bilateralFilter(frame, 9, 60, 9), 7)
        flat = (smooth // 32) * 32 + 12
        edges = cv2.Canny(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY), 40, 90)
        out.append(np.where(cv2.dilate(edges, np.ones((2, 2)))[..., None] > 0, 10, flat))
    return np.stack(out).astype(np.uint8)


def _moment(shot: Shot) -> np.ndarray:
    """Motion blur in a quarter of an otherwise sharp shot."""
    frames = _clean(shot).copy()
    weights = kernel("motion", 6.0)
    for index in range(len(frames) // 2, len(frames) // 2 + len(frames) // 4):
        frames[index] = cv2.filter2D(frames[index], -1, weights)
    return frames


FAMILY = Family(
    name="blur",
    filter="blur",
    summary="Gaussian, lens and motion blur; bokeh, fog, animation, one jolt",
    dose="standard deviation of the blur in px at a width of 854",
    make_cases=make_cases,
    evaluate=evaluate,
)
