"""Opens footage for reading: the only place that does, because a video file may name other files.

A playlist, an ffconcat list or a manifest is text that can be called `film.mp4`; FFmpeg would
follow it and show local files as footage. Three locks: FFmpeg is given a file object without a name
instead of a path, only demuxers of self-contained containers are allowed, and a demuxer that asks
for a second file is refused.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import av.error
from av.container import InputContainer

from wanctl.errors import UserError
from wanctl.redact import public_uri, redact
from wanctl.textfiles import lfs_pointer
from wanctl.video.sources import open_source

# FFmpeg's names of demuxers that hold pictures over time and read nothing but their own file.
# Left out on purpose: lists (hls, concat, dash, imf, sdp, rtsp), name patterns (image2), devices
# and graphs (lavfi), formats with companion files (vobsub, mlv), text, subtitles, sound.
_COMMON = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,asf_o,"
    "flv,live_flv,kux,mxf,gxf,lxf,dv,dhav,wtv,ty,rm,ivr,ogg,nut,nuv,nsv,swf,"
    "gif,apng,yuv4mpegpipe,mjpeg,mjpeg_2000,mpjpeg,jpegxl_anim"
)
_STREAMS = (
    "h261,h263,h264,hevc,vvc,evc,m4v,av1,obu,ivf,vc1,vc1test,dirac,dnxhd,cavsvideo,avs2,avs3,apv"
)
_RARE = (
    "4xm,anm,argo_brp,avs,bethsoftvid,bfi,bink,bmv,c93,cdxl,cine,dfa,dsicin,dxa,"
    "ea,film_cpk,filmstrip,flic,gdv,hnm,hxvs,idcin,iff,ifv,ingenient,"
    "ipmovie,ipu,iv8,jv,lmlm4,lvf,mgsts,mm,mods,moflex,msnwctcp,mtv,mv,mvi,"
    "mxg,paf,pdv,pmp,psxstr,pva,r3d,rl2,roq,rpl,sdr2,sga,siff,simbiosis_imx,"
    "smjpeg,smk,smush,thp,tiertexseq,tmv,usm,v210,vividas,vivo,vmd,wc3movie,"
    "xmv,yop"
)
# an image is a clip of one frame in sets of images; these read the open file, not names
_IMAGES = "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe"
# images, and raw streams that noise is often taken for
_GUESSED = (*_IMAGES.split(","), "h261", "h263")
DEMUXERS = frozenset(f"{_COMMON},{_STREAMS},{_RARE},{_IMAGES}".split(","))
# files of sound alone; read only where sound is asked for
_SOUND = "wav,w64,mp3,flac,aac,ac3,eac3,aiff,au,caf,amr,ape,tta,wv,mpc,mpc8,voc"
SOUND_DEMUXERS = DEMUXERS | frozenset(_SOUND.split(","))
# 32 KiB, the default, costs seven times the CPU time of FFmpeg's own file reader; this, the same
_BUFFER_BYTES = 1 << 18
_SHOWN = 80  # characters of a foreign name in a message


class VideoError(UserError):
    """A video file cannot be used; the message is one line."""


@contextmanager
def open_container(
    source: str | os.PathLike[str], *, sound: bool = False
) -> Iterator[InputContainer]:
    """Open a video file for reading, by its content; its name plays no part.

    Args:
        source: a path, or a URL that fsspec reads.
        sound: open files of sound alone as well.

    Raises:
        VideoError: there is no such file, it is empty or no regular file, not a video, or it names
            other files.
        SourceError: the URL cannot be read.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_source(source))
        if isinstance(file, Path):
            file = stack.enter_context(_open_file(source, file))
        yield stack.enter_context(_demux(source, file, sound=sound))


def has_video(head: bytes) -> bool:
    """Whether FFmpeg finds a video stream in the first bytes of a file; still images are none."""
    try:
        with _demux("first bytes", io.BytesIO(head)) as container:
            if container.format.name in _GUESSED:
                return False
            return any(
                not s.disposition & s.disposition.attached_pic for s in container.streams.video
            )
    except VideoError:
        return False


@contextmanager
def _open_file(source: str | os.PathLike[str], path: Path) -> Iterator[BinaryIO]:
    try:
        file = open(path, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise VideoError(f"{source}: cannot be opened as a video: {_why(error)}") from error
    with file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise VideoError(f"{source}: is a pipe, a socket or a device; need a file")
        if info.st_size == 0:
            raise VideoError(f"{source}: the file is empty")
        yield file


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe too, without waiting for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _Nameless:
    """The reading methods of a file object, without its name, from which FFmpeg would guess."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position; a damaged index leads in front of the file, which is an error code."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):  # PyAV would print it with its traceback
            return -errno.EINVAL


def _demux(
    source: str | os.PathLike[str], file: BinaryIO, *, sound: bool = False
) -> InputContainer:
    source = public_uri(os.fspath(source))
    kind = "sound or video" if sound else "video"
    options = {
        "format_whitelist": ",".join(sorted(SOUND_DEMUXERS if sound else DEMUXERS)),
        "protocol_whitelist": "none",  # no protocol has this name
    }

    def refuse(url: str, _flags: int, _options: Any) -> NoReturn:
        named = ascii(redact(url if len(url) <= _SHOWN else f"{url[:_SHOWN]}..."))
        raise VideoError(f"{source}: names another file to read, {named}; footage is one file")

    try:
        return av.open(
            _Nameless(file), "r", io_open=refuse, options=options, buffer_size=_BUFFER_BYTES
        )
    except VideoError:
        raise
    except av.error.ArgumentError as error:
        if sound:
            why = "not sound or a video that is read, but a list of other files, text or damaged"
            raise VideoError(f"{source}: {why}") from error
        raise VideoError(
            f"{source}: not a video that is read, but a list of other files, sound, text or "
            "damaged; need one file that holds the frames"
        ) from error
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        file.seek(0)
        if pointer := lfs_pointer(file.read(512)):
            raise VideoError(f"{source}: is {pointer}") from error
        why = _why(error)
        raise VideoError(f"{source}: not a {kind}, or cut off before its index: {why}") from error
    except OSError as error:
        raise VideoError(f"{source}: cannot be opened as a video: {_why(error)}") from error


def _why(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__
