"""CameraBench: how the camera moves, labelled by experts, against the tiers of motion.

Layout, as published: `test.jsonl` with {"path": "videos/NAME.mp4", "labels": [...], ...} on each
line, and the videos in `videos/`. Two of its label groups are read: how steady the camera is
(no-shaking, minimal-shaking, unsteady, very-unsteady) and how much it moves on purpose (no-motion,
minor-motion, simple-motion, complex-motion).
"""

import json
from pathlib import Path

from wanctl.bench.cases import Decision, Evaluation, Metric
from wanctl.bench.curation import labels_by_stem
from wanctl.bench.families.motion import tier_of
from wanctl.bench.metrics import f1
from wanctl.bench.result import Result, summarise_labelled_set
from wanctl.bench.settings import BenchSettings
from wanctl.errors import UserError
from wanctl.textfiles import read_text, split_lines

SHAKY, STEADY = {"very-unsteady"}, {"no-shaking", "minimal-shaking"}
FIXED = {"no-motion"}


def run(folder: Path, out: Path, settings: BenchSettings) -> list[Result]:
    """Measure whether very unsteady videos are `shaky`, and fixed cameras are not `camera`."""
    labelled = read(folder)
    section = {
        "split": {"detector": "none", "min_clip_s": 0, "trim_frames": 0},
        "filters": {"motion": settings.keys_of("motion")},
    }
    dataset = settings.curate(section, folder / "videos", out).dataset
    tiers = {stem: tier_of(label) for stem, label in labels_by_stem(dataset, "motion").items()}
    decisions, fixed = [], []
    for stem in sorted(labelled.keys() & tiers.keys()):
        labels, tier = labelled[stem], tiers[stem]
        shaky = True if labels & SHAKY else False if labels & STEADY else None
        note = f"called {tier}; labelled {', '.join(sorted(labels))}"
        decisions.append(Decision(stem, "shaky", None, shaky, tier == "shaky", note=note))
        if labels & FIXED and labels & STEADY:
            fixed.append(tier)
    true = sum(bool(p.truth) and p.fired for p in decisions)
    false = sum(p.truth is False and p.fired for p in decisions)
    missed = sum(bool(p.truth) and not p.fired for p in decisions)
    metrics = [Metric("shaky, F1", f1(true, false, missed))]
    if fixed:
        wrong = sum(tier in ("camera", "shaky") for tier in fixed) / len(fixed)
        metrics.append(Metric("fixed camera called camera or shaky", wrong))
    summary = f"{len(labelled)} videos with labels of experts"
    result = summarise_labelled_set(folder.name, "motion", summary, Evaluation(decisions, metrics))
    return [result]


def read(folder: Path) -> dict[str, set[str]]:
    """File stem -> labels, of the videos that are there.

    Raises:
        UserError: no test.jsonl, a line that is not as published, or no video.
    """
    table = folder / "test.jsonl"
    if not table.is_file():
        raise UserError(f"{folder}: expected test.jsonl and videos/, as CameraBench publishes them")
    labelled = {}
    for number, line in enumerate(split_lines(read_text(table)), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            path, labels = folder / row["path"], set(row["labels"])
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{table}:{number}: expected path and labels: {error}") from None
        if path.is_file():
            labelled[path.stem] = labels
    if not labelled:
        raise UserError(f"{table}: none of its videos is there; they belong in {folder / 'videos'}")
    return labelled
