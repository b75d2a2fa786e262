"""Writes videos and PNG images with metadata that records how they were made."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image, PngImagePlugin

from wanctl.atomic import replacing
from wanctl.video.image_files import read_png_texts
from wanctl.video.opening import VideoError, open_container
from wanctl.video.sound.track import SoundTrack


def write_video(
    path: Path,
    frames: np.ndarray | Iterable[np.ndarray],
    fps: float,
    *,
    crf: int = 16,
    metadata: Mapping[str, str] | None = None,
    sound: np.ndarray | None = None,
) -> None:
    """Write an H.264 mp4 (yuv420p, BT.709, moov atom first) atomically.

    Odd sides are raised to even by repeating the last row or column, as yuv420p requires.

    Args:
        path: the file to create or replace.
        frames: (T, H, W, 3) uint8 RGB, or an iterator of (H, W, 3).
        fps: frames per second.
        crf: constant rate factor, 0 (lossless) to 51; lower is better.
        metadata: key/value pairs stored in the file; `read_metadata` and ffprobe show them.
        sound: (N, 2) int16 at 48 kHz, cut off where the frames end; None: no sound.

    Raises:
        WriteError: the file cannot be written.
        ValueError: there are no frames, or they are not (H, W, 3) uint8.
    """
    with replacing(path) as temp:
        try:
            _encode(temp, iter(frames), fps, crf, metadata or {}, sound)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno:
                raise OSError(error.errno, error.strerror) from error
            raise VideoError(f"{path}: the encoder failed: {error}") from error


def _encode(
    path: Path,
    frames: Iterator[np.ndarray],
    fps: float,
    crf: int,
    metadata: Mapping[str, str],
    sound: np.ndarray | None,
) -> None:
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path.name}: no frames to write")
    height, width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
    rate = Fraction(fps).limit_denominator(30000)
    # without `use_metadata_tags` the mp4 muxer drops every key it does not know
    flags = {"movflags": "+faststart+use_metadata_tags"}
    with av.open(_file_url(path), "w", format="mp4", options=flags) as container:
        container.metadata.update(metadata)
        options = {"crf": str(crf), **_exact_kernels()}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = 1 / rate
        context = stream.codec_context
        # 1 in both tables stands for BT.709 and for limited range
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1
        track = None if sound is None else SoundTrack(container, sound)
        reformatter = VideoReformatter()
        index = 0
        array: np.ndarray | None = first
        while array is not None:
            frame = av.VideoFrame.from_ndarray(_even(array, height, width), format="rgb24")
            frame = reformatter.reformat(
                frame,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
            index += 1
            if track is not None:
                track.write_until(index / rate)
            array = next(frames, None)
        container.mux(stream.encode(None))
        if track is not None:
            track.close()


@functools.cache
def _exact_kernels() -> dict[str, str]:
    """Options of x264 that keep it from its AVX-512 kernels.

    With those (x264 165, AMD EPYC) 40 encodings of the same 13 frames gave 3 different files, none
    of them that of x264's C code; with the AVX2 kernels all 40 were equal to it.
    """
    try:
        has_avx512 = "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        has_avx512 = False
    return {"x264-params": "asm=AVX2"} if has_avx512 else {}


def _file_url(path: Path) -> str:
    """The name by which FFmpeg takes a path for a file, whatever colons or dashes it holds."""
    return f"file:{path.absolute()}"


def _even(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frames must be (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
    below, right = height - frame.shape[0], width - frame.shape[1]
    if below or right:
        frame = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def write_png(path: Path, frame: np.ndarray, metadata: Mapping[str, str] | None = None) -> None:
    """Write (H, W, 3) uint8 RGB as PNG with text chunks, atomically."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in (metadata or {}).items():
        chunks.add_itxt(key, value)
    with replacing(path) as temp:
        Image.fromarray(frame).save(temp, format="PNG", pnginfo=chunks)


def read_metadata(path: Path) -> dict[str, str]:
    """The key/value pairs that `write_video` or `write_png` stored in a file.

    Raises:
        VideoError: the file is not a video that can be opened.
        ImageFileError: the file ends in .png and is no PNG that can be opened.
    """
    if path.suffix.lower() == ".png":
        return read_png_texts(path)
    with open_container(path) as container:
        return dict(container.metadata)
