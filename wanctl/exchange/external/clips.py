"""What an external data set lists: clips, and what is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wanctl.errors import UserError
from wanctl.video.footage import VIDEO_SUFFIXES
from wanctl.video.image_files import IMAGE_SUFFIXES

MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES


class LayoutError(UserError):
    """The folder or file is in no layout that can be read."""


@dataclass(frozen=True)
class ExternalClip:
    """One clip as an external data set lists it.

    Attributes:
        path: the video or image, or the tar that holds it.
        member: name within the tar; empty for a plain file.
        span: (offset, size) in bytes of the member's data within the tar.
        captions: empty where the clip has none.
        stated: properties that the index states: num_frames, fps, height, width.
        name: short name for the output.
        notes: what was left out of its row, and what may surprise a reader.
        error: why the row gives no clip; empty where it does.
        repeats: how often the trainer shows it in an epoch.
    """

    path: Path
    member: str = ""
    span: tuple[int, int] = (0, 0)
    captions: Sequence[str] = ()
    stated: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    notes: Sequence[str] = ()
    error: str = ""
    repeats: float = 1


@dataclass(frozen=True)
class ExternalDataset:
    """The clips that an external data set lists.

    Attributes:
        layout: name of the layout that was recognised.
        clips: its clips, in its own order.
        notes: problems of the data set as a whole.
    """

    layout: str
    clips: Sequence[ExternalClip]
    notes: Sequence[str] = ()
