"""The folder that an export may write to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wanctl.errors import UserError
from wanctl.video.sources import disk_path, url_of


class UnusableError(UserError):
    """The data set has no clip to export or to train on."""


def check_target(folder: Path, clips: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a folder in which exported files would overwrite or become something else.

    Raises:
        UnusableError: it is a data set, or holds footage of this one, which the next `curate` would
            take the exported files for.
    """
    if (folder / "dataset.json").exists():
        raise UnusableError(f"{folder}: is a data set; export into a folder of its own")
    folders = {disk_path(clip["source"]).parent for clip in clips if not url_of(clip["source"])}
    if folder in folders:
        raise UnusableError(
            f"{folder}: holds the footage that is exported; export into a folder of its own"
        )
