"""Logos in a corner of several shots of one source; still objects of the scene in a corner."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from wanctl.bench.cases import Case, CaseResult, Decision, Evaluation, Family, Metric
from wanctl.bench.drawing import blend_mask, station_logo
from wanctl.bench.footage import CleanFootage, Shot
from wanctl.bench.metrics import box_iou
from wanctl.curate.columns import ClipBatch

ALPHAS = (0.15, 0.3, 0.5, 0.75, 1.0)
CORNERS = ("top left", "top right", "bottom left", "bottom right")
SIZES = (26, 36, 50)  # pixels high, of 360
SHOTS, FRAMES, FPS = 4, 32, 24.0
MIN_ALPHA = 0.5  # marks at least this opaque have to be detected
SPLIT = {"detector": "adaptive", "min_clip_s": 0, "trim_frames": 0}

Box = tuple[int, int, int, int]


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Marks of three shapes and sizes in every corner; sources of four shots, some of one."""
    cases = []
    for alpha in ALPHAS[1::2] if quick else ALPHAS:
        for index, corner in enumerate(CORNERS[::2] if quick else CORNERS):
            number = len(cases)
            mask = station_logo(SIZES[number % 3], number // 2)
            shots = _shots(footage, number, 1 if index == 3 else SHOTS)
            size = _size(shots[0])
            box = _box(mask, corner, size)
            cases.append(
                Case(
                    name=f"{corner.replace(' ', '-')}_{100 * alpha:03.0f}_{len(shots)}shots",
                    variant="one shot" if len(shots) == 1 else "four shots",
                    dose=alpha,
                    positive=True if alpha >= MIN_ALPHA else None,
                    render=partial(_with_logo, shots, mask, box, alpha, number),
                    truth={"box": box, "size": size},
                    fps=FPS,
                    crf=(20, 26)[number % 2],
                )
            )
    return cases + _negatives(footage, quick)


def _negatives(footage: CleanFootage, quick: bool) -> list[Case]:
    count = 2 if quick else 5
    cases = []
    for i in range(count):
        shots = _shots(footage, 3 * i, SHOTS)
        cases.append(Case(f"clean_{i}", "clean", None, False, partial(_joined, shots), fps=FPS))
        still = partial(_still_object, shots, i)
        cases.append(Case(f"object_{i}", "still object in one shot", None, False, still, fps=FPS))
        (shot,) = _shots(footage, 3 * i + 1, 1)
        tripod = partial(_tripod, shot, i)
        cases.append(Case(f"tripod_{i}", "tripod, one shot", None, False, tripod, fps=FPS))
    return cases


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """Every clip on its own: a mark counts as detected where the IoU is at least 0.5."""
    decisions: list[Decision] = []
    overlaps: list[float] = []
    for case_result in case_results:
        case = case_result.case
        for clip in case_result.clips:
            boxes: list[Box] = clip.evidence.get("boxes", [])
            best = max((box_iou(box, case.truth.get("box", box)) for box in boxes), default=0.0)
            fired = best >= 0.5 if case.dose is not None else clip.fired or bool(boxes)
            if case.positive:
                overlaps.append(best)
            note = f"boxes {boxes}, is {case.truth.get('box')}, IoU {best:.2f}"
            decisions.append(
                Decision(case.name, case.variant, case.dose, case.positive, fired, clip.score, note)
            )
    return Evaluation(
        decisions,
        [
            Metric("recall at alpha >= 0.5 and IoU >= 0.5", _share_above(overlaps, 0.5), 0.9),
            Metric("box IoU where alpha >= 0.5, mean", float(np.mean(overlaps))),
            Metric("box IoU where alpha >= 0.5, median", float(np.median(overlaps)), 0.5),
        ],
    )


def mark_boxes(measurer: Any, batch: ClipBatch) -> list[dict[str, list[Box]]]:
    """The boxes that each clip's verdict depends on."""
    return [{"boxes": [tuple(mark.box) for mark in marks]} for marks in measurer.marks(batch)]


def _share_above(values: Sequence[float], bound: float) -> float:
    return float(np.mean(np.array(values) >= bound)) if values else 0.0


def _shots(footage: CleanFootage, start: int, count: int) -> list[Shot]:
    # shots of one source have one size
    pool = [shot for shot in footage.shots if shot.size == _usual_size(footage)]
    return [pool[(start + index) % len(pool)] for index in range(count)]


def _usual_size(footage: CleanFootage) -> tuple[int, int]:
    """The frame size that most large shots have."""
    sizes = [shot.size for shot in footage.shots if shot.size[1] >= 240] or [
        shot.size for shot in footage.shots
    ]
    return max(sorted(set(sizes)), key=sizes.count)


def _size(shot: Shot) -> tuple[int, int]:
    return max(2, round(shot.size[0] * 360 / shot.size[1] / 2) * 2), 360


def _box(mask: np.ndarray, corner: str, size: tuple[int, int]) -> Box:
    height, width = mask.shape
    margin = 16
    x = margin if "left" in corner else size[0] - margin - width
    y = margin if "top" in corner else size[1] - margin - height
    return (x, y, width, height)


def _joined(shots: Sequence[Shot]) -> np.ndarray:
    """The shots one after another; a single one lasts as long as all of them."""
    if len(shots) == 1:
        frames = shots[0].frames(360)
        return frames[np.resize(np.arange(len(frames)), min(len(frames), SHOTS * FRAMES))]
    return np.concatenate([shot.frames(360, FRAMES) for shot in shots])


def _with_logo(
    shots: Sequence[Shot], mask: np.ndarray, box: Box, alpha: float, seed: int
) -> np.ndarray:
    frames = _joined(shots).copy()
    colour = ((255, 255, 255), (255, 255, 255), (230, 60, 40))[seed % 3]
    blend_mask(frames, mask, box[:2], colour, alpha)
    return frames


def _still_object(shots: Sequence[Shot], seed: int) -> np.ndarray:
    """One of the shots has a still object in a corner, such as a lamp or a sign of the scene."""
    frames = _joined(shots).copy()
    width = frames.shape[2]
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.uniform(0.2, 1, (5, 4)).astype(np.float32), (52, 64))
    first = len(shots[0].frames(360, FRAMES))
    second = first + len(shots[1].frames(360, FRAMES))
    blend_mask(frames[first:second], texture, (width - 80, 20), (210, 190, 150), 1.0)
    return frames


def _tripod(shot: Shot, seed: int) -> np.ndarray:
    """A shot with a still background, corners included, which something crosses."""
    frames = shot.frames(360, 96)
    still = np.repeat(frames[:1], 96, axis=0)
    noise = np.random.default_rng(seed).normal(0, 2, (8, *still.shape[1:3], 1))
    height, width = still.shape[1:3]
    for index, frame in enumerate(still):
        x = int(width * index / len(still))
        patch = frames[min(index, len(frames) - 1)][height // 3 : height - 60, :120]
        wide = min(120, width - x)
        frame[height // 3 : height - 60, x : x + wide] = patch[:, :wide]
    return np.clip(still + noise[np.arange(96) % 8], 0, 255).astype(np.uint8)


FAMILY = Family(
    name="watermark",
    filter="watermark",
    summary="logos in a corner, opaque to faint, in sources of four shots and of one",
    dose="alpha of the mark",
    make_cases=make_cases,
    evaluate=evaluate,
    split=SPLIT,
    extra_evidence=mark_boxes,
)
