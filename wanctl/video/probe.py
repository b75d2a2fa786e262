"""Probing: one decoding pass over a file gives its properties, PTS and the shot detector's strip.

PyAV only; no torch. On footage that has not been verified, call these functions in a
`workers.worker_pool.DecodePool`, never directly.
"""

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from wanctl.video.decode import read_clip, read_window
from wanctl.video.encode import read_metadata, write_png, write_video
from wanctl.video.interlace import InterlaceAnalyzer
from wanctl.video.orientation import UPRIGHT, orientation_of
from wanctl.video.scanning.clock import Timeline, make_timeline
from wanctl.video.scanning.cut_packets import partial_frame, partial_packet
from wanctl.video.scanning.damage import Damage, find_damage, find_unread
from wanctl.video.scanning.decode_stats import DecodeStats, error_log
from wanctl.video.scanning.notes import Findings, ScanBounds, check, notes_on
from wanctl.video.scanning.results import Scan, VideoInfo
from wanctl.video.scanning.steps import LONG_FACTOR, LONG_S, find_steps
from wanctl.video.scanning.truncation import second_file, truncation_reason, unread_clusters
from wanctl.video.stream import (
    FrameConverter,
    VideoError,
    decode_frames,
    display_size,
    open_video,
    primaries_of,
    sample_aspect,
    transfer_of,
)

__all__ = [
    "Scan",
    "ScanBounds",
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


def scan(path: Path, max_fps: float = 30, bounds: ScanBounds | None = None) -> Scan:
    """Decode a file once: probe it, check it for damage, and make the shot detector's strip.

    Args:
        path: the file.
        max_fps: maximum frames per second of the strip; slower footage gives all its frames.
        bounds: how much of the file may be damaged; None: nothing.

    Raises:
        VideoError: not a video, truncated, empty, or more damaged than `bounds` allow.
    """
    bounds = bounds or ScanBounds()
    with open_video(path) as (container, stream):
        try:
            with error_log(container, stream) as log:
                state = _decode_all(container, stream, max_fps, DecodeStats(log))
        except VideoError as error:
            raise VideoError(f"{path}: {error}") from None
        _check_whole(path, container, state)
        damage = find_damage(state.stats, stream.codec_context.codec.name)
        timeline = make_timeline(
            state.pts,
            state.dts,
            state.final_duration,
            _time_base(stream),
            _rate(stream),
            counted=_miscounts(container, stream, damage, state),
        )
        findings = Findings(
            timeline,
            damage,
            find_unread(state.stats, path.stat().st_size),
            _steps(timeline, damage, state),
            second_file(path, container.format.name, state.stats.end_byte),
        )
        check(path, findings, bounds)
        info = _describe(path, container, stream, state, timeline, damage)
    return Scan(
        info,
        timeline.pts,
        timeline.durations,
        np.stack(state.strip),
        np.array(state.strip_index, dtype=np.int64),
        np.array(state.interlace.change),
        np.array(state.interlace.combed, dtype=np.int8),
        breaks=timeline.breaks | damage.breaks | findings.steps,
        unfit=damage.frames | timeline.unplaced,
        notes=notes_on(findings),
        moving=np.array(state.interlace.moving),
    )


class _ScanState:
    """Figures that are collected during one pass over the frames."""

    def __init__(self, stats: DecodeStats) -> None:
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.strip: list[np.ndarray] = []
        self.strip_index: list[int] = []
        self.stats = stats
        self.interlace = InterlaceAnalyzer()
        self.interlaced = 0
        self.transfer = self.primaries = ""
        self.orientation = UPRIGHT
        self.sizes: set[tuple[int, int]] = set()
        self.pix_fmt = ""
        self.final_duration = 0
        self.ticks = 0

    def begin(self, frame: VideoFrame) -> FrameConverter:
        """Note what the first frame says for all, and return their converter."""
        self.orientation, self.pix_fmt = orientation_of(frame), frame.format.name
        self.transfer, self.primaries = transfer_of(frame), primaries_of(frame)
        return FrameConverter(self.orientation)

    def add(self, frame: VideoFrame, usual: int) -> None:
        """Note a frame; its time is exact where PTS rise, and close enough to sample by elsewhere.

        Args:
            frame: the next one.
            usual: ticks between frames where PTS are missing.

        Raises:
            VideoError: it is turned or mirrored in another way than the first one.
        """
        if not self.pts:
            self.ticks = frame.pts or 0
        elif frame.pts is None or frame.pts <= self.ticks:
            self.ticks += usual
        else:
            self.ticks = frame.pts
        self.pts.append(frame.pts)
        self.dts.append(frame.dts)
        self.sizes.add((frame.width, frame.height))
        self.final_duration = frame.duration or 0
        self.interlaced += frame.interlaced_frame
        self.interlace.add(frame)
        if orientation_of(frame) != self.orientation:
            raise VideoError("the orientation of its frames changes within the file")


def _rate(stream: VideoStream) -> Fraction | None:
    """Frames per second as the coded stream says, else the header.

    FFmpeg gives raw streams an average of 25 whatever they say, and AVI one of its clock's ticks.
    """
    return stream.guessed_rate or stream.average_rate


def _decode_all(
    container: InputContainer, stream: VideoStream, max_fps: float, stats: DecodeStats
) -> _ScanState:
    state = _ScanState(stats)
    converter = None
    time_base = _time_base(stream)
    usual = max(1, round(1 / (_rate(stream) or 25) / time_base))
    slot_ticks = 1 / (max_fps * float(time_base))
    first, last_slot = 0, -1
    for frame in decode_frames(container, stream, stats):
        if converter is None:
            converter = state.begin(frame)
        state.add(frame, usual)
        if last_slot < 0:
            first = state.ticks
        # a quarter slot of slack: 30 fps in millisecond ticks comes 33, 33, 34 ms apart
        slot = int((state.ticks - first) / slot_ticks + 0.25)
        if slot > last_slot:
            last_slot = slot
            state.strip.append(converter.convert(frame, STRIP_WIDTH, STRIP_HEIGHT))
            state.strip_index.append(len(state.pts) - 1)
    return state


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 1000)


