"""CAPTIONERS: who can write a caption, by the name that recipes use. Torch-free.

A captioner takes clips in batches and gives every clip its captions, or none; the next backend of
the recipe is asked for what is left. Sidecar files and sentences from measurements are built in.
Models come as plug-ins: an entry point in the group `wanctl.captioners` whose object, called with
`CaptionOptions`, gives a `Captioner`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

from wanctl.caption.prompt import sentence
from wanctl.errors import UserError, unknown
from wanctl.log import log
from wanctl.video.frames import FrameBatch, FrameSpec

GROUP = "wanctl.captioners"


class CaptionError(UserError):
    """A caption backend cannot run as the recipe asks."""


@dataclass(frozen=True)
class Caption:
    """One caption of a clip. Several of a clip differ in `variant`: long, short, ..."""

    text: str
    variant: str = "default"


@dataclass(frozen=True)
class CaptionClip:
    """What a captioner knows about a clip.

    Attributes:
        id: sixteen hex digits.
        source: the footage.
        shot: number of the shot in its footage, from 0.
        duration_s: seconds.
        width: display pixels, as is `height`.
        has_audio: whether the footage has a sound track.
        evidence: filter name -> its measurements, of the filters that the captioner asked for.
    """

    id: str
    source: Path
    shot: int
    duration_s: float
    width: int
    height: int
    has_audio: bool
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class CaptionOptions:
    """The recipe's `caption` section, as far as captioners are concerned."""

    sidecar_dir: Path | None = None


class Captioner(Protocol):
    """Writes captions. `key` names everything that changes what it writes."""

    @property
    def key(self) -> str:
        """Short text that becomes part of a folder's name, e.g. a hash of model and prompt."""
        ...

    @property
    def author(self) -> Literal["person", "rule", "model"]:
        """Who words the caption; a model's work is kept, checked harder and never repeated."""
        ...

    @property
    def evidence(self) -> tuple[str, ...]:
        """Filters whose measurements it wants to see, where there are any."""
        ...

    def frames(self) -> FrameSpec | None:
        """The frames it wants of every clip; None when it looks at none."""
        ...

    def check(self) -> None:
        """Make sure that it can run here, without loading a model.

        Raises:
            UserError: what is missing and how to get it.
        """
        ...

    def caption(
        self, clips: Sequence[CaptionClip], frames: Sequence[FrameBatch | None]
    ) -> list[list[Caption]]:
        """Captions of each clip, in the order of `clips`; an empty list where it has none.

        Args:
            clips: at most BATCH clips of any length.
            frames: theirs, as `frames()` asked; None for each where it asked for none.
        """
        ...


class Sidecar:
    """Text that somebody put beside the footage, or into the recipe's `sidecar_dir`.

    NAME.txt holds one caption. NAME.json holds `{"caption": "..."}` or
    `{"captions": {"long": "...", "short": "..."}}`; `{"shots": {"0": ...}}` gives single shots
    their own, each in one of these forms or as plain text.
    """

    key = "v1"
    author: Literal["person"] = "person"
    evidence = ()

    def __init__(self, options: CaptionOptions) -> None:
        self.folder = options.sidecar_dir

    def frames(self) -> FrameSpec | None:
        """Looks at no frames."""
        return None

    def check(self) -> None:
        """The folder must exist where the recipe names one."""
        if self.folder is not None and not self.folder.is_dir():
            raise CaptionError(f"caption.sidecar_dir: {self.folder}: no such folder")

    def caption(
        self, clips: Sequence[CaptionClip], frames: Sequence[FrameBatch | None]
    ) -> list[list[Caption]]:
        """Reads each footage's file once per batch."""
        del frames
        read: dict[Path, Any] = {}
        for clip in clips:
            if clip.source not in read:
                read[clip.source] = self._read(clip.source)
        return [_captions_in(read[clip.source], clip.shot) for clip in clips]

    def _read(self, source: Path) -> Any:
        folder = self.folder or source.parent
        for suffix in (".json", ".txt"):
            path = folder / f"{source.stem}{suffix}"
            try:
                text = path.read_text(encoding="utf-8-sig")
                return json.loads(text) if suffix == ".json" else text
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("%s: not used as a caption: %s", path, str(error).splitlines()[0])
        return None


def _captions_in(data: Any, shot: int) -> list[Caption]:
    if isinstance(data, str):
        return [Caption(data)]
    if not isinstance(data, dict):
        return []
    shots = data.get("shots")
    if isinstance(shots, dict) and (own := _captions_in(shots.get(str(shot)), shot)):
        return own
    found = [Caption(data["caption"])] if isinstance(data.get("caption"), str) else []
    variants = data.get("captions")
    if isinstance(variants, dict):
        found += [Caption(text, name) for name, text in variants.items() if isinstance(text, str)]
    return found


class Template:
    """One factual sentence from what curation measured; never wrong, never vivid."""

    key = "v1"
    author: Literal["rule"] = "rule"
    evidence = ("exposure", "blur", "ocr", "motion")

    def __init__(self, options: CaptionOptions) -> None:
        del options

    def frames(self) -> FrameSpec | None:
        """Looks at no frames."""
        return None

    def check(self) -> None:
        """Can always run."""

    def caption(
        self, clips: Sequence[CaptionClip], frames: Sequence[FrameBatch | None]
    ) -> list[list[Caption]]:
        """Always has one."""
        del frames
        return [
            [Caption(sentence(clip.duration_s, clip.width, clip.height, clip.evidence))]
            for clip in clips
        ]


CAPTIONERS: dict[str, Callable[[CaptionOptions], Captioner]] = {
    "sidecar": Sidecar,
    "template": Template,
}


def captioner_names() -> tuple[str, ...]:
    """Every backend a recipe may name, plug-ins included; none of them is imported."""
    return tuple(sorted({*CAPTIONERS, *(point.name for point in entry_points(group=GROUP))}))


def build_captioner(name: str, options: CaptionOptions) -> Captioner:
    """Make the backend called `name`.

    Raises:
        CaptionError: there is none, or its plug-in cannot be imported.
    """
    if name in CAPTIONERS:
        return CAPTIONERS[name](options)
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                return point.load()(options)
            except ImportError as error:
                message = f"caption backend {name!r} ({point.value}) cannot be imported: {error}"
                raise CaptionError(message) from error
    raise CaptionError(unknown("caption backend", name, captioner_names()))
