"""Copies of shots, changed as re-uploads are, among other takes of the same scenes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from wanctl.bench.cases import (
    Case,
    CaseResult,
    ClipResult,
    Decision,
    Evaluation,
    Family,
    first_clips,
)
from wanctl.bench.drawing import blend_mask, station_logo
from wanctl.bench.footage import CleanFootage, Shot
from wanctl.curate.columns import ClipBatch

Change = Callable[[np.ndarray], np.ndarray]
LINES = 240
BOUNDS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.13, 0.14, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4)
# The music video shows these shots twice, cut a little differently: copies within the footage.
_SHOWN_TWICE = {"test_3021": "test_0304", "test_5083": "test_4233"}


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """Each change of two originals; takes and pieces of one shot that are no copies."""
    kinds = list(CHANGES)[::4] if quick else list(CHANGES)
    num_originals = len(kinds) if quick else 2 * len(kinds)
    shots = _spread(footage, num_originals + (2 if quick else 6))
    originals, rest = shots[:num_originals], shots[num_originals:]
    cases = []
    for index, shot in enumerate(originals):
        kind = kinds[index % len(kinds)]
        dose, change, crf, rate = CHANGES[kind]
        pair, content = f"{index:02d}", _SHOWN_TWICE.get(shot.name, shot.name)
        whole = partial(shot.frames, LINES)
        truth = {"pair": pair, "content": content}
        cases.append(Case(f"{pair}_original", "original", None, None, whole, truth, shot.fps))
        name = f"{pair}_{kind.replace(' ', '-').replace('%', '')}"
        copy = partial(_changed, shot, change)
        truth = {"pair": pair, "content": content, "copy": True}
        cases.append(Case(name, kind, dose, None, copy, truth, shot.fps * rate, crf))
    for index, shot in enumerate(rest):
        for piece in (0, 1):
            name, render = f"piece_{index}_{piece}", partial(_piece, shot, piece)
            pair = f"piece {index} {piece}"
            truth = {"pair": pair, "content": pair}
            cases.append(Case(name, "piece", None, None, render, truth, shot.fps))
    return cases


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """Every pair of files: copies have to share a group, anything else must not.

    Pairs of files with footage that is shown twice count for nothing.
    """
    clips = first_clips(case_results)
    decisions: list[Decision] = []
    for index, (case, clip) in enumerate(clips):
        for other, other_clip in clips[index + 1 :]:
            if _shown_twice(case, other):
                continue
            copies = case.truth["pair"] == other.truth["pair"]
            together = clip.label is not None and clip.label == other_clip.label
            decisions.append(
                _pair_decision(case, other, copies=copies, together=together, clip=clip)
            )
    return Evaluation(decisions, curve=_curve(clips), ap_target=0.95)


def groups_at_bounds(measurer: Any, batch: ClipBatch) -> list[dict[str, dict[float, str | None]]]:
    """Each clip's group at every bound on how far apart the frames of copies may be."""
    labels: list[dict[float, str | None]] = [{} for _ in range(len(batch))]
    for bound in BOUNDS:
        verdicts = measurer.model_copy(update={"max_apart": bound}).decide_many(batch)
        for row, label in enumerate(labels):
            label[bound] = None if verdicts.label is None else verdicts.label[row]
    return [{"groups": label} for label in labels]


def _curve(clips: Sequence[tuple[Case, ClipResult]]) -> list[tuple[float, float, float]]:
    """Precision and recall over pairs while the bound is loosened."""
    if not all("groups" in clip.evidence for _, clip in clips):
        return []
    owner = np.array([case.truth["pair"] for case, _ in clips])
    copies = np.triu(owner[:, None] == owner[None], 1)
    shown_twice = np.array([[_shown_twice(one, two) for two, _ in clips] for one, _ in clips])
    curve: list[tuple[float, float, float]] = []
    for bound in BOUNDS:
        label = np.array(
            [clip.evidence["groups"][bound] or f"none {i}" for i, (_, clip) in enumerate(clips)]
        )
        grouped = np.triu(label[:, None] == label[None], 1) & ~shown_twice
        hits = int((grouped & copies).sum())
        recall = hits / copies.sum()
        if not curve or recall >= curve[-1][2]:
            curve.append(
                (-bound, float(hits / grouped.sum()) if grouped.any() else 1.0, float(recall))
            )
    return curve


def _shown_twice(case: Case, other: Case) -> bool:
    same = case.truth["content"] == other.truth["content"]
    return same and case.truth["pair"] != other.truth["pair"]


