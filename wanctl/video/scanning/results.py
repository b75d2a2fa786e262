"""What a scan returns: the properties of a file, and arrays with an entry for each frame."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


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
        mirrored: whether left and right of the stored frame change places before it is turned.
        sar: width to height of one stored pixel, as (numerator, denominator).
        time_base: seconds per unit of `Scan.pts`, as (numerator, denominator).
        clock: "" where `Scan.pts` are the container's PTS; else see `frames.FrameRange`.
        fps: average frame rate.
        num_frames: all decoded frames.
        duration_s: how long all frames are displayed; gaps in the clock do not count.
        vfr: whether the distances between frames vary by more than rounding, or one is far longer.
        has_audio: whether there is an audio stream.
        audio_rate: its samples per second; 0 without audio.
        corrupt_share: damaged frames and packets, as a share of all.
        unplaced_share: frames whose time is a guess, as a share of all.
        content_hash: sha256 of the file, in hex.
        bit_rate: bits per second of the video stream.
        interlaced: whether the file declares it of most frames.
        transfer: name of the transfer curve (`smpte2084` is PQ, `arib_std_b67` HLG); "" where
            the file declares none.
        primaries: name of the colour primaries (`bt2020`: wide gamut); "" where it declares none.
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
    mirrored: bool = False
    clock: str = ""
    unplaced_share: float = 0.0
    primaries: str = ""


def _none() -> np.ndarray:
    return np.zeros(0, dtype=bool)


@dataclass(frozen=True)
class Scan:
    """Result of one decoding pass over a file.

    Attributes:
        info: properties of the file.
        pts: (N,) int64, presentation times of all frames, strictly rising (see `scanning.clock`).
        durations: (N,) int64, how long each frame is displayed, in units of `pts`: until the next
            one, or the usual time in front of a gap.
        strip: (M, 27, 48, 3) uint8 RGB, upright, at most `max_fps` frames per second.
        strip_index: (M,) int64, index into `pts` of each strip frame.
        change: (N,) float64, difference of each frame from the one before (see `interlace`).
        combed: (N,) int8, 1 combed, 0 not combed, -1 not checked.
        breaks: (N,) bool, frames that do not continue the one before: after a gap in the clock or
            where it starts again; empty where there is none.
        unfit: (N,) bool, frames that are damaged or have no time of their own; empty: none.
        notes: (kind, text) of everything that clips leave out.
        moving: (N,) float64, share of the frame that moved since the one before (see `interlace`);
            empty: not measured.
    """

    info: VideoInfo
    pts: np.ndarray
    durations: np.ndarray
    strip: np.ndarray
    strip_index: np.ndarray
    change: np.ndarray
    combed: np.ndarray
    breaks: np.ndarray = field(default_factory=_none)
    unfit: np.ndarray = field(default_factory=_none)
    notes: tuple[tuple[str, str], ...] = ()
    moving: np.ndarray = field(default_factory=_none)
