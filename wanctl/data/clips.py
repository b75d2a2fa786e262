"""Random access to exported clips, for training."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from wanctl.data.export import ClipFile
from wanctl.video.stream import VideoError

# an open reader holds a file and one decoder's frames
_OPEN_READERS = 16


class ClipReader:
    """Reads windows of frames from files that `export_clips` made.

    decord is fast at this, and unsafe on raw footage: it may hang on a container that declares more
    frames than it holds, and it replaces corrupt frames without an error. Exported files have
    neither fault; their frame count is still checked when they are opened.

    Args:
        files: the exported clips.
    """

    def __init__(self, files: Sequence[ClipFile]) -> None:
        self._files = list(files)
        self._readers: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int, start: int, frames: int) -> np.ndarray:
        """Consecutive frames of one clip, (frames, H, W, 3) uint8 RGB.

        Raises:
            VideoError: the file is missing, has another frame count than it was exported with, or
                is too short.
        """
        file = self._files[index]
        if start < 0 or start + frames > file.num_frames:
            raise VideoError(
                f"{file.path}: frames {start}..{start + frames} requested, it has {file.num_frames}"
            )
        reader = self._reader(index)
        return reader.get_batch(range(start, start + frames)).asnumpy()

    def _reader(self, index: int) -> Any:
        if index in self._readers:
            self._readers.move_to_end(index)
            return self._readers[index]
        file = self._files[index]
        reader = _open(file)
        if len(reader) != file.num_frames:
            raise VideoError(
                f"{file.path}: holds {len(reader)} frames, exported were {file.num_frames}; "
                "delete it and run the same command again"
            )
        self._readers[index] = reader
        if len(self._readers) > _OPEN_READERS:
            self._readers.popitem(last=False)
        return reader


def _open(file: ClipFile) -> Any:
    # decord 0.6 crashes torch when it is imported first
    import torch  # noqa: F401, I001, PLC0415
    import decord  # noqa: PLC0415

    try:
        return decord.VideoReader(str(file.path), num_threads=1)
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(
            f"{file.path}: not readable; delete it and run the same command again"
        ) from error