def _pair_decision(
    case: Case, other: Case, *, copies: bool, together: bool, clip: ClipResult
) -> Decision:
    changed = other if other.truth.get("copy") else case
    variant = changed.variant if copies else "not a copy"
    dose = changed.dose if copies else None
    note = f"{case.name} and {other.name}, group {clip.label}"
    return Decision(changed.name, variant, dose, copies, together, note=note)


def _spread(footage: CleanFootage, count: int) -> list[Shot]:
    """Every third shot, then the rest: neighbours in the footage resemble each other too much."""
    shots = [*footage.shots[::3], *footage.shots[1::3], *footage.shots[2::3]]
    return shots[:count]


def _changed(shot: Shot, change: Change) -> np.ndarray:
    return change(shot.frames(LINES))


def _piece(shot: Shot, piece: int) -> np.ndarray:
    """The first or the last two fifths: one take without a common frame."""
    frames = shot.frames(LINES)
    length = 2 * len(frames) // 5
    return frames[-length:] if piece else frames[:length]


def _same(frames: np.ndarray) -> np.ndarray:
    return frames


def _scaled(scale: float, frames: np.ndarray) -> np.ndarray:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (round(frames.shape[2] * scale / 2) * 2, round(frames.shape[1] * scale / 2) * 2)
    return np.stack([cv2.resize(frame, size, interpolation=how) for frame in frames])


def _cropped(share: float, frames: np.ndarray) -> np.ndarray:
    _, height, width, _ = frames.shape
    x, y = round(width * share / 2), round(height * share / 2)
    return frames[:, y : height - y, x : width - x]


def _mirrored(frames: np.ndarray) -> np.ndarray:
    return frames[:, :, ::-1]


def _barred(share: float, frames: np.ndarray) -> np.ndarray:
    bar = round(frames.shape[1] * share / 2)
    return np.pad(frames, ((0, 0), (bar, bar), (0, 0), (0, 0)))


def _middle(share: float, frames: np.ndarray) -> np.ndarray:
    cut = round(len(frames) * (1 - share) / 2)
    return frames[cut : len(frames) - cut]


def _resampled(rate: float, frames: np.ndarray) -> np.ndarray:
    """The same time at another frame rate, frames repeated or left out."""
    index = np.arange(int(len(frames) * rate)) / rate
    return frames[index.astype(int)]


def _badged(frames: np.ndarray) -> np.ndarray:
    marked = frames.copy()
    mask = station_logo(26, 1)
    blend_mask(marked, mask, (marked.shape[2] - mask.shape[1] - 10, 10), (255, 255, 255), 0.9)
    return marked


def _graded(frames: np.ndarray) -> np.ndarray:
    """Warmer, brighter, more contrast."""
    warm = frames.astype(np.float32) * (1.12, 1.04, 0.9)
    return np.clip((warm - 118) * 1.12 + 124, 0, 255).astype(np.uint8)


def _mirrored_small(frames: np.ndarray) -> np.ndarray:
    return _scaled(0.5, _mirrored(frames))


# kind -> (strength, change of the frames, crf, factor of the frame rate)
CHANGES: dict[str, tuple[float | None, Change, int, float]] = {
    "re-encode crf 30": (None, _same, 30, 1.0),
    "re-encode crf 38": (None, _same, 38, 1.0),
    "scale 0.5": (None, partial(_scaled, 0.5), 23, 1.0),
    "scale 1.5": (None, partial(_scaled, 1.5), 23, 1.0),
    "crop 5%": (None, partial(_cropped, 0.05), 23, 1.0),
    "crop 10%": (None, partial(_cropped, 0.10), 23, 1.0),
    "mirror": (None, _mirrored, 23, 1.0),
    "letterbox": (None, partial(_barred, 0.25), 23, 1.0),
    "10% faster": (None, _same, 23, 1.1),
    "10% slower": (None, _same, 23, 0.9),
    "middle 60%": (None, partial(_middle, 0.6), 23, 1.0),
    "frame rate x 1.2": (None, partial(_resampled, 1.2), 23, 1.2),
    "logo": (None, _badged, 23, 1.0),
    "colour grade": (None, _graded, 23, 1.0),
    "mirror and scale 0.5": (None, _mirrored_small, 26, 1.0),
}

FAMILY = Family(
    name="duplicates",
    filter="duplicates",
    summary="fifteen kinds of copies; other takes and other pieces of the same shots",
    dose="",
    make_cases=make_cases,
    evaluate=evaluate,
    extra_evidence=groups_at_bounds,
)
