"""Evaluations and previews, of which each process computes its share.

Figures of single items are exchanged and averaged, not means of the processes' shares, so that a
run has the same figures with any number of processes.

A process may have one item less than another, so each must hold all weights: networks that are
divided among processes are gathered before.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wanctl.atomic import make_folder
from wanctl.train.accelerator import Processes
from wanctl.train.objective import Objective
from wanctl.train.previews import shown_frames, write_preview_sheet, write_preview_video


def evaluate(objective: Objective[Any], processes: Processes) -> dict[str, float]:
    """Mean of each figure over the evaluation's items; the same in every process.

    Every process has to call it: it waits for the others' figures.
    """
    items = processes.share(objective.eval_items())
    own = [objective.measure(item, processes.device) for item in items]
    return means(processes.deal(own))


def means(measured: list[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each figure over the items that have it, of sums that are rounded once."""
    values: dict[str, list[float]] = defaultdict(list)
    for figures in measured:
        for name, value in figures.items():
            values[name].append(value)
    return {name: math.fsum(each) / len(each) for name, each in values.items()}


def write_previews(
    objective: Objective[Any], folder: Path, step: int, processes: Processes
) -> Path | None:
    """Write each preview as video, and one contact sheet of all.

    Every process writes the videos of its share into `folder`, and has to call it.

    Returns:
        The contact sheet, which the main process writes; None in the others, or without previews.
    """
    if not objective.preview_items():
        return None
    make_folder(folder)
    rows = []
    for number, item in processes.share(enumerate(objective.preview_items(), start=1)):
        preview = objective.preview(item, processes.device)
        write_preview_video(folder, step, number, preview)
        rows.append((shown_frames(preview.video), preview.caption))
    # the frames of the sheet alone are exchanged, not the videos
    rows = processes.deal(rows)
    if not processes.is_main:
        return None
    videos, captions = zip(*rows, strict=True)
    return write_preview_sheet(folder, step, videos, captions)
