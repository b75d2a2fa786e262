"""Overlaid text whose exact area is known; textures that resemble text."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

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
from wanctl.bench.drawing import (
    TEXT_LOOKALIKES,
    TextLine,
    blend_mask,
    pan_still,
    text_line,
    text_lookalike,
    typefaces,
)
from wanctl.bench.footage import CleanFootage, Shot

WORDS = (
    "A QUIET MORNING", "Subscribe for more", "Breaking news tonight", "Chapter 12: The river",
    "www.example.com", "Recorded in 2024", "We never went back there", "SALE ends on Friday",
)  # fmt: skip
CHINESE = ("今天的天气很好", "欢迎来到我的频道", "第一章 山与水", "他们再也没有回来")
HEIGHTS = (0.035, 0.05, 0.07, 0.10, 0.14)  # of the frame, per line
FRAMES, FPS = 72, 24.0
MIN_SHARE = 0.01  # overlays above this have to be measured well
HEAVY, LIGHT = 0.06, 0.012  # shares of the frame that should be dropped or cropped, and kept


class Block(NamedTuple):
    """Lines on a frame, and the share of it that their boxes cover."""

    lines: tuple[TextLine, ...]
    corners: tuple[tuple[int, int], ...]
    share: float


def make_cases(footage: CleanFootage, quick: bool) -> list[Case]:
    """One to four lines in every face and size, where titles, credits and subtitles sit."""
    cases = []
    heights = HEIGHTS[1::2] if quick else HEIGHTS
    layouts = ("subtitle", "title", "credits", "corner")
    for face_index, face in enumerate(typefaces()[:2] if quick else typefaces()):
        for height_index, height in enumerate(heights):
            for turn in range(1 if quick else 2):
                number = len(cases)
                layout = layouts[(face_index + height_index + 2 * turn) % 4]
                shot = footage.largest(number + 1)[-1]
                width = _width(shot)
                block = _block(face, height, layout, number, width)
                cases.append(
                    Case(
                        name=f"{face}_{layout}_{1000 * height:03.0f}_{turn}",
                        variant=layout,
                        dose=round(100 * block.share, 3),
                        positive=_positive(block.share),
                        render=partial(_with_text, shot, block, number),
                        truth={"share": block.share},
                        fps=FPS,
                        crf=(18, 23, 28)[number % 3],
                    )
                )
    return cases + _negatives(footage, quick)


def _positive(share: float) -> bool | None:
    if share >= HEAVY:
        return True
    return False if share < LIGHT else None


def _negatives(footage: CleanFootage, quick: bool) -> list[Case]:
    cases = [
        Case(f"clean_{i}", "clean", None, False, partial(_looped, shot), fps=FPS)
        for i, shot in enumerate(footage.largest(1 if quick else 4))
    ]
    for kind in TEXT_LOOKALIKES[: 2 if quick else None]:
        for moving in (False, True):
            name = f"{kind}_{'panned' if moving else 'still'}"
            render = partial(_textured, kind, moving)
            cases.append(Case(name, kind, None, False, render, fps=FPS))
    return cases


def evaluate(case_results: Sequence[CaseResult]) -> Evaluation:
    """Decisions on heavy overlays and look-alikes; the measured share against the true one."""
    decisions: list[Decision] = []
    errors: list[float] = []
    for case, clip in first_clips(case_results):
        note, share = "", case.truth.get("share", 0.0)
        if share:
            note = f"measured {clip.score or 0:.2f} %, is {100 * share:.2f} %"
        if share > MIN_SHARE:
            errors.append(abs((clip.score or 0.0) / 100 - share) / share)
        decisions.append(clip_decision(case, clip, note=note))
    close = np.array(errors) <= 0.15
    return Evaluation(
        decisions,
        [
            Metric("coverage error, median", float(np.median(errors)), 0.15, lower_is_better=True),
            Metric("coverage error, 90th percentile", float(np.percentile(errors, 90))),
            Metric("share of overlays measured within 15 %", float(close.mean())),
        ],
        ap_target=None,
        precision_target=0.95,
    )


def _width(shot: Shot) -> int:
    return max(2, round(shot.size[0] * 360 / shot.size[1] / 2) * 2)


def _block(face: str, height: float, layout: str, seed: int, width: int) -> Block:
    rng = np.random.default_rng(seed)
    words = CHINESE if face == "chinese" else WORDS
    count = {"subtitle": 1 + seed % 2, "title": 1, "credits": 4, "corner": 1}[layout]
    pixels = max(8, round(360 * height))
    chosen = [words[int(i)] for i in rng.permutation(len(words))[:count]]
    lines = [_fitting(text, pixels, face, width) for text in chosen]
    step = round(1.6 * pixels)
    total = step * (count - 1) + pixels
    top = {"subtitle": 330 - total, "title": 150, "credits": (360 - total) // 2, "corner": 18}
    corners = []
    for row, line in enumerate(lines):
        wide = line.mask.shape[1]
        x = 18 if layout == "corner" else (width - wide) // 2
        corners.append((x, max(4, top[layout]) + row * step))
    mask = np.zeros((360, width), bool)
    for line, (x, y) in zip(lines, corners, strict=True):
        mask[y : y + line.mask.shape[0], x : x + line.mask.shape[1]] = True
    return Block(tuple(lines), tuple(corners), float(mask.mean()))


def _fitting(words: str, pixels: int, face: str, width: int) -> TextLine:
    line = text_line(words, pixels, face)
    while line.mask.shape[1] > width - 24:
        words = words[: len(words) * 3 // 4].rstrip()
        line = text_line(words, pixels, face)
    return line


def _with_text(shot: Shot, block: Block, seed: int) -> np.ndarray:
    frames = _looped(shot).copy()
    colour = ((255, 255, 255), (250, 220, 60), (20, 20, 20))[seed % 3]
    if seed % 3 == 2 and frames[::9].mean() < 128:  # black on dark would be illegible
        colour = (255, 255, 255)
    for line, (x, y) in zip(block.lines, block.corners, strict=True):
        if max(colour) > 128:  # light words carry a shadow, as players draw them
            blend_mask(frames, line.mask, (x + 1, y + 1), (0, 0, 0), 0.8)
        blend_mask(frames, line.mask, (x, y), colour, 1.0)
    return frames


def _looped(shot: Shot) -> np.ndarray:
    """Three seconds of a shot, there and back where it is shorter."""
    frames = shot.frames(360)
    there_and_back = np.concatenate([np.arange(len(frames)), np.arange(len(frames) - 2, 0, -1)])
    return frames[np.resize(there_and_back, FRAMES)]


def _textured(kind: str, moving: bool) -> np.ndarray:
    still = text_lookalike(kind, 400, 1000, seed=len(kind))
    rng = np.random.default_rng(1)
    frames = pan_still(still, (640, 360), FRAMES, 4.0 if moving else 0.0)
    # sensor noise, because identical frames would be a still image
    noise = rng.normal(0, 2, (8, 360, 640, 1))
    noisy = frames + noise[np.arange(FRAMES) % 8]
    return np.clip(noisy, 0, 255).astype(np.uint8)


FAMILY = Family(
    name="ocr",
    filter="ocr",
    summary="burned-in lines of five faces in Latin and Chinese, 3.5 to 14 % of the frame high",
    dose="true share of the frame in %",
    make_cases=make_cases,
    evaluate=evaluate,
)
