"""The two values that every layout gets: one exported clip, and the target of an export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.data.buckets import BucketLike, clip_bucket, why_no_bucket
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

    def bucket(self, num_frames: int, height: int, width: int) -> BucketLike | None:
        """The one bucket that a file of this shape is trained in; None where it fills none.

        The longest that it fills, and of that length the one that crops least. Buckets of one frame
        take still images alone: other trainers would take every frame of a video for a picture of
        its own. Where all buckets have one frame, videos give a picture each.
        """
        return clip_bucket(self._shapes(num_frames), num_frames, height, width)

    def why_no_bucket(self, num_frames: int, height: int, width: int) -> str:
        """Why `bucket` gives None for a file of this shape."""
        return why_no_bucket(self._shapes(num_frames), num_frames, height, width)

    def _shapes(self, num_frames: int) -> Sequence[BucketLike]:
        still = num_frames == 1
        return [each for each in self.buckets if (each.frames == 1) == still] or self.buckets
