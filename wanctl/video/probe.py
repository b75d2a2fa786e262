"""Probing: one decoding pass over a file gives its properties, PTS and the shot detector's strip.

PyAV only; no torch. On footage that has not been verified, call these functions in a
`workers.worker_pool.DecodePool`, never directly.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from wanctl.video.decode import read_clip, read_window
from wanctl.video.encode import read_metadata, write_png, write_video
from wanctl.video.interlace import InterlaceAnalyzer
from wanctl.video.stream import (
    DecodeStats,
    FrameConverter,
    VideoError,
    decode_frames,
    decoder_errors,
    display_size,
    open_video,
    rotation_of,
    sample_aspect,
    transfer_of,
)
from wanctl.video.truncation import truncation_reason

__all__ = [
    "Scan",
    "VideoError",
    "VideoInfo",
    "read_clip",
    "read_metadata",
    "read_window",
    "scan",
    "write_png",
    "write_video",
]

STRIP_WIDTH, STRIP_HEIGHT = 48, 27


@dataclass(frozen=True)
class VideoInfo:
    """Properties of one file, measured by decoding it.

    Attributes:
        path: the file.
        codec: FFmpeg's name of the decoder.
        pix_fmt: FFmpeg's name of the stored pixel format.
        coded_width: width of the stored frame.
        coded_height: height of the stored frame.
        width: width on screen: pixels made square, frame turned upright.
        height: height on screen.
        rotation: degrees clockwise that turn the stored frame upright: 0, 90, 180, 270.
        sar: width to height of one stored pixel, as (numerator, denominator).
        time_base: seconds per PTS unit, as (numerator, denominator).
        fps: average frame rate.
        num_frames: frames with distinct PTS.
        duration_s: from the first frame to the end of the last one.
        vfr: whether the distances between frames vary by more than rounding.
        has_audio: whether there is an audio stream.
        audio_rate: its samples per second; 0 without audio.
        corrupt_share: damaged frames and packets, as a share of all.
        content_hash: sha256 of the file, in hex.
        bit_rate: bits per second of the video stream.
        interlaced: whether the file declares it of most frames.
        transfer: name of the transfer curve (`smpte2084` is PQ, `arib_std_b67` HLG); "" where
            the file declares none.
    """

    path: Path
    codec: str
    pix_fmt: str
    coded_width: int
    coded_height: int
    width: int
    height: int
    rotation: int
    sar: tuple[int, int]
    time_base: tuple[int, int]
    fps: float
    num_frames: int
    duration_s: float
    vfr: bool
    has_audio: bool
    audio_rate: int
    corrupt_share: float
    content_hash: str
    bit_rate: float = 0.0
    interlaced: bool = False
    transfer: str = ""


@dataclass(frozen=True)
class Scan:
    """Result of one decoding pass over a file.

    Attributes:
        info: properties of the file.
        pts: (N,) int64, presentation times of all frames, strictly rising.
        durations: (N,) int64, time to the next frame, in PTS units.
        strip: (M, 27, 48, 3) uint8 RGB, upright, at most `max_fps` frames per second.
        strip_index: (M,) int64, index into `pts` of each strip frame.
        change: (N,) float64, difference of each frame from the one before (see `interlace`).
        combed: (N,) int8, 1 combed, 0 not combed, -1 not checked.
    """

    info: VideoInfo
    pts: np.ndarray
    durations: np.ndarray
    strip: np.ndarray
    strip_index: np.ndarray
    change: np.ndarray
    combed: np.ndarray


def scan(path: Path, max_fps: float = 30) -> Scan:
    """Decode a file once: probe it, check it for damage, and make the shot detector's strip.

    Args:
        path: the file.
        max_fps: maximum frames per second of the strip; slower footage gives all its frames.

    Raises:
        VideoError: not a video, or a damaged one: truncated, with corrupt frames, or empty.
    """
    with open_video(path) as (container, stream):
        with decoder_errors(stream) as lines:
            state = _decode_all(container, stream, max_fps)
        state.decoder_errors = lines
        pts = np.array(state.pts, dtype=np.int64)
        _check_undamaged(path, container, stream, state)
        durations = np.diff(pts, append=pts[-1] + state.last_duration(pts))
        info = _describe(path, container, stream, state, durations)
    strip = np.stack(state.strip)
    return Scan(
        info,
        pts,
        durations,
        strip,
        np.array(state.strip_index, dtype=np.int64),
        np.array(state.interlace.change),
        np.array(state.interlace.combed, dtype=np.int8),
    )


class _ScanState:
    """Figures that are collected during one pass over the frames."""

    def __init__(self) -> None:
        self.pts: list[int] = []
        self.strip: list[np.ndarray] = []
        self.strip_index: list[int] = []
        self.stats = DecodeStats()
        self.interlace = InterlaceAnalyzer()
        self.interlaced = 0
        self.transfer = ""
        self.rotation = 0
        self.sizes: set[tuple[int, int]] = set()
        self.pix_fmt = ""
        self.final_duration = 0
        self.decoder_errors: list[str] = []

    def last_duration(self, pts: np.ndarray) -> int:
        """Duration of the last frame in PTS units: as stored, else the median duration."""
        median = int(np.median(np.diff(pts))) if len(pts) > 1 else 1
        return self.final_duration if 0 < self.final_duration <= 4 * median else max(median, 1)


def _decode_all(container: InputContainer, stream: VideoStream, max_fps: float) -> _ScanState:
    state = _ScanState()
    converter = None
    slot_pts = 1 / (max_fps * float(stream.time_base or 1))
    last_slot = -1
    for frame in decode_frames(container, stream, state.stats):
        if converter is None:
            state.rotation, state.pix_fmt = rotation_of(frame), frame.format.name
            state.transfer = transfer_of(frame)
            converter = FrameConverter(state.rotation)
        assert frame.pts is not None
        state.pts.append(frame.pts)
        state.sizes.add((frame.width, frame.height))
        state.final_duration = frame.duration or 0
        state.interlaced += frame.interlaced_frame
        state.interlace.add(frame, float(frame.pts * (stream.time_base or 1)))
        # a quarter slot of slack: 30 fps in millisecond ticks comes 33, 33, 34 ms apart
        slot = int((frame.pts - state.pts[0]) / slot_pts + 0.25)
        if slot > last_slot:
            last_slot = slot
            state.strip.append(converter.convert(frame, STRIP_WIDTH, STRIP_HEIGHT))
            state.strip_index.append(len(state.pts) - 1)
    return state


def _check_undamaged(
    path: Path, container: InputContainer, stream: VideoStream, state: _ScanState
) -> None:
    if not state.pts:
        raise VideoError(f"{path}: no frame could be decoded")
    stats = state.stats
    end_s = float((state.pts[-1] + state.final_duration) * (stream.time_base or 1))
    if reason := truncation_reason(path, container, stream, frames=stats.frames, end_s=end_s):
        raise VideoError(f"{path}: truncated: {reason}")
    damaged = stats.corrupt + stats.errors
    if damaged:
        share = damaged / (stats.frames + stats.errors)
        raise VideoError(f"{path}: corrupt: {damaged} frames damaged ({share:.1%})")
    if state.decoder_errors:
        raise VideoError(f"{path}: corrupt: the decoder reports: {state.decoder_errors[0]}")
    if len(state.sizes) > 1:
        sizes = ", ".join(f"{w}x{h}" for w, h in sorted(state.sizes))
        raise VideoError(f"{path}: the frame size changes within the file ({sizes})")


def _describe(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    state: _ScanState,
    durations: np.ndarray,
) -> VideoInfo:
    ((coded_width, coded_height),) = state.sizes
    sar = sample_aspect(stream)
    width, height = display_size(coded_width, coded_height, sar, state.rotation)
    base = stream.time_base
    assert base is not None
    audio = container.streams.audio
    stats = state.stats
    seconds = float(durations.sum() * base)
    return VideoInfo(
        path=path,
        codec=stream.codec_context.codec.name,
        pix_fmt=state.pix_fmt,
        coded_width=coded_width,
        coded_height=coded_height,
        width=width,
        height=height,
        rotation=state.rotation,
        sar=sar,
        time_base=(base.numerator, base.denominator),
        fps=len(state.pts) / seconds,
        num_frames=len(state.pts),
        duration_s=seconds,
        vfr=_varies(durations[:-1], float(base)),
        has_audio=bool(audio),
        audio_rate=audio[0].rate if audio else 0,
        corrupt_share=(stats.corrupt + stats.errors) / (stats.frames + stats.errors),
        content_hash=content_hash(path),
        bit_rate=8 * stats.coded_bytes / seconds,
        interlaced=2 * state.interlaced > len(state.pts),
        transfer=state.transfer,
    )


def content_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _varies(durations: np.ndarray, tick_s: float) -> bool:
    """Whether more than 1 % of the distances differ from the median by more than rounding."""
    if len(durations) < 2:
        return False
    median = np.median(durations)
    # containers with millisecond ticks round every PTS: neighbours may be off by two ticks
    slack = max(2.0, 0.02 * median) if tick_s < 0.01 else 1.0
    return bool(np.mean(np.abs(durations - median) > slack) > 0.01)
