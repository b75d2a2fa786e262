"""CAPTIONERS: the caption backends by the name that recipes use. Does not import torch.

A captioner takes clips in batches and returns captions for each clip, or none; clips without
captions go to the next backend of the recipe. Sidecar files and sentences from measurements are
built in. Models come as plug-ins: an entry point in the group `wanctl.captioners` whose object,
called with `CaptionOptions`, returns a `Captioner`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

from wanctl.caption.measured_words import sentence, text_in_crop
from wanctl.caption.sidecars import SidecarReader
from wanctl.data.captions import REVIEW
from wanctl.errors import UserError, unknown
from wanctl.path_names import is_component, name_problem
from wanctl.redact import redact
from wanctl.video.frames import Box, FrameBatch, FrameSpec

GROUP = "wanctl.captioners"
VLM = "vlm"
"""Name of the captioner that runs the recipe's `caption.model` (see `pipeline/`)."""


class CaptionError(UserError):
    """A caption backend is unknown or cannot run with the settings of the recipe."""


@dataclass(frozen=True)
class Caption:
    """One caption of a clip. The captions of a clip differ in `variant`: long, short, ..."""

    text: str
    variant: str = "default"


@dataclass(frozen=True)
class CaptionClip:
    """The metadata of a clip that a captioner gets.

    Attributes:
        id: sixteen hex digits.
        source: path of the footage.
        shot: number of the shot in its footage, from 0.
        start_s: where in its footage the clip begins, in seconds.
        duration_s: seconds.
        width: display pixels, after the crop of the selection.
        height: display pixels, after the crop of the selection.
        has_audio: whether the footage has a sound track.
        evidence: filter name -> its measurements, of the filters in `Captioner.evidence`.
        crop: of the selection, in display pixels of the footage; None where it is not cropped.
    """

    id: str
    source: Path
    shot: int
    start_s: float
    duration_s: float
    width: int
    height: int
    has_audio: bool
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    crop: Box | None = None


@dataclass(frozen=True)
class CaptionOptions:
    """The keys of the recipe's `caption` section that captioners use."""

    sidecar_dir: Path | None = None


class Captioner(Protocol):
    """Protocol of a caption backend. `key` names everything that changes its captions."""

    @property
    def key(self) -> str:
        """Short text that becomes part of a folder name, for example a hash of model and prompt."""
        ...

    @property
    def author(self) -> Literal["person", "rule", "model"]:
        """Who writes the caption; captions of a model are stored and checked more strictly."""
        ...

    @property
    def evidence(self) -> tuple[str, ...]:
        """Filters whose measurements the captioner gets, where they exist."""
        ...

    def frames(self) -> FrameSpec | None:
        """The frames to decode of every clip; None where it needs none."""
        ...

    def check(self) -> None:
        """Verify that the captioner can run here, without loading a model.

        Raises:
            UserError: says what is missing and how to get it.
        """
        ...

    def caption(
        self, clips: Sequence[CaptionClip], frames: Sequence[FrameBatch | None]
    ) -> list[list[Caption]]:
        """Captions of each clip, in the order of `clips`; an empty list where it has none.

        Args:
            clips: at most BATCH clips of any length.
            frames: the frames of each clip as specified by `frames()`; None where that is None.
        """
        ...


class Sidecar:
    """Captions from text files next to the footage, or in the recipe's `sidecar_dir`.

    `wanctl/caption/sidecars.py` says what they are called and what they hold.
    """

    key = "v1"
    author: Literal["person"] = "person"
    evidence = ()

    def __init__(self, options: CaptionOptions) -> None:
        self.folder = options.sidecar_dir
        self._reader = SidecarReader(self.folder)

    def frames(self) -> FrameSpec | None:
        """None: no frames are needed."""
        return None

    def check(self) -> None:
        """Raise CaptionError where the recipe names a folder that does not exist."""
        if self.folder is not None and not self.folder.is_dir():
            raise CaptionError(f"caption.sidecar_dir: {self.folder}: no such folder")

    def match(self, sources: Iterable[str | Path]) -> None:
        """Find the sidecars of every source of the data set.

        Raises:
            SidecarError: which sidecar belongs to which source cannot be told.
        """
        self._reader.match(sources)

    def caption(
        self, clips: Sequence[CaptionClip], frames: Sequence[FrameBatch | None]
    ) -> list[list[Caption]]:
        """Captions of the sidecar files; each file is read once per batch."""
        del frames
        self._reader.forget()
        return [
            [
                Caption(each.text, each.variant)
                for each in self._reader.captions(
                    clip.source, clip.shot, clip.start_s, clip.start_s + clip.duration_s
                )
            ]
            for clip in clips
        ]

    def log_unused_cues(self) -> None:
        """Log how many timed captions were those of no clip."""
        self._reader.log_unused_cues()


class Template:
    """One factual sentence from the measurements of curation."""

    key = "v1"
    author: Literal["rule"] = "rule"
    evidence = ("exposure", "blur", "ocr", "motion")

    def __init__(self, options: CaptionOptions) -> None:
        del options

    def frames(self) -> FrameSpec | None:
        """None: no frames are needed."""
        return None

    def check(self) -> None:
        """Always succeeds: nothing has to be installed."""

    def caption(
        self, clips: Sequence[CaptionClip], frames: Sequence[FrameBatch | None]
    ) -> list[list[Caption]]:
        """One sentence for every clip."""
        del frames
        captions = []
        for clip in clips:
            evidence = text_in_crop(clip.evidence, clip.crop) if clip.crop else clip.evidence
            captions.append([Caption(sentence(clip.duration_s, clip.width, clip.height, evidence))])
        return captions


CAPTIONERS: dict[str, Callable[[CaptionOptions], Captioner]] = {
    "sidecar": Sidecar,
    "template": Template,
}


def caption_table(name: str, key: str) -> str:
    """The table of the data set that holds the captions of a captioner with this key.

    Raises:
        CaptionError: the captioner's key cannot be part of a folder's name.
    """
    folder = f"{name}@{key}"
    if redact(folder) != folder:
        raise CaptionError(
            f"captioner {name!r}: its key holds an API key or a password, and becomes part of a "
            "folder's name; hash it"
        )
    if not is_component(folder):
        raise CaptionError(
            f"captioner {name!r}: its key {key!r} becomes part of a folder's name; it "
            "has no / and no line break, and at most 150 characters"
        )
    return f"captions/{folder}"


def captioner_names() -> tuple[str, ...]:
    """Names of all backends, plug-ins included; none of them is imported."""
    return tuple(sorted({VLM, *CAPTIONERS, *(point.name for point in entry_points(group=GROUP))}))


def build_captioner(name: str, options: CaptionOptions) -> Captioner:
    """Build the backend called `name`.

    Raises:
        CaptionError: no backend has this name, or its plug-in cannot be imported.
    """
    if name in CAPTIONERS:
        return CAPTIONERS[name](options)
    for point in entry_points(group=GROUP):
        if point.name == name:
            if name == REVIEW:
                raise CaptionError(f"{point.value}: {REVIEW!r} is the name of what people decided")
            if problem := name_problem(name):
                raise CaptionError(f"the name of a captioner names its table: {problem}")
            try:
                return point.load()(options)
            except ImportError as error:
                message = f"caption backend {name!r} ({point.value}) cannot be imported: {error}"
                raise CaptionError(message) from error
    raise CaptionError(unknown("caption backend", name, captioner_names()))
