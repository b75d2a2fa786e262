"""LAYOUTS: how exported clips lie in a folder, by the name that recipes use.

A layout says where the files go and which index files other programs read beside them. What each
program reads was looked up in its own code or documentation; the functions in `folders.py` and
`shards.py` say where.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.data.buckets import BucketLike
from wanctl.data.captions import Caption
from wanctl.data.export import ClipFile
from wanctl.exchange import folders


@dataclass(frozen=True)
class Sample:
    """One exported clip with what is known of it.

    Attributes:
        file: the video.
        captions: the one that counts comes first; empty where the clip has none.
        facts: source, span, weight, labels, scores, for layouts that carry them.
    """

    file: ClipFile
    captions: Sequence[Caption]
    facts: Mapping[str, Any]

    @property
    def caption(self) -> str:
        """The caption that counts, or nothing."""
        return self.captions[0].text if self.captions else ""


@dataclass(frozen=True)
class Target:
    """Where an export goes and what it is for.

    Attributes:
        folder: gets everything; absolute.
        fps: of the files.
        buckets: the shapes that will be trained on.
    """

    folder: Path
    fps: float
    buckets: Sequence[BucketLike]


Index = Callable[[Sequence[Sample], Target], Mapping[str, str]]


@dataclass(frozen=True)
class Layout:
    """One row of LAYOUTS.

    Attributes:
        read_by: the programs, for people.
        index: files beside the videos: name -> text.
        videos: folder of the videos, within the export's.
        packed: the videos go into tar shards instead.
    """

    read_by: str
    index: Index
    videos: str = "videos"
    packed: bool = False


LAYOUTS: dict[str, Layout] = {
    "mp4": Layout("anything: files and clips.csv", folders.clips_csv, videos=""),
    "webdataset": Layout("webdataset, finetrainers", folders.nothing, packed=True),
    "diffsynth": Layout("DiffSynth-Studio", folders.diffsynth),
    "musubi": Layout("musubi-tuner", folders.musubi),
    "diffusion-pipe": Layout("diffusion-pipe", folders.diffusion_pipe),
    "finetrainers": Layout("finetrainers, Hugging Face videofolder", folders.finetrainers),
    "fastvideo": Layout("FastVideo preprocessing", folders.fastvideo),
}
