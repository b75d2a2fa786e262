"""Six tiers of motion, filmed with a known camera over known subjects."""

from collections.abc import Callable, Sequence
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
    first_clips,
)
from wanctl.bench.drawing import film_still, text_lookalike
from wanctl.bench.footage import CleanFootage, Shot
from wanctl.bench.metrics import macro_f1

TIERS = ("optimal", "medium", "static", "camera", "low_quality", "shaky")
SIZE, FRAMES, FPS = (640, 360), 60, 24.0
SCENE = (1280, 720)


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Every tier over several places and strengths."""
    stills = [partial(_place, footage, index) for index in range(2 if quick else 8)]
    cases = []
    for tier, draw, doses in (
        ("static", _static, (0.0, 0.02, 0.05)),
        ("camera", _moved, (0.3, 0.6, 1.2, 2.0)),
        ("shaky", _shaken, (1.0, 2.0, 4.0, 8.0)),
        ("optimal", _one_subject, (0.6, 1.0, 1.6)),
        ("medium", _some_subjects, (0.5, 0.8, 1.2)),
        ("low_quality", _crowd, (0.6, 1.0, 1.6)),
    ):
        for index, still in enumerate(stills):
            dose = doses[index % len(doses)]
            name = f"{tier}_{index}_{100 * dose:03.0f}"
            render = partial(_filmed, draw, still, dose, index)
            truth = {"tier": tier}
            cases.append(Case(name, tier, dose, None, render, truth, FPS, (20, 26)[index % 2]))
    return cases + _real(footage, quick)


def _real(footage: CleanFootage, quick: bool) -> list[Case]:
    """Real footage whose tier is certain: an animated character before a still camera."""
    if quick:
        return []
    cases = []
    for shot in footage.shots:
        if shot.path.stem == "bigbuckbunny":
            render = partial(shot.frames, 360)
            case = Case("optimal_real", "optimal", None, None, render, {"tier": "optimal"})
            cases.append(case)
    return cases


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """One decision per clip and tier: whether the clip has this tier."""
    pairs = first_clips(case_results)
    truth = [case.truth["tier"] for case, _ in pairs]
    predicted = [tier_of(clip.label) for _, clip in pairs]
    by_tier = macro_f1(truth, predicted)
    decisions = [
        Decision(case.name, case.variant, case.dose, True, tier == expected, note=f"called {tier}")
        for (case, _), expected, tier in zip(pairs, truth, predicted, strict=True)
    ]
    # a clip with another label is a false alarm of that label
    decisions += [
        Decision(case.name, tier, None, False, True, note=f"is {expected}")
        for (case, _), expected, tier in zip(pairs, truth, predicted, strict=True)
        if tier != expected
    ]
    metrics = [Metric("macro-F1 over six tiers", float(np.mean(list(by_tier.values()))), 0.9)]
    return Evaluation(
        decisions, metrics + [Metric(f"{tier}, F1", v) for tier, v in by_tier.items()]
    )


def tier_of(label: str | None) -> str:
    """The filter's label as one of TIERS; hyphens and spaces count as underscores."""
    word = (label or "none").replace("-", "_").replace(" ", "_")
    return "camera" if word.startswith("camera") else word


def _filmed(
    draw: Callable[[np.ndarray, float, int], np.ndarray],
    still: Callable[[], np.ndarray],
    dose: float,
    seed: int,
) -> np.ndarray:
    frames = draw(still(), dose, seed).astype(np.int16)
    noise = np.random.default_rng(seed).normal(0, 1.5, (8, SIZE[1], SIZE[0], 1))
    frames += np.rint(noise[np.arange(len(frames)) % 8]).astype(np.int16)
    return np.clip(frames, 0, 255).astype(np.uint8)


