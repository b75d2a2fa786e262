"""What a file of somebody's data set really holds; runs in a worker."""

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from wanctl.exchange.readers import IMAGE_SUFFIXES
from wanctl.video.probe import scan
from wanctl.video.stream import VideoError


@dataclass(frozen=True)
class Media:
    """Facts about one video or picture, measured by decoding it.

    Attributes:
        num_frames: pictures that really decode.
        fps: average rate; 0 for a picture.
        seconds: 0 for a picture.
        width: on screen.
        height: on screen.
        vfr: variable frame rate.
        rotated: players turn it, many data loaders do not.
        stretched: its pixels are not square; many data loaders ignore that.
    """

    num_frames: int
    fps: float
    seconds: float
    width: int
    height: int
    vfr: bool = False
    rotated: bool = False
    stretched: bool = False


def look(path: Path, member: str = "") -> Media:
    """Decode a file, or a member of a tar, once.

    Raises:
        VideoError: it is missing, damaged, or neither a video nor a picture.
    """
    if not path.is_file():
        raise VideoError("no such file")
    if not member:
        return _facts(path)
    with tempfile.TemporaryDirectory(prefix="wanctl-check-") as folder:
        copy = Path(folder) / ("member" + Path(member).suffix.lower())
        with tarfile.open(path) as tar:
            stream = tar.extractfile(member)
            assert stream is not None
            copy.write_bytes(stream.read())
        return _facts(copy)


def _facts(path: Path) -> Media:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        try:
            with Image.open(path) as picture:
                picture.load()
                return Media(1, 0.0, 0.0, *picture.size)
        except (OSError, ValueError) as error:
            raise VideoError(f"not a readable picture: {error}") from error
    try:
        info = scan(path, max_fps=1).info
    except VideoError as error:
        raise VideoError(str(error).removeprefix(f"{path}: ")) from None
    return Media(
        num_frames=info.num_frames,
        fps=info.fps,
        seconds=info.duration_s,
        width=info.width,
        height=info.height,
        vfr=info.vfr,
        rotated=info.rotation != 0,
        stretched=info.sar[0] != info.sar[1],
    )
