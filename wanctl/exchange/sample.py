"""The two values that every layout gets: one exported clip, and the target of an export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.data.buckets import BucketLike
from wanctl.data.captions import ClipCaption
from wanctl.data.export import ClipFile


@dataclass(frozen=True)
class ExportSample:
    """One exported clip with its captions and metadata.

    Attributes:
        file: the video.
        captions: the primary caption comes first; empty where the clip has none.
        facts: source, time range, weight, labels and scores, for layouts that carry them.
    """

    file: ClipFile
    captions: Sequence[ClipCaption]
    facts: Mapping[str, Any]

    @property
    def caption(self) -> str:
        """The primary caption; empty where there is none."""
        return self.captions[0].text if self.captions else ""


@dataclass(frozen=True)
class ExportTarget:
    """Where an export goes and which training shapes it serves.

    Attributes:
        folder: receives everything; absolute.
        fps: frame rate of the files.
        buckets: the shapes that will be trained on.
    """

    folder: Path
    fps: float
    buckets: Sequence[BucketLike]
