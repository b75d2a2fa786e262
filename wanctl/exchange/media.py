"""Decodes a file of an external data set to measure what it really holds; runs in a worker."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from wanctl.exchange.external.archives import copy_span
from wanctl.video.image_files import IMAGE_SUFFIXES, ImageFileError, image_size
from wanctl.video.probe import scan
from wanctl.video.stream import VideoError


@dataclass(frozen=True)
class MediaInfo:
    """Properties of one video or image, measured by decoding it.

    Attributes:
        num_frames: frames that really decode.
        fps: average frame rate; 0 for an image.
        seconds: duration; 0 for an image.
        width: display width in pixels.
        height: display height in pixels.
        vfr: variable frame rate.
        rotated: has a rotation flag; players apply it, many data loaders do not.
        non_square_pixels: many data loaders ignore the sample aspect ratio.
    """

    num_frames: int
    fps: float
    seconds: float
    width: int
    height: int
    vfr: bool = False
    rotated: bool = False
    non_square_pixels: bool = False


def probe_media(path: Path, member: str = "", span: tuple[int, int] = (0, 0)) -> MediaInfo:
    """Decode a file, or a member of a tar, once.

    Args:
        path: the file, or the tar.
        member: name within the tar; its ending tells images from videos.
        span: (offset, size) in bytes of the member within the tar.

    Raises:
        VideoError: it is missing, damaged, or neither a video nor an image.
    """
    try:
        if path.is_dir():
            raise VideoError("is a folder; only files are checked")
        if not path.is_file():
            raise VideoError("is no file" if path.exists() else "no such file")
        if not member:
            return _probe_file(path)
        with tempfile.TemporaryDirectory(prefix="wanctl-check-") as folder:
            copy = Path(folder) / ("member" + Path(member).suffix.lower())
            copy_span(path, span, copy)
            return _probe_file(copy)
    except OSError as error:  # a name that is too long, a full disk
        raise VideoError(f"cannot be read: {error.strerror or error}") from error


def _probe_file(path: Path) -> MediaInfo:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        try:
            return MediaInfo(1, 0.0, 0.0, *image_size(path))
        except ImageFileError as error:
            raise VideoError(str(error).removeprefix(f"{path}: ")) from None
    try:
        info = scan(path, max_fps=1).info
    except VideoError as error:
        raise VideoError(str(error).removeprefix(f"{path}: ")) from None
    return MediaInfo(
        num_frames=info.num_frames,
        fps=info.fps,
        seconds=info.duration_s,
        width=info.width,
        height=info.height,
        vfr=info.vfr,
        rotated=info.rotation != 0 or info.mirrored,
        non_square_pixels=info.sar[0] != info.sar[1],
    )
