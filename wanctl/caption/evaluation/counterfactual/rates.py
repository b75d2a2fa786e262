"""Tests without labels: frames are changed, and a right answer has to change with them.

A captioner is asked about each clip as it is, as it is with noise that nobody sees (the control),
and about each change. No measured hints are given, and everything but the frames is the same, so
that an answer which follows the change was seen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wanctl.caption.evaluation.counterfactual import changes, verdicts
from wanctl.caption.evaluation.counterfactual.changes import Detail, detail_of
from wanctl.caption.evaluation.labelled.matching import Matcher
from wanctl.video.frames import FrameBatch

Structure = Mapping[str, Any]

UNCHANGED, CONTROL, SWAPPED = "unchanged", "control", "swapped"


@dataclass(frozen=True)
class Verdict:
    """What a verdict may look at.

    Attributes:
        before: the answer to the unchanged clip.
        after: the answer to the changed clip, or to the control.
        other: the answer to the clip that this one is swapped with; None where there is none.
        detail: what was put into the frames.
        matcher: compares values.
    """

    before: Structure
    after: Structure
    other: Structure | None
    detail: Detail
    matcher: Matcher


@dataclass(frozen=True)
class CounterfactualTest:
    """One test.

    Attributes:
        expects: what a right answer does, in words.
        change: of the frames; None where those of another clip are shown.
        holds: whether the answer did it; None where the clip shows nothing that could change.
    """

    expects: str
    change: Callable[[FrameBatch, Detail], FrameBatch] | None
    holds: Callable[[Verdict], bool | None]


def _swapped(v: Verdict) -> bool | None:
    if v.other is None:
        return None
    return verdicts.belongs_to_other(v.before, v.after, v.other, v.matcher)


TESTS: dict[str, CounterfactualTest] = {
    SWAPPED: CounterfactualTest("describes the other clip", None, _swapped),
    "mirrored": CounterfactualTest(
        "left and right swap", changes.mirrored, lambda v: verdicts.sides_swap(v.before, v.after)
    ),
    "reversed": CounterfactualTest(
        "motion and order turn round", changes.reversed_in_time,
        lambda v: verdicts.time_reverses(v.before, v.after, v.matcher),
    ),
    "recolored": CounterfactualTest(
        "colours change", changes.recolored,
        lambda v: verdicts.colors_turn(v.before, v.after, v.matcher),
    ),
    "copies": CounterfactualTest(
        "counts the pasted stars", changes.with_copies,
        lambda v: verdicts.count_follows(v.before, v.after, v.detail, v.matcher),
    ),
    "string": CounterfactualTest(
        "reads the rendered string", changes.with_string,
        lambda v: verdicts.string_is_read(v.after, v.detail),
    ),
    "frozen": CounterfactualTest(
        "camera motion vanishes", changes.frozen,
        lambda v: verdicts.motion_vanishes(v.before, v.after),
    ),
}  # fmt: skip

ARMS = (UNCHANGED, CONTROL, *TESTS)
"""What a captioner is asked about each clip, in this order."""


def change(arm: str, batch: FrameBatch, clip_id: str) -> FrameBatch:
    """The frames of one arm; of SWAPPED, those that are passed (of the other clip)."""
    if arm == CONTROL:
        return changes.again(batch, detail_of(clip_id))
    apply = TESTS[arm].change if arm in TESTS else None
    return apply(batch, detail_of(clip_id)) if apply else batch


@dataclass(frozen=True)
class Rate:
    """The result of one test.

    Attributes:
        clips: where something could change.
        moved: share of them whose answer changed the right way.
        without_cause: share of them whose answer to the control changed that way.
        error: half the width of the 95 % interval of their difference.
    """

    clips: int
    moved: float
    without_cause: float
    error: float

    @property
    def rate(self) -> float:
        """Share that changed because of the frames: 1 sees, 0 does not look."""
        return self.moved - self.without_cause

    def record(self) -> dict[str, Any]:
        """As JSON; the shares are null where nothing could change."""
        names = ("rate", "moved", "without_cause", "error")
        shares = {name: round(getattr(self, name), 4) if self.clips else None for name in names}
        return {"clips": self.clips, **shares}


def measure(
    answers: Mapping[str, Mapping[str, Structure | None]],
    partners: Mapping[str, str],
    matcher: Matcher,
) -> dict[str, Rate]:
    """The rate of each test.

    Args:
        answers: clip -> arm -> structure; None where the answer failed its checks. Clips without
            an answer to UNCHANGED count in no test; any other missing answer did not change.
        partners: clip -> the clip whose frames it got in SWAPPED.
        matcher: compares values.
    """
    rates = {}
    for name, test in TESTS.items():
        outcomes = []
        for clip, arms in answers.items():
            before = arms.get(UNCHANGED)
            if before is None:
                continue
            other = answers.get(partners.get(clip, ""), {}).get(UNCHANGED)
            held = [
                test.holds(Verdict(before, arms.get(arm) or {}, other, detail_of(clip), matcher))
                for arm in (name, CONTROL)
            ]
            if held[0] is not None:
                outcomes.append((bool(held[0]), bool(held[1])))
        rates[name] = _rate(outcomes)
    return rates


def _rate(outcomes: Sequence[tuple[bool, bool]]) -> Rate:
    count = len(outcomes)
    if not count:
        return Rate(0, 0.0, 0.0, 0.0)
    moved, control = (sum(each[index] for each in outcomes) / count for index in (0, 1))
    mean = moved - control
    spread = sum((int(a) - int(b) - mean) ** 2 for a, b in outcomes) / count
    return Rate(count, moved, control, 1.96 * math.sqrt(spread / count))
