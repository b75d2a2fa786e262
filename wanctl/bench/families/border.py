"""Bars around the frame: flat ones of any shade, blurred mirrors; dark scenes without bars."""

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
from wanctl.bench.metrics import box_iou

SHADES = {"black": 0, "grey": 110, "white": 235}
SHARES = (0.02, 0.04, 0.08, 0.12, 0.18, 0.25)  # of the side, each bar
LAYOUTS = ("letterbox", "pillarbox", "all sides")
CRFS = (18, 23, 28, 35)
FRAMES = 48


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Bars of every shade, width and layout after several compressions; and none at all."""
    shades = [*SHADES, "blurred mirror"]
    shares = SHARES[1::2] if quick else SHARES
    cases = []
    for index, (shade, share) in enumerate((shade, share) for shade in shades for share in shares):
        for layout in LAYOUTS[index % 3 : index % 3 + 1] if quick else LAYOUTS:
            number = len(cases)
            (shot,) = footage.largest(number + 1)[-1:]
            sides = _sides(layout, share, shot)
            name = f"{shade.replace(' ', '-')}_{layout.replace(' ', '-')}_{100 * share:02.0f}"
            cases.append(
                Case(
                    name=name,
                    variant=shade,
                    dose=100 * share,
                    positive=True,
                    render=partial(with_bars, shot, shade, sides),
                    truth={"box": _box(shot, sides)},
                    crf=CRFS[number % len(CRFS)],
                )
            )
    return cases + _negatives(footage, quick)


def _negatives(footage: CleanFootage, quick: bool) -> list[Case]:
    shots = footage.largest(2 if quick else 5)
    cases = [
        Case(f"clean_{i}", "clean", None, False, partial(_clean, shot))
        for i, shot in enumerate(shots)
    ]
    for kind, draw in (("night sky", _night), ("vignette", _vignette), ("curtain", _curtain)):
        for i, shot in enumerate(shots):
            name = f"{kind.replace(' ', '-')}_{i}"
            cases.append(Case(name, kind, None, False, partial(draw, shot), crf=CRFS[i % 4]))
    return cases


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """IoU of the crop with the true rectangle."""
    decisions: list[Decision] = []
    overlaps: list[float] = []
    for case, clip in first_clips(case_results):
        note = ""
        if case.positive:
            overlap = box_iou(clip.crop, case.truth["box"])
            overlaps.append(overlap)
            note = f"IoU {overlap:.3f}: left {tuple(clip.crop)}, is {tuple(case.truth['box'])}"
        decisions.append(clip_decision(case, clip, note=note))
    return Evaluation(
        decisions,
        [
            Metric("crop IoU, mean", float(np.mean(overlaps)), 0.98),
            Metric("crop IoU, median", float(np.median(overlaps))),
            Metric("crop IoU, lowest", min(overlaps)),
            Metric("share of crops with IoU >= 0.98", float(np.mean(np.array(overlaps) >= 0.98))),
        ],
    )


def with_bars(shot: Shot, shade: str, sides: tuple[int, int, int, int]) -> np.ndarray:
    """The shot shrunk into a frame with bars: left, top, right, bottom in pixels."""
    frames = shot.frames(360, FRAMES)
    left, top, right, bottom = sides
    count, height, width, _ = frames.shape
    size = (width - left - right, height - top - bottom)
    if shade == "blurred mirror":
        out = np.stack([_blurred_fill(frame, (width, height)) for frame in frames])
    else:
        out = np.full((count, height, width, 3), SHADES[shade], np.uint8)
    for index, frame in enumerate(frames):
        inner = _fill(frame, size)
        out[index, top : top + size[1], left : left + size[0]] = inner
    return out


def _sides(layout: str, share: float, shot: Shot) -> tuple[int, int, int, int]:
    width = max(2, round(shot.size[0] * 360 / shot.size[1] / 2) * 2)
    x, y = 2 * round(share * width / 2), 2 * round(share * 360 / 2)
    wide, high = layout in ("pillarbox", "all sides"), layout in ("letterbox", "all sides")
    return (x * wide, y * high, x * wide, y * high)


def _box(shot: Shot, sides: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    width = max(2, round(shot.size[0] * 360 / shot.size[1] / 2) * 2)
    left, top, right, bottom = sides
    return (left, top, width - left - right, 360 - top - bottom)


def _fill(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The centre of a frame at another size and aspect ratio, without distortion."""
    height, width = frame.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    wide, high = max(size[0], round(width * scale)), max(size[1], round(height * scale))
    grown = cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA)
    x, y = (wide - size[0]) // 2, (high - size[1]) // 2
    return grown[y : y + size[1], x : x + size[0]]


def _blurred_fill(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The frame larger, darker and out of focus, as players fill the sides of phone footage."""
    grown = _fill(frame, (size[0] * 3 // 2, size[1] * 3 // 2))
    x, y = size[0] // 4, size[1] // 4
    part = np.ascontiguousarray(grown[y : y + size[1], x : x + size[0]])
    return (cv2.GaussianBlur(part, (0, 0), 18) * 0.8).astype(np.uint8)


def _clean(shot: Shot) -> np.ndarray:
    return shot.frames(360, FRAMES)


def _night(shot: Shot) -> np.ndarray:
    """The upper half goes black but for a few stars and a soft skyline."""
    frames = shot.frames(360, FRAMES).astype(np.float32)
    _, height, width, _ = frames.shape
    rng = np.random.default_rng(4)
    ramp = np.clip((np.arange(height) - 0.4 * height) / (0.12 * height), 0, 1)[:, None]
    ramp = ramp + 0.02
    sky = np.zeros((height, width), np.float32)
    stars = rng.integers(0, (int(0.4 * height), width), (60, 2))
    sky[stars[:, 0], stars[:, 1]] = rng.uniform(60, 200, 60)
    sky = cv2.GaussianBlur(sky, (0, 0), 0.7) + 6
    lit = frames * np.minimum(ramp, 1)[None, :, :, None] * 0.7 + sky[None, :, :, None]
    noise = rng.normal(0, 2, frames.shape).astype(np.float32)
    return np.clip(lit + noise, 0, 255).astype(np.uint8)


def _vignette(shot: Shot) -> np.ndarray:
    """A strong vignette: corners and sides are nearly black, without any edge."""
    frames = shot.frames(360, FRAMES)
    _, height, width, _ = frames.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    fall = np.clip(1.25 - (x**2 + y**2) ** 1.5, 0.02, 1).astype(np.float32)
    return (frames * fall[None, :, :, None]).astype(np.uint8)


def _curtain(shot: Shot) -> np.ndarray:
    """A dark curtain in the scene: folds, sway and an edge that is not straight."""
    frames = shot.frames(360, FRAMES).copy()
    _, height, width, _ = frames.shape
    x, y = np.arange(width)[None, :], np.arange(height)[:, None]
    for index, frame in enumerate(frames):
        sway = 0.02 * width * np.sin(index / 9 + y / 70)
        edge = 0.16 * width + sway
        cloth = 10 + 9 * np.sin((x - 0.5 * sway) / 6.0)
        inside = x < edge
        frame[inside] = np.broadcast_to(cloth[..., None], frame.shape)[inside].astype(np.uint8)
    return frames


FAMILY = Family(
    name="border",
    filter="border",
    summary="bars of 2 to 25 % in black, grey, white and blurred mirror, after x264 crf 18 to 35",
    dose="width of each bar in % of the side",
    make_cases=make_cases,
    evaluate=evaluate,
)
