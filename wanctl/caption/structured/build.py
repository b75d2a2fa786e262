"""Builds the work on clips from the settings of the recipe, and names the tables it fills."""

from collections.abc import Callable
from dataclasses import dataclass

from wanctl.caption.backends import VLM
from wanctl.caption.checks import check
from wanctl.caption.checks.facts import MeasuredFacts, measured_facts
from wanctl.caption.structured.clip_steps import ClipChecks, ClipSteps, ClipTask
from wanctl.caption.structured.slow_fast import chat_frames, frame_spec
from wanctl.caption.structured.steps import StructuredSteps
from wanctl.caption.structured.versions import caption_version, structure_version, table_key
from wanctl.caption.variants import MOTION, parse_variant, variant_names
from wanctl.video.frame_sampling import num_frames_at
from wanctl.video.frames import FrameBatch, FrameSpec
from wanctl.vlm.chat import Frames

Measure = Callable[[ClipTask], tuple[MeasuredFacts, ClipChecks]]
"""Measures a clip, and returns what its answers are held against."""


@dataclass(frozen=True)
class StructuredOptions:
    """Keys of the recipe's `caption` section, and `max_pixels` of its `model`.

    Attributes:
        lengths: of captions: `long`, `medium`, `short`.
        styles: `formal`, `informal`, `poetic`.
        languages: `en`, `zh`.
        motion: also write captions on the motion alone.
        retries: how often a rejected answer is asked for again.
        fps: frames a second that the model sees.
        max_frames: of a clip at most.
        max_pixels: of a frame at most.
        slow_fast: show every fourth frame in full, the others at a quarter of the pixels.
    """

    lengths: tuple[str, ...]
    styles: tuple[str, ...]
    languages: tuple[str, ...]
    motion: bool
    retries: int
    fps: float
    max_frames: int
    max_pixels: int
    slow_fast: bool


def measure_evidence(task: ClipTask) -> tuple[MeasuredFacts, ClipChecks]:
    """The facts in the evidence of filters, and the checks that need no model."""
    return measured_facts(task.clip.duration_s, task.clip.evidence), check


class StructuredFactory:
    """Implements `StepsFactory`.

    Args:
        options: from the recipe.
        model: name of the model that sees the frames (`ChatModel.name`).
        text_model: name of the model that writes the captions.
        measure: of a clip; `measure_evidence` where neither a detector nor CLIP is configured.
        captions_need_frames: whether the checks of `measure` look at frames.

    Attributes:
        structure_key: hash of the model, what it is shown and what it is asked.
        key: hash of `structure_key`, the model that writes the captions and what it is asked.
    """

    evidence = ("exposure", "blur", "ocr", "motion", "category", "shot_size")

    def __init__(
        self,
        options: StructuredOptions,
        *,
        model: str,
        text_model: str,
        measure: Measure,
        captions_need_frames: bool,
    ) -> None:
        self._options, self._measure = options, measure
        self.captions_need_frames = captions_need_frames
        self._variants = variant_names(
            options.lengths, options.styles, options.languages, options.motion
        )
        self.structure_key = table_key(
            {
                "model": model,
                "prompt": structure_version(),
                "fps": float(options.fps),
                "max_frames": options.max_frames,
                "max_pixels": options.max_pixels,
                "slow_fast": options.slow_fast,
            }
        )
        self.key = table_key(
            {"structure": self.structure_key, "model": text_model, "prompt": caption_version()}
        )

    @property
    def structures_table(self) -> str:
        """The table of the structures."""
        return f"structures/{VLM}@{self.structure_key}"

    @property
    def captions_table(self) -> str:
        """The table of the captions."""
        return f"captions/{VLM}@{self.key}"

    @property
    def flags_table(self) -> str:
        """The table of captions and structures that failed their checks."""
        return f"caption_flags/{VLM}@{self.key}"

    def variants(self, duration_s: float) -> tuple[str, ...]:
        """Names of the captions that a clip of this duration shall have.

        A still image, or a clip so short that one frame of it is sampled, has none on motion.
        """
        if not self._is_still(duration_s):
            return self._variants
        return tuple(name for name in self._variants if parse_variant(name).length != MOTION)

    def frame_spec(self, width: int, height: int) -> FrameSpec:
        """The frames to decode of a clip with this size in pixels."""
        options = self._options
        return frame_spec(options.fps, options.max_frames, options.max_pixels, width, height)

    def frames(self, batch: FrameBatch) -> Frames:
        """The decoded frames as the model gets them: slow-fast, if the recipe says so."""
        return chat_frames(batch, slow_fast=self._options.slow_fast)

    def build(self, task: ClipTask) -> ClipSteps:
        """The work on one clip."""
        facts, checks = self._measure(task)
        still = self._is_still(task.clip.duration_s)
        return StructuredSteps(task, facts, checks, retries=self._options.retries, still=still)

    def _is_still(self, duration_s: float) -> bool:
        return num_frames_at(self._options.fps, duration_s) == 1
