"""Measures a clip and gives the checks of its captions, those included that look at its frames."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch

from wanctl.caption.backends import CaptionClip
from wanctl.caption.checks import check
from wanctl.caption.checks.facts import Finding, MeasuredFacts, measured_facts, with_counts
from wanctl.caption.frame_checks.detector import ObjectCounter
from wanctl.caption.frame_checks.similarity import CaptionSimilarity
from wanctl.caption.variants import MOTION
from wanctl.vlm.chat import Frames


class _Task(Protocol):
    """What is measured: a clip and the frames that the model is shown."""

    @property
    def clip(self) -> CaptionClip: ...

    @property
    def frames(self) -> Frames | None: ...


def build_measure(
    *, similarity: str | None, min_similarity: float, detector: str | None, device: str
) -> Callable[[_Task], tuple[MeasuredFacts, "ClipFrameChecks"]]:
    """Measures clips with the models of the recipe's `caption.checks`; nothing is loaded yet."""
    checks = FrameChecks(
        CaptionSimilarity(similarity, min_similarity=min_similarity, device=device)
        if similarity
        else None,
        ObjectCounter(detector, device=device) if detector else None,
    )
    return lambda task: checks.measure(task.clip, task.frames)


class FrameChecks:
    """Builds the facts and the checks of one clip after the other; not for several threads.

    Args:
        similarity: None: captions are not compared with frames.
        counter: None: objects are not counted.
    """

    def __init__(self, similarity: CaptionSimilarity | None, counter: ObjectCounter | None) -> None:
        self._similarity, self._counter = similarity, counter

    def measure(
        self, clip: CaptionClip, frames: Frames | None
    ) -> tuple[MeasuredFacts, "ClipFrameChecks"]:
        """The facts of a clip, with the numbers of objects, and its checks.

        Raises:
            CheckModelError: a model of the recipe's `caption.checks` cannot be loaded.
        """
        facts = measured_facts(clip.duration_s, clip.evidence)
        if self._counter is not None and frames is not None:
            facts = with_counts(facts, self._counter.counts(frames.images))
        return facts, ClipFrameChecks(self._similarity, frames)


class ClipFrameChecks:
    """The checks of `wanctl/caption/checks/check.py` and the similarity to one clip's frames."""

    def __init__(self, similarity: CaptionSimilarity | None, frames: Frames | None) -> None:
        self._similarity, self._frames = similarity, frames

    def check_structure(
        self, structure: Mapping[str, Any], facts: MeasuredFacts
    ) -> Sequence[Finding]:
        """Findings on a structure."""
        return check.check_structure(structure, facts)

    def check_caption(
        self, text: str, variant: str, structure: Mapping[str, Any] | None, facts: MeasuredFacts
    ) -> Sequence[Finding]:
        """Findings on a caption; one on the motion alone is not compared with frames."""
        findings = check.check_caption(text, variant, structure, facts)
        if self._similarity is None or self._vector is None or variant.startswith(MOTION):
            return findings
        return [*findings, *self._similarity.check(self._vector, text)]

    @cached_property
    def _vector(self) -> torch.Tensor | None:
        if self._similarity is None or self._frames is None:
            return None
        return self._similarity.embed_frames(self._frames.images)
