"""Small H.264 files of clips for the page, encoded when they are first watched.

Footage is hostile: decoding and encoding run in worker processes that may be killed.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.atomic import make_folder, remove_leftovers
from wanctl.redact import redact
from wanctl.video.decode import iter_window
from wanctl.video.encode import write_video
from wanctl.video.frames import FrameRange, range_of, span_key
from wanctl.video.workers.worker_pool import DecodePool, Failure

LONG_SIDE_PX = 640
MAX_FPS = 30.0
MAX_S = 60.0
"""Longer clips are shown up to here."""
_CRF = 27
MAX_BYTES = 2 << 30
"""Of the folder; the files that were watched longest ago go first."""


class PreviewError(Exception):
    """A clip cannot be played; says why in one line."""


class Previews:
    """The folder of previews. Safe for several threads. A context manager.

    Args:
        folder: for the files.
        pool: worker processes.
    """

    def __init__(self, folder: Path, pool: DecodePool) -> None:
        self._folder = folder
        self._pool = pool
        self._lock = threading.Lock()
        self._clips: dict[str, threading.Lock] = {}
        self._failed: dict[str, str] = {}
        make_folder(folder)
        remove_leftovers(folder)
        self._prune()

    def file(self, clip: Mapping[str, Any], *, again: bool = False) -> Path:
        """The MP4 of a clip; waits until it is encoded.

        Args:
            clip: row of the clips table, or of `wanctl.video.frames.trimmed`.
            again: try once more where it failed before.

        Raises:
            PreviewError: the clip cannot be decoded, or the folder cannot be written.
        """
        name = "-".join(map(str, [clip["id"], *span_key(clip)]))
        path = self._folder / f"{name}.mp4"
        with self._lock:
            lock = self._clips.setdefault(name, threading.Lock())
        with lock:
            if path.exists():
                path.touch()
                return path
            if name in self._failed and not again:
                raise PreviewError(self._failed[name])
            result = self._encode(clip, path)
            if isinstance(result, Failure):
                self._failed[name] = redact(result.message)
                raise PreviewError(self._failed[name])
        self._prune()
        return path

    def _encode(self, clip: Mapping[str, Any], path: Path) -> Any:
        span = (clip["start_pts"], clip["end_pts"], range_of(clip))
        size = _size(clip["width"], clip["height"])
        task = (clip["source"], span, clip["end_s"] - clip["start_s"], clip["fps"], size, path)
        for _, result in self._pool.map(encode_preview, [task]):
            return result
        return Failure("encode_preview", "crash", "the server is ending")

    def _prune(self) -> None:
        """Delete the oldest files beyond MAX_BYTES."""
        with self._lock:
            files = [(each.stat(), each) for each in self._folder.glob("[!.]*.mp4")]
            total = sum(info.st_size for info, _ in files)
            for info, file in sorted(files, key=lambda pair: pair[0].st_mtime_ns):
                if total <= MAX_BYTES:
                    return
                file.unlink(missing_ok=True)
                total -= info.st_size


def encode_preview(
    source: str,
    span: tuple[int, int, FrameRange | None],
    duration_s: float,
    fps: float | None,
    size: tuple[int, int],
    path: Path,
) -> None:
    """Decode a clip and write its preview. Runs in a decode worker.

    Args:
        source: path or URL of the footage.
        span: PTS of the first frame, exclusive end, and which frames these are.
        duration_s: of the clip.
        fps: of the clip; None where it has none.
        size: (height, width) of the preview.
        path: the file to write.

    Raises:
        VideoError: the footage cannot be read.
        WriteError: the file cannot be written.
    """
    rate = min(max(fps or 1.0, 1.0), MAX_FPS)
    frames = iter_window(source, span[0], span[1], fps=rate, size=size, frame_range=span[2])
    most = int(min(duration_s, MAX_S) * rate) + 1
    write_video(path, (np.ascontiguousarray(f) for f, _ in zip(frames, range(most), strict=False)),
                rate, crf=_CRF)  # fmt: skip


def _size(width: int, height: int) -> tuple[int, int]:
    """(height, width) with a long side of at most LONG_SIDE_PX, both even."""
    scale = min(1.0, LONG_SIDE_PX / max(width, height))
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)