def _check_whole(path: Path, container: InputContainer, state: _ScanState) -> None:
    name, end_byte = container.format.name, state.stats.end_byte
    if partial_packet(path, name, end_byte):
        state.stats.cut_short("the file ends in the middle of a packet")
    if partial_frame(path, name, end_byte):
        state.stats.unreadable = "the file ends in the middle of a frame"
    if reason := unread_clusters(path, name, end_byte, state.stats.last_complaints()):
        state.stats.unreadable = reason
    if not state.pts:
        raise VideoError(f"{path}: no frame could be decoded")
    if reason := truncation_reason(path, container.format.name):
        raise VideoError(f"{path}: truncated: {reason}")
    if len(state.sizes) > 1:
        sizes = ", ".join(f"{w}x{h}" for w, h in sorted(state.sizes))
        raise VideoError(f"{path}: the frame size changes within the file ({sizes})")


def _miscounts(
    container: InputContainer, stream: VideoStream, damage: Damage, state: _ScanState
) -> bool:
    """Whether times differ after a seek: AVI stores none, and FFmpeg counts what it reads.

    The index, which seeking goes by, counts lost frames as well.
    """
    if container.format.name != "avi":
        return False
    return bool(damage.reason or damage.hole) or stream.frames not in (0, len(state.pts))


def _steps(timeline: Timeline, damage: Damage, state: _ScanState) -> np.ndarray:
    """(N,) bool: steps of the clock that nothing else explains."""
    keys = np.array(state.stats.is_key, dtype=bool)
    steps = find_steps(timeline.pts, keys, float(timeline.time_base))
    return steps & ~(damage.breaks | timeline.unplaced)


def _describe(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    state: _ScanState,
    timeline: Timeline,
    damage: Damage,
) -> VideoInfo:
    ((coded_width, coded_height),) = state.sizes
    sar = sample_aspect(stream)
    width, height = display_size(coded_width, coded_height, sar, state.orientation)
    base = timeline.time_base
    audio = container.streams.audio
    seconds = float(timeline.durations.sum() * base)
    return VideoInfo(
        path=path,
        codec=stream.codec_context.codec.name,
        pix_fmt=state.pix_fmt,
        coded_width=coded_width,
        coded_height=coded_height,
        width=width,
        height=height,
        rotation=state.orientation.rotation,
        mirrored=state.orientation.mirrored,
        sar=sar,
        time_base=(base.numerator, base.denominator),
        clock=timeline.clock,
        fps=len(state.pts) / seconds,
        num_frames=len(state.pts),
        duration_s=seconds,
        vfr=_varies(np.diff(timeline.pts), float(base)),
        has_audio=bool(audio),
        audio_rate=audio[0].rate if audio else 0,
        corrupt_share=damage.share,
        unplaced_share=float(timeline.unplaced.mean()),
        content_hash=content_hash(path),
        bit_rate=8 * state.stats.coded_bytes / seconds,
        interlaced=2 * state.interlaced > len(state.pts),
        transfer=state.transfer,
        primaries=state.primaries,
    )


def content_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _varies(steps: np.ndarray, tick_s: float) -> bool:
    """Whether frames come at a variable rate.

    More than 1 % of the distances differ from the median by more than rounding, or one of them is
    so long that a frame rate means nothing.
    """
    if len(steps) < 2:
        return False
    median = np.median(steps)
    # one distance so long is enough
    if steps.max() > max(LONG_S / tick_s, LONG_FACTOR * median):
        return True
    # containers with millisecond ticks round every PTS: neighbours may be off by two ticks
    slack = max(2.0, 0.02 * median) if tick_s < 0.01 else 1.0
    return bool(np.mean(np.abs(steps - median) > slack) > 0.01)
