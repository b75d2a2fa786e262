"""BBC Planet Earth and SHOT: shot boundaries that people marked.

Layouts, as published:

    BBC/videos/bbc_01.mp4 ... bbc_11.mp4    BBC/fixed/01-scenes.txt ... 11-scenes.txt
    SHOT/videos/ID.mp4                      SHOT/annotations/ID.txt

An annotation has a line per shot, first and last frame, counted from 0 and separated by a tab or
spaces. Frames between two shots belong to a gradual transition. The original BBC archive, with
`annotations/shots/NAME.txt` and the same lines, is read too.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from wanctl.bench.boundaries import detect_boundaries, scan_files, sweep_thresholds
from wanctl.bench.cases import Decision, Evaluation, Metric
from wanctl.bench.metrics import Interval, f1, match_intervals, step_area
from wanctl.bench.result import Result, summarise_labelled_set
from wanctl.bench.settings import BenchSettings
from wanctl.errors import UserError
from wanctl.textfiles import read_text, split_lines

FOLDERS = ("fixed", "annotations", "annotations/shots")
VIDEOS = (".mp4", ".mkv", ".avi", ".webm", ".mov")
TOLERANCES = (0, 1, 2)
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def run(folder: Path, out: Path, settings: BenchSettings) -> list[Result]:
    """Precision and recall at a tolerance of one frame; F1 at others; the curve over thresholds."""
    del out
    pairs = find(folder)
    decisions: list[Decision] = []
    counts = {tolerance: [0, 0, 0] for tolerance in TOLERANCES}
    swept: dict[float, list[int]] = {}
    files = scan_files([video for video, _ in pairs], settings.detection)
    for (video, truth), file in zip(pairs, files, strict=True):
        if file is None:
            continue
        detected = detect_boundaries(file, settings.detection)
        decisions += _decisions(video.stem, truth, detected)
        for tolerance, sums in counts.items():
            _add(sums, truth, detected, tolerance)
        for threshold, at in sweep_thresholds(file, settings.detection, THRESHOLDS):
            _add(swept.setdefault(threshold, [0, 0, 0]), truth, at, 1)
    metrics = [Metric(f"F1, {t} frames off at most", f1(*sums)) for t, sums in counts.items()]
    curve = _curve(swept)
    ap = step_area([(precision, recall) for _, precision, recall in curve])
    evaluation = Evaluation(decisions, [*metrics, Metric("AP over thresholds", ap)], curve=curve)
    summary = f"{len(pairs)} labelled videos"
    return [summarise_labelled_set(folder.name, "shots", summary, evaluation)]


def find(folder: Path) -> list[tuple[Path, list[Interval]]]:
    """Videos with their boundaries, in order of name; those of only one kind are left out.

    Raises:
        UserError: the folder has none of the layouts that the module describes.
    """
    texts = {_key(path): path for each in FOLDERS for path in sorted((folder / each).glob("*.txt"))}
    videos = {
        _key(path): path
        for path in sorted((folder / "videos").glob("*"))
        if path.suffix.lower() in VIDEOS
    }
    both = sorted(texts.keys() & videos.keys())
    if not both:
        raise UserError(
            f"{folder}: expected videos/*.mp4 and fixed/*-scenes.txt (BBC) or annotations/*.txt "
            f"(SHOT) with the same names; detected {len(videos)} videos, {len(texts)} annotations"
        )
    return [(videos[key], read(texts[key])) for key in both]


def read(path: Path) -> list[Interval]:
    """Boundaries of one annotation: the last frame before a hard cut, or the frames between."""
    shots = []
    for number, line in enumerate(split_lines(read_text(path)), 1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) < 2 or not all(field.isdecimal() for field in fields[:2]):
            raise UserError(f"{path}:{number}: got {line!r}; each line is FIRST and LAST frame")
        shots.append((int(fields[0]), int(fields[1])))
    return [
        (end, end) if start <= end + 1 else (end + 1, start - 1)
        for (_, end), (start, _) in pairwise(shots)
    ]


def _key(path: Path) -> str:
    """What video and annotation have in common: bbc_01 and 01-scenes are both 01."""
    return re.sub(r"^bbc_|-scenes$", "", path.stem)


def _decisions(
    video: str, truth: Sequence[Interval], detected: Sequence[Interval]
) -> list[Decision]:
    pairs = match_intervals(truth, detected, 1)
    hit, used = {at for at, _ in pairs}, {index for _, index in pairs}
    decisions = [
        Decision(
            video, _kind(t), float(t[1] - t[0] + 1), True, i in hit, note=f"frames {t[0]}-{t[1]}"
        )
        for i, t in enumerate(truth)
    ]
    return decisions + [
        Decision(video, "none", None, False, True, note=f"detected at frames {a}-{b}")
        for i, (a, b) in enumerate(detected)
        if i not in used
    ]


def _kind(boundary: Interval) -> str:
    return "hard cut" if boundary[0] == boundary[1] else "gradual"


def _add(
    sums: list[int], truth: Sequence[Interval], detected: Sequence[Interval], tolerance: int
) -> None:
    true = len(match_intervals(truth, detected, tolerance))
    for index, value in enumerate((true, len(detected) - true, len(truth) - true)):
        sums[index] += value


def _curve(swept: dict[float, list[int]]) -> list[tuple[float, float, float]]:
    curve: list[tuple[float, float, float]] = []
    for threshold, (t, f, m) in sorted(swept.items(), reverse=True):
        recall = t / (t + m) if t + m else 1.0
        if not curve or recall >= curve[-1][2]:
            curve.append((threshold, t / (t + f) if t + f else 1.0, recall))
    return curve
