"""CameraBench: how the camera moves, labelled by experts, against the tiers of motion.

Layout, as published: `test.jsonl` with {"path": "videos/NAME.mp4", "labels": [...], ...} on each
line, and the videos in `videos/`. Two of its label groups are read: how steady the camera is
(no-shaking, minimal-shaking, unsteady, very-unsteady) and how much it moves on purpose (no-motion,
minor-motion, simple-motion, complex-motion).
"""

import json
from pathlib import Path

from wanctl.bench.cases import Figure, Graded, Point
from wanctl.bench.families.tiers import tier_of
from wanctl.bench.judge import curated, labels_of
from wanctl.bench.result import Result, summarise_points
from wanctl.bench.scores import f1
from wanctl.errors import UserError
from wanctl.recipe.load import LoadedRecipe

SHAKY, STEADY = {"very-unsteady"}, {"no-shaking", "minimal-shaking"}
FIXED = {"no-motion"}


def run(folder: Path, out: Path, recipe: LoadedRecipe | None) -> Result:
    """Is `shaky` said of what is very unsteady, and never `camera` of what does not move?"""
    labelled = read(folder)
    keys = dict((recipe.recipe.curate.filters.get("motion") or {}) if recipe else {})
    section = {
        "split": {"detector": "none", "min_clip_s": 0, "trim_frames": 0},
        "filters": {"motion": keys},
    }
    dataset, _ = curated(section, folder / "videos", out)
    tiers = {stem: tier_of(label) for stem, label in labels_of(dataset, "motion").items()}
    points, fixed = [], []
    for stem in sorted(labelled.keys() & tiers.keys()):
        labels, tier = labelled[stem], tiers[stem]
        shaky = True if labels & SHAKY else False if labels & STEADY else None
        note = f"called {tier}; labelled {', '.join(sorted(labels))}"
        points.append(Point(stem, "shaky", None, shaky, tier == "shaky", note=note))
        if labels & FIXED and labels & STEADY:
            fixed.append(tier)
    true = sum(bool(p.truth) and p.fired for p in points)
    false = sum(p.truth is False and p.fired for p in points)
    missed = sum(bool(p.truth) and not p.fired for p in points)
    figures = [Figure("shaky, F1", f1(true, false, missed))]
    if fixed:
        wrong = sum(tier in ("camera", "shaky") for tier in fixed) / len(fixed)
        figures.append(Figure("fixed camera called camera or shaky", wrong))
    summary = f"{len(labelled)} videos with labels of experts"
    return summarise_points(folder.name, "motion", summary, Graded(points, figures))


def read(folder: Path) -> dict[str, set[str]]:
    """File stem -> labels, of the videos that are there.

    Raises:
        UserError: no test.jsonl, a line that is not as published, or no video.
    """
    table = folder / "test.jsonl"
    if not table.is_file():
        raise UserError(f"{folder}: expected test.jsonl and videos/, as CameraBench publishes them")
    labelled = {}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
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