def _place(footage: CleanFootage, index: int) -> np.ndarray:
    """A detailed still larger than the film: frames of real footage and drawn surfaces in turn."""
    width, height = SCENE
    if index % 4 == 3:
        return text_lookalike(("foliage", "windows")[index // 4 % 2], height, width, seed=index)
    large = [shot for shot in footage.shots if shot.size[1] >= 240] or list(footage.shots)
    shot: Shot = large[(index - index // 4) % len(large)]
    frame = shot.frames(height, None)[0]
    shown = np.concatenate([frame, frame[:, ::-1]], axis=1) if frame.shape[1] < width else frame
    return np.ascontiguousarray(shown[:, :width])


def _path() -> np.ndarray:
    path = np.zeros((FRAMES, 4))
    path[:, :2], path[:, 2] = (SCENE[0] / 2, SCENE[1] / 2), 1.0
    return path


def _static(still: np.ndarray, dose: float, seed: int) -> np.ndarray:
    """A tripod; `dose` px of jitter, too little to be visible."""
    path = _path()
    path[:, :2] += np.random.default_rng(seed).normal(0, dose, (FRAMES, 2))
    return film_still(still, path, SIZE)


def _moved(still: np.ndarray, dose: float, seed: int) -> np.ndarray:
    """A smooth camera and nothing else: `dose` % of the width per frame, or as much zoom."""
    path, time = _path(), np.arange(FRAMES) - FRAMES / 2
    step = dose / 100 * SIZE[0] * time
    reach = min(1.0, (SCENE[0] - SIZE[0]) / 2 / max(abs(step).max(), 1))
    kind = seed % 4
    if kind == 0:
        path[:, 0] += step * reach
    elif kind == 1:
        path[:, 1] += step * min(1.0, (SCENE[1] - SIZE[1]) / 2 / max(abs(step).max(), 1))
    elif kind == 2:
        path[:, 2] = np.exp(dose / 100 * time * 0.8)
    else:
        path[:, 0] += 0.7 * step * reach
        path[:, 3] = 0.25 * dose * time
    return film_still(still, path, SIZE)


def _shaken(still: np.ndarray, dose: float, seed: int) -> np.ndarray:
    """A hand-held camera: jitter at 3 to 10 Hz with an amplitude of `dose` % of the width."""
    path = _path()
    for axis in range(2):
        path[:, axis] += jitter(seed + 17 * axis, 3 + seed % 8) * dose / 100 * SIZE[0] / 2
    path[:, 3] = jitter(seed + 51, 3 + seed % 8) * dose * 0.12
    return film_still(still, path, SIZE)


def jitter(seed: int, hertz: float) -> np.ndarray:
    """(FRAMES,) an AR(2) process that rings at `hertz`, scaled to a largest value of one."""
    turn, damping = 2 * np.pi * hertz / FPS, 0.92
    kicks = np.random.default_rng(seed).normal(0, 1, FRAMES + 40)
    wave = np.zeros(FRAMES + 40)
    for t in range(2, len(wave)):
        wave[t] = 2 * damping * np.cos(turn) * wave[t - 1] - damping**2 * wave[t - 2] + kicks[t]
    settled = wave[40:] - wave[40:].mean()
    return settled / np.abs(settled).max()


def _one_subject(still: np.ndarray, dose: float, seed: int) -> np.ndarray:
    """One large subject crosses and turns, smoothly; the camera is fixed or follows a little."""
    path, time = _path(), np.arange(FRAMES) / FPS
    path[:, 0] += (seed % 2) * 12 * time
    frames = film_still(still, path, SIZE)
    subject = _subject(seed, 0.55)
    x = SIZE[0] * (0.5 + 0.28 * np.sin(time * dose * 1.6 + seed))
    y = SIZE[1] * (0.56 + 0.10 * np.sin(time * dose * 2.1))
    for index, frame in enumerate(frames):
        turn = 14 * np.sin(time[index] * dose * 2.4)
        _paste(frame, subject, (x[index], y[index]), 1 + 0.12 * np.sin(time[index] * dose), turn)
    return frames


def _some_subjects(still: np.ndarray, dose: float, seed: int) -> np.ndarray:
    """Three or four smaller subjects, each on its own path, at times occluded."""
    path, time = _path(), np.arange(FRAMES) / FPS
    path[:, 0] += (seed % 2) * 8 * time
    frames = film_still(still, path, SIZE)
    rng = np.random.default_rng(100 + seed)
    for number in range(3 + seed % 2):
        subject = _subject(10 * seed + number, 0.24)
        home, phase = rng.uniform(0.2, 0.8, 2) * SIZE, rng.uniform(0, 6)
        for index, frame in enumerate(frames):
            swing = np.sin(time[index] * dose * 1.8 + phase)
            place = home + np.array([0.13 * SIZE[0] * swing, 0.05 * SIZE[1] * swing])
            _paste(frame, subject, tuple(place), 1.0, 8 * swing)
    return frames


def _crowd(still: np.ndarray, dose: float, seed: int) -> np.ndarray:
    """Eighty small figures in every direction, before and behind each other, over all of it."""
    frames = film_still(still, _path(), SIZE)
    rng = np.random.default_rng(200 + seed)
    metrics = [_subject(1000 * seed + n, float(rng.uniform(0.10, 0.2))) for n in range(8)]
    place = rng.uniform(0, 1, (90, 2)) * SIZE
    way = rng.uniform(0, 2 * np.pi, 90)
    speed = rng.uniform(0.4, 1.2, 90) * dose / 100 * SIZE[0]
    for frame in frames:
        way += rng.normal(0, 0.12, 90)
        place += np.stack([np.cos(way), np.sin(way)], axis=1) * speed[:, None]
        place = np.mod(place, np.array(SIZE, float))
        for number in range(90):
            _paste(frame, metrics[number % 8], tuple(place[number]), 1.0, 0.0)
    return frames


def _subject(seed: int, height: float) -> np.ndarray:
    """(H, W, 4) a textured figure with soft edges, `height` of the frame high."""
    rng = np.random.default_rng(seed)
    high = int(height * SIZE[1])
    wide = int(high * rng.uniform(0.6, 0.9))
    # one colour of cloth, folds and a fine pattern
    texture = np.full((high, wide, 3), rng.uniform(50, 200, 3), np.float32)
    for step, depth in ((14, 34), (4, 20)):
        light = rng.normal(0, depth, (max(3, high // step), max(3, wide // step)))
        texture += cv2.resize(light.astype(np.float32), (wide, high))[..., None]
    y, x = np.mgrid[-1 : 1 : high * 1j, -1 : 1 : wide * 1j]
    head = (x / 0.45) ** 2 + ((y + 0.68) / 0.32) ** 2
    body = (x / 0.92) ** 4 + ((y - 0.28) / 0.72) ** 4
    cover = np.clip((1 - np.minimum(head, body)) * 6, 0, 1)
    return np.dstack([np.clip(texture, 0, 255), cover.astype(np.float32)])


def _paste(
    frame: np.ndarray, figure: np.ndarray, place: tuple[float, ...], scale: float, turn: float
) -> None:
    """Lay a figure over a frame, in place, to a fraction of a pixel."""
    high, wide = figure.shape[:2]
    reach = int(np.ceil(np.hypot(high, wide) * scale / 2)) + 1
    x0, y0 = int(place[0]) - reach, int(place[1]) - reach
    matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), turn, scale)
    matrix[:, 2] += place[0] - x0 - wide / 2, place[1] - y0 - high / 2
    layer = cv2.warpAffine(figure, matrix, (2 * reach, 2 * reach))
    left, top = max(0, -x0), max(0, -y0)
    right, bottom = min(2 * reach, SIZE[0] - x0), min(2 * reach, SIZE[1] - y0)
    if left >= right or top >= bottom:
        return
    part = frame[y0 + top : y0 + bottom, x0 + left : x0 + right]
    cover = layer[top:bottom, left:right, 3:]
    part[:] = (part * (1 - cover) + layer[top:bottom, left:right, :3] * cover).astype(np.uint8)


FAMILY = Family(
    name="motion",
    filter="motion",
    summary="static, camera, shake of 1 to 8 % at 3 to 10 Hz, one subject, several, a crowd",
    dose="strength: % of the width per frame, or of swing",
    make_cases=make_cases,
    evaluate=evaluate,
    one_scale=False,
)
