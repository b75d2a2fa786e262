"""The requests of one clip, one after the other, and what becomes of their answers. Does no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wanctl.caption.backends import CaptionClip
from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.structured.result import ClipResult
from wanctl.video.frames import FrameBatch, FrameSpec
from wanctl.vlm.chat import ChatAnswer, ChatRequest, Frames

Role = Literal["vision", "text"]


@dataclass(frozen=True)
class Ask:
    """A request and which model answers it."""

    role: Role
    request: ChatRequest


class ClipChecks(Protocol):
    """What a model's answers about one clip are held against; may know the clip's frames."""

    def check_structure(
        self, structure: Mapping[str, Any], facts: MeasuredFacts
    ) -> Sequence[Finding]:
        """What is wrong with a structure that is valid against its schema."""
        ...

    def check_caption(
        self, text: str, variant: str, structure: Mapping[str, Any], facts: MeasuredFacts
    ) -> Sequence[Finding]:
        """What is wrong with a caption, whose white space is collapsed."""
        ...


class ClipSteps(Protocol):
    """The work on one clip.

    Ask everything that `start` returns; give every answer to `take`, which returns what is to be
    asked next. When all requests are answered, `result` is set.
    """

    @property
    def clip_id(self) -> str:
        """Of the clip."""
        ...

    def start(self) -> Sequence[Ask]:
        """The first requests."""
        ...

    def take(self, answer: ChatAnswer) -> Sequence[Ask]:
        """Take the answer to a request of this clip; the requests that follow from it.

        Raises:
            ValueError: the answer's id belongs to no open request of this clip.
        """
        ...

    @property
    def result(self) -> ClipResult | None:
        """None while requests are open."""
        ...


@dataclass(frozen=True)
class ClipTask:
    """What is missing of one clip.

    Attributes:
        clip: with the evidence of the filters in `StepsFactory.evidence`.
        frames: that are shown; None where `structure` is known and no check needs frames.
        structure: that an earlier run stored, which is not asked for again; None: there is none.
        variants: of captions that are missing, in the order of `StepsFactory.variants`.
    """

    clip: CaptionClip
    frames: Frames | None
    structure: Mapping[str, Any] | None
    variants: tuple[str, ...]


class StepsFactory(Protocol):
    """Makes the work on each clip; called from one thread, as are the methods of `ClipSteps`.

    A request that the backend could not answer (`finish` is `failed`) ends as a flag that is not
    final (`Flag.is_final`): the next run asks again. All other flags stay until somebody retries
    them. A flag of the structure stands for all variants of its clip.
    """

    @property
    def structure_key(self) -> str:
        """Names everything that changes a structure; the table is `structures/vlm@KEY`."""
        ...

    @property
    def key(self) -> str:
        """Names everything that changes a caption or a flag, without the list of variants."""
        ...

    def variants(self, duration_s: float) -> tuple[str, ...]:
        """Names of the captions that a clip of this duration shall have.

        A still image, or a clip so short that one frame of it is sampled, has none on motion.
        """
        ...

    @property
    def evidence(self) -> tuple[str, ...]:
        """Filters whose measurements the clips carry."""
        ...

    @property
    def captions_need_frames(self) -> bool:
        """Whether captions of a known structure are checked against frames."""
        ...

    def frame_spec(self, width: int, height: int) -> FrameSpec:
        """The frames to decode of a clip with this size in pixels."""
        ...

    def frames(self, batch: FrameBatch) -> Frames:
        """The decoded frames as the model gets them: slow-fast, if the recipe says so."""
        ...

    def build(self, task: ClipTask) -> ClipSteps:
        """The work on one clip."""
        ...
