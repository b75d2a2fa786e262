"""Over- and under-exposure, simulated in linear light as a sensor clips; bright and dark scenes."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from wanctl.bench.cases import (
    Case,
    CaseResult,
    Evaluation,
    Family,
    Metric,
    clip_decision,
    first_clips,
)
from wanctl.bench.footage import CleanFootage, Shot
from wanctl.bench.metrics import average_precision

CLIPPED = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)  # share of the frame that clips
BLOWN, FINE = 0.35, 0.1  # shares that should be dropped, and kept
STOPS = (-2.0, -4.0, -6.0, -8.0, -10.0)
DARK, DIM = -6.0, -2.0
FRAMES = 36


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Gains that clip a known share of the frame; fewer stops of light; well-exposed scenes."""
    shots = footage.largest(2 if quick else 5)
    cases = []
    for i, shot in enumerate(shots):
        for share in CLIPPED[::2] if quick else CLIPPED:
            truth = True if share >= BLOWN else False if share <= FINE else None
            cases.append(
                Case(
                    f"over_{i}_{100 * share:02.0f}",
                    "over-exposed",
                    100 * share,
                    truth,
                    partial(_over, shot, share),
                    crf=(18, 26)[i % 2],
                )
            )
        for stops in STOPS[::2] if quick else STOPS:
            truth = True if stops <= DARK else False if stops >= DIM else None
            name = f"under_{i}_{-stops:02.0f}"
            render = partial(_gained, shot, 2.0**stops)
            cases.append(Case(name, "under-exposed", -10 * stops, truth, render))
    negatives = (("clean", _clean), ("snow", _snow), ("studio", _studio), ("night street", _night))
    return cases + [
        Case(f"{kind.replace(' ', '-')}_{i}", kind, None, False, partial(draw, shot))
        for kind, draw in negatives
        for i, shot in enumerate(shots)
    ]


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """Metrics of over- and under-exposure separately, because each has its own score."""
    pairs = first_clips(case_results)
    metrics = []
    # the score is positive for over-exposure and negative for under-exposure
    for side, sign in (("over", 1), ("under", -1)):
        own = [
            (case, clip)
            for case, clip in pairs
            if case.positive is not None and (case.dose is None or case.name.startswith(side))
        ]
        truth = [bool(case.positive) for case, _ in own]
        ap = average_precision(truth, [sign * (clip.score or 0.0) for _, clip in own])
        metrics.append(Metric(f"{side}-exposure, average precision", ap, 0.95))
    # one curve for both: their scores have no common scale, so the score of a decision is 0 or 1
    decisions = [clip_decision(case, clip, float(not clip.kept)) for case, clip in pairs]
    return Evaluation(decisions, metrics)


def _linear(frames: np.ndarray) -> np.ndarray:
    """BT.709 code values to linear light, both 0 to 1."""
    code = frames.astype(np.float32) / 255
    return np.where(code < 0.081, code / 4.5, ((code + 0.099) / 1.099) ** (1 / 0.45))


def _coded(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    code = np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)
    return np.rint(255 * code).astype(np.uint8)


def _gained(shot: Shot, gain: float) -> np.ndarray:
    return _coded(_linear(shot.frames(360, FRAMES)) * gain)


def _over(shot: Shot, share: float) -> np.ndarray:
    """The gain at which `share` of all pixels clip in at least two channels."""
    light = _linear(shot.frames(360, FRAMES))
    second = np.sort(light[::6, ::4, ::4], axis=-1)[..., 1]
    level = float(np.quantile(second, 1 - share))
    return _coded(light / max(level, 1e-4))


def _clean(shot: Shot) -> np.ndarray:
    return shot.frames(360, FRAMES)


def _snow(shot: Shot) -> np.ndarray:
    """A sunlit slope in the lower two thirds: near white, with grain and soft shadows."""
    frames = shot.frames(360, FRAMES).astype(np.float32)
    _, height, width, _ = frames.shape
    rng = np.random.default_rng(2)
    drift = cv2.resize(
        rng.normal(0, 1, (9, 14)).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 0.8)
    snow = np.clip(238 + 7 * drift + 16 * grain, 0, 255)[..., None]
    edge = np.clip((np.arange(height) - 0.3 * height) / 12, 0, 1)[None, :, None, None]
    return np.clip(frames * (1 - edge) + snow[None] * edge, 0, 255).astype(np.uint8)


def _studio(shot: Shot) -> np.ndarray:
    """A product before a white sweep, lit to just under clipping."""
    frames = shot.frames(360, FRAMES).astype(np.float32)
    _, height, width, _ = frames.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    sweep = (244 - 10 * (x**2 + y**2))[..., None]
    inside = np.clip((0.45 - np.maximum(np.abs(x) * 1.2, np.abs(y))) * 30, 0, 1)[..., None]
    return np.clip(frames * inside + sweep * (1 - inside), 0, 255).astype(np.uint8)


def _night(shot: Shot) -> np.ndarray:
    """Mostly dark, with lit windows and a lamp: dark on purpose."""
    frames = _gained(shot, 2.0**-2.5).astype(np.float32)
    _, height, width, _ = frames.shape
    rng = np.random.default_rng(5)
    lights = np.zeros((height, width), np.float32)
    for _ in range(26):
        x, y = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        cv2.rectangle(lights, (x, y), (x + 22, y + 30), float(rng.uniform(120, 230)), -1)
    lights = np.maximum(lights, 0.8 * cv2.GaussianBlur(lights, (0, 0), 14))
    warm = np.array((1.0, 0.85, 0.55), np.float32)
    return np.clip(frames + lights[None, ..., None] * warm, 0, 255).astype(np.uint8)


FAMILY = Family(
    name="exposure",
    filter="exposure",
    summary="gain in linear light until 5 to 70 % clips; 2 to 10 stops less; snow, studio, night",
    dose="% of the frame clipped, or 10 x stops too dark",
    make_cases=make_cases,
    evaluate=evaluate,
    one_scale=False,
)
