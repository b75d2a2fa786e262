"""What counts as a detection of each label, and the targets on footage that nobody tuned on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wanctl.bench.labelled.clips.decided import DecidedClip
from wanctl.bench.labelled.clips.labels import ClipLabels
from wanctl.bench.metrics import Interval

# Frames by which a cut may be off; clips are trimmed by two on either side.
CUT_TOLERANCE = 3
# A gap between two clips of a file of more frames than this is a transition.
MIN_GAP = 0.6


@dataclass(frozen=True)
class Measure:
    """One row of the table: a yes or no per file.

    Attributes:
        name: of the row.
        filter: whose verdict counts.
        truth: the label; None where the file has none of this kind.
        fired: whether one clip's verdict says so; a file is found where any of its clips is.
        precision: target; None for none.
        recall: target; None for none.
        only_false: there are no positives: only false alarms are counted.
    """

    name: str
    filter: str
    truth: Callable[[ClipLabels], bool | None]
    fired: Callable[[DecidedClip], bool]
    precision: float | None = None
    recall: float | None = None
    only_false: bool = False


def _is(value: str | None, wanted: str) -> bool | None:
    return None if value is None else value == wanted


def _has_score(clip: DecidedClip) -> bool:
    return (clip.verdict.score or 0.0) > 0


# Overlaid text above this share, in %, is acted on even where a recipe allows more.
HEAVY_TEXT = 2.3


def _acted_on_text(clip: DecidedClip) -> bool:
    verdict = clip.verdict
    acts = verdict.crop is not None or verdict.span is not None
    return not verdict.keep or acts or (verdict.score or 0.0) > HEAVY_TEXT


MEASURES: tuple[Measure, ...] = (
    Measure("logo", "watermark", lambda t: t.logo, _has_score, 0.95, 0.90),
    Measure("border", "border", lambda t: t.border, _has_score, 0.95, 0.95),
    Measure(
        "heavy text", "ocr", lambda t: _is(t.overlay_text, "heavy"), _acted_on_text, 0.95, 0.89
    ),
    Measure(
        "under-exposed", "exposure", lambda t: _is(t.exposure, "under"),
        lambda c: c.verdict.label == "under", 0.80, 0.80,
    ),
    Measure("blurred", "blur", lambda t: t.blurred, lambda c: not c.verdict.keep),
    Measure(
        "shaky", "motion", lambda t: _is(t.motion, "shaky"),
        lambda c: c.verdict.label == "shaky", 0.90, 0.90,
    ),
    Measure(
        "nsfw", "nsfw", lambda _: False, lambda c: not c.verdict.keep, only_false=True,
    ),
    Measure(
        "combing", "container", lambda _: False,
        lambda c: "combing" in c.verdict.reason, only_false=True,
    ),
)  # fmt: skip

MOTION_FILTER, QUALITY_FILTER = "motion", "quality"
MOTION_TARGET, QUALITY_TARGET, CROP_TARGET, THROUGHPUT_TARGET = 0.85, 0.60, 0.02, 2.0
SHOTS_PRECISION, SHOTS_RECALL = 0.97, 0.95
_MERGED = {"optimal": "moving", "medium": "moving", "low_quality": "low"}


def merged_tier(tier: str | None) -> str | None:
    """A tier of motion with the two usable ones as one."""
    return None if tier is None else _MERGED.get(tier, tier)


def longest(clips: Sequence[DecidedClip]) -> DecidedClip:
    """The clip of a file that lasts longest, which stands for the file."""
    return max(clips, key=lambda clip: clip.row["end_s"] - clip.row["start_s"])


def gaps(clips: Sequence[DecidedClip]) -> list[Interval]:
    """Frames between consecutive clips of a file: what was taken for transitions."""
    spans = sorted(
        (clip.row["start_s"] * clip.row["fps"], clip.row["end_s"] * clip.row["fps"])
        for clip in clips
    )
    return [
        (round(before[1]), round(after[0]))
        for before, after in pairwise(spans)
        if after[0] - before[1] > MIN_GAP
    ]


def match_gaps(
    truth: Sequence[Interval], found: Sequence[Interval]
) -> tuple[list[Interval], list[Interval]]:
    """(transitions missed, gaps that are no transition)."""
    used: set[int] = set()
    missed = []
    for first, last in truth:
        hits = [
            index
            for index, (start, end) in enumerate(found)
            if start - CUT_TOLERANCE <= last and end + CUT_TOLERANCE >= first
        ]
        used.update(hits)
        if not hits:
            missed.append((first, last))
    return missed, [gap for index, gap in enumerate(found) if index not in used]


def crop_into_picture(clip: DecidedClip, labels: ClipLabels) -> float:
    """Share of the active area that the clip's crop cuts off, 0 to 1."""
    crop = clip.verdict.crop
    if crop is None:
        return 0.0
    active = labels.crop or (0, 0, clip.row["width"], clip.row["height"])
    left, top, width, height = active
    wide = min(left + width, crop.x + crop.width) - max(left, crop.x)
    high = min(top + height, crop.y + crop.height) - max(top, crop.y)
    return 1 - max(0, wide) * max(0, high) / max(1, width * height)
