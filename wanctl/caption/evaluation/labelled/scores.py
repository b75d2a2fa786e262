"""F1 of each dimension of one captioner against a labelled file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wanctl.caption.evaluation.labelled.labels import LabelledClip
from wanctl.caption.evaluation.labelled.matching import Counts, Matcher
from wanctl.caption.structured.schema import DIMENSIONS
from wanctl.log import Bar


@dataclass(frozen=True)
class Scores:
    """How well one captioner describes the labelled clips.

    Attributes:
        captioner: table, or name with key.
        source: `structures`, or `captions` where label words were looked for in free text.
        clips: labelled clips that it described.
        absent: labelled clips that it did not; they count as not named.
        counts: dimension -> counts, of the labelled dimensions.
    """

    captioner: str
    source: str
    clips: int
    absent: int
    counts: Mapping[str, Counts]

    @property
    def mean_f1(self) -> float:
        """Mean over the labelled dimensions, as CAPability has it."""
        return sum(each.f1 for each in self.counts.values()) / len(self.counts)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "captioner": self.captioner,
            "source": self.source,
            "clips": self.clips,
            "absent": self.absent,
            "mean_f1": round(self.mean_f1, 4),
            "dimensions": {
                name: {
                    "f1": round(each.f1, 4), "precision": round(each.precision, 4),
                    "recall": round(each.recall, 4), "hit": round(each.hit_rate, 4),
                    "expected": each.expected, "right": each.right, "answered": each.answered,
                }
                for name, each in self.counts.items()
            },
        }  # fmt: skip


def score(
    captioner: str,
    source: str,
    pairs: Iterable[tuple[LabelledClip, Mapping[str, Any] | None]],
    matcher: Matcher,
    bar: Bar | None = None,
) -> Scores:
    """Scores over (label, structure) of every labelled clip; None where it has no structure.

    Args:
        captioner: its name.
        source: `structures` or `captions`.
        pairs: a label and what the captioner says.
        matcher: compares values.
        bar: advanced once for each pair.
    """
    totals: dict[str, Counts] = {}
    described = absent = 0
    for label, structure in pairs:
        described += structure is not None
        absent += structure is None
        if bar is not None:
            bar.advance()
        for dimension, counts in matcher.count(label, structure).items():
            totals[dimension] = totals.get(dimension, Counts()) + counts
    ordered = {name: totals[name] for name in DIMENSIONS if name in totals}
    return Scores(captioner, source, described, absent, ordered)
