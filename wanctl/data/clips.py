"""Random access to exported clips, for training."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from wanctl.data.export import ClipFile
from wanctl.video.opening import VideoError
from wanctl.video.orientation import UPRIGHT
from wanctl.video.stream import FrameConverter, decode_frames, open_video

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
        self._readers: OrderedDict[int, _FileReader] = OrderedDict()

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
        return self._reader(index).read(start, start + frames)

    def _reader(self, index: int) -> "_FileReader":
        if index in self._readers:
            self._readers.move_to_end(index)
            return self._readers[index]
        file = self._files[index]
        reader = _FileReader(file.path)
        if len(reader) != file.num_frames:
            raise VideoError(
                f"{file.path}: holds {len(reader)} frames, exported were {file.num_frames}; "
                "delete it and run the same command again"
            )
        self._readers[index] = reader
        if len(self._readers) > _OPEN_READERS:
            self._readers.popitem(last=False)
        return reader


def read_video(path: Path) -> np.ndarray:
    """All frames of a file that this program wrote, (T, H, W, 3) uint8 RGB.

    Raises:
        VideoError: it cannot be read.
    """
    reader = _FileReader(path)
    return reader.read(0, len(reader))


class _FileReader:
    """Random access to one mp4 that this program wrote: by decord, else by PyAV.

    decord 0.6 fails at the widths 2, 4, 6, 8, 12, 16, 24, 48 and 72, whatever the height.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # decord 0.6 crashes torch when it is imported first
        import torch  # noqa: F401, I001, PLC0415
        import decord  # noqa: PLC0415

        self._errors = (RuntimeError, decord.DECORDError)
        try:
            _check_mp4(path)
            # an absolute path, because FFmpeg takes `12:30.mp4` for a protocol
            self._decord = decord.VideoReader(str(path.absolute()), num_threads=1)
        except (OSError, *self._errors) as error:
            raise VideoError(
                f"{path}: not readable; delete it and run the same command again"
            ) from error
        self._length = len(self._decord)
        self._fails = False

    def __len__(self) -> int:
        return self._length

    def read(self, start: int, end: int) -> np.ndarray:
        if not self._fails:
            try:
                return self._decord.get_batch(range(start, end)).asnumpy()
            except self._errors:
                self._fails = True
        return self._read_by_pyav(start, end)

    def _read_by_pyav(self, start: int, end: int) -> np.ndarray:
        converter = FrameConverter(UPRIGHT)
        with open_video(self._path) as (container, stream):
            frames = [
                converter.convert(frame, frame.width, frame.height, how="BICUBIC")
                for frame in islice(decode_frames(container, stream), start, end)
            ]
        if len(frames) < end - start:
            raise VideoError(f"{self._path}: damaged; delete it and run the same command again")
        return np.stack(frames)


def _check_mp4(path: Path) -> None:
    """Decord would follow a list that is called .mp4 to other files."""
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            raise VideoError(
                f"{path}: no mp4 that this program wrote; delete it and run the same command again"
            )
