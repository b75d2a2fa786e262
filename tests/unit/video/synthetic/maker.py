"""Writes the files of `recipes`."""

import re
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from tests.unit.video.synthetic.recipes import (
    CONTAINERS,
    FPS,
    FRAMES,
    HEIGHT,
    MATRICES,
    PACKED,
    STEP,
    TICKS,
    WIDTH,
    WITH_B,
    Recipe,
    numbered,
)

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9"}
_OLD = ("wmv2", "flv")
_HALF = FRAMES // 2 * STEP
_QUICK = {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "2M"}


class FootageMaker:
    """Writes files; what was encoded once is used again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bases: dict[str, Path] = {}

    def make(self, recipe: Recipe, number: int = 0) -> Path:
        """Write the file of a recipe, which shows the frames 0 to FRAMES - 1."""
        path = self._folder / f"{number:03d}-{recipe}.{recipe.container}"
        random = Random(str(recipe))
        data = b"".join(
            self._mux(recipe, path, frames)
            for frames in (
                [range(FRAMES // 2), range(FRAMES // 2, FRAMES)]
                if recipe.clock == "joined"
                else [range(FRAMES)]
            )
        )
        data = _damaged(_tagged(_turned(data, recipe), recipe), recipe, random)
        path.write_bytes(data + _trailer(recipe.trailer, random))
        return path

    def _mux(self, recipe: Recipe, path: Path, frames: range) -> bytes:
        base = self._base(recipe, frames)
        sink = path.with_name(f"part-{path.name}")
        options = {"mpegts_m2ts_mode": "1"} if recipe.container == "m2ts" else {}
        if recipe.clock in ("early", "late", "wrap"):
            options["avoid_negative_ts"] = "disabled"
        muxer = CONTAINERS[recipe.container][0]
        with (
            av.open(str(base)) as source,
            av.open(str(sink), "w", format=muxer, options=options) as out,
        ):
            if recipe.tags == "title":
                out.metadata["title"] = "\u00dcbel; rotate=90\u2028 000.000 \U0001f3a5"
            extras = [_cover(out)] if recipe.streams == "cover first" else []
            film = out.add_stream_from_template(source.streams.video[0])
            if recipe.streams == "cover last":
                extras = [_cover(out)]
            elif recipe.streams == "preview":
                extras = [_preview(out)]
            elif recipe.streams == "sound":
                extras = [_sound(out, recipe.container)]
            packets = _packets(source, recipe)
            if recipe.container == "avi":
                film.time_base = Fraction(1, FPS)
            _retime(packets, recipe.clock)
            for packet in packets:
                packet.stream = film
            # written in the order of time, as muxers want it
            everything = [*packets, *(packet for extra in extras for packet in extra)]
            for packet in sorted(everything, key=lambda p: float(p.dts * p.time_base)):
                out.mux(packet)
        data = sink.read_bytes()
        sink.unlink()
        return data

    def _base(self, recipe: Recipe, frames: range) -> Path:
        """A file that holds the coded frames, with right times."""
        name = f"base-{recipe.codec}-{recipe.b_frames}-{recipe.matrix}-{frames.start}-{frames.stop}"
        if name not in self._bases:
            ending = "mp4" if recipe.codec in WITH_B else "nut" if recipe.codec in _OLD else "mkv"
            path = self._folder / f"{name}.{ending}"
            pictures = [numbered(number) for number in frames]
            if recipe.matrix != "none":
                store = MATRICES[recipe.matrix][1]
                pictures = [np.ascontiguousarray(store(picture)) for picture in pictures]
            _encode(path, recipe.codec, recipe.b_frames, pictures)
            self._bases[name] = path
        return self._bases[name]


def _packets(source: Any, recipe: Recipe) -> list[Any]:
    stream = source.streams.video[0]
    packets = [packet for packet in source.demux(stream) if packet.size]
    name = {"mpeg4": "dump_extra"}.get(recipe.codec, "")
    if recipe.container == "avi" and recipe.codec == "h264":
        name = "h264_mp4toannexb"
    if not name or recipe.container in ("mp4", "mov", "3gp", "mkv"):
        return packets
    # mp4 keeps the header apart, which most others want in front of key frames
    header = BitStreamFilterContext(name, stream)
    return [each for packet in packets for each in header.filter(packet)]


def _options(codec: str, b_frames: int) -> dict[str, str]:
    if codec == "h264":
        params = f"bframes={b_frames}:b-adapt=0:scenecut=0:open-gop={int(b_frames > 2)}"
        return {"preset": "veryfast", "g": "12", "crf": "15", "x264-params": params}
    if codec == "hevc":
        params = f"bframes={b_frames}:b-adapt=0:keyint=12:open-gop={int(b_frames > 2)}"
        return {"preset": "ultrafast", "x265-params": f"{params}:crf=15:log-level=none"}
    if codec in ("vp8", "vp9"):
        return {**_QUICK, "g": "12"}
    return {"g": "12", "bf": str(b_frames), "b_strategy": "0", "q": "3", "qmin": "2", "b": "3M"}


def _encode(path: Path, codec: str, b_frames: int, pictures: Sequence[np.ndarray]) -> None:
    options = _options(codec, b_frames)
    if codec not in WITH_B:
        options.pop("bf", None)
        options.pop("b_strategy", None)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(_ENCODERS.get(codec, codec), rate=FPS, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _extra(stream: Any, frames: Iterable[Any]) -> list[Any]:
    packets = [packet for frame in (*frames, None) for packet in stream.encode(frame)]
    for packet in packets:
        packet.stream = stream
    return packets


def _cover(out: Any) -> list[Any]:
    """A wide track with a single frame, as some cameras and editors write it."""
    stream = out.add_stream("mjpeg", rate=FPS)
    stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
    frame = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 90, np.uint8))
    frame.pts, frame.time_base = 0, Fraction(1, FPS)
    return _extra(stream, [frame])


def _preview(out: Any) -> list[Any]:
    """A small track as long as the film."""
    stream = out.add_stream("mpeg4", rate=FPS)
    stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
    frames = []
    for number in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 5 * number, np.uint8))
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        frames.append(frame)
    return _extra(stream, frames)


def _sound(out: Any, container: str) -> list[Any]:
    codec = {"ts": "mp2", "avi": "pcm_s16le"}.get(container, "aac")
    stream = out.add_stream(codec, rate=44100, layout="mono")
    kind = "fltp" if codec == "aac" else "s16"
    frames = []
    for start in range(0, 44100, 1152 if codec == "mp2" else 1024):
        length = 1152 if codec == "mp2" else 1024
        shape = (1, length)
        samples: Any = np.zeros(shape, np.float32 if codec == "aac" else np.int16)
        frame = av.AudioFrame.from_ndarray(samples, kind, "mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        frames.append(frame)
    return _extra(stream, frames)


def _retime(packets: Sequence[Any], clock: str) -> None:
    """Give packets the times of a clock, in ticks."""
    for packet in packets:
        base = packet.time_base * TICKS
        pts, dts = round(packet.pts * base), round(packet.dts * base)
        packet.pts, packet.dts = _time(pts, clock), _time(dts, clock)
        packet.time_base, packet.duration = Fraction(1, TICKS), STEP
        number = round(pts / STEP)
        if clock == "same" and number == 10:
            packet.pts = 9 * STEP
        if clock == "back" and number == 10:
            packet.pts = 7 * STEP
        packet.dts = min(packet.dts, packet.pts)


def _time(ticks: int, clock: str) -> int:
    number = round(ticks / STEP)
    return {
        "gap": ticks + (5 * TICKS if ticks >= _HALF else 0),
        "hour": ticks + (3600 * TICKS if ticks >= _HALF else 0),
        "varying": ticks + max(0, ticks - _HALF),
        "jitter": ticks + (0, 700, -700)[number % 3],
        "late": ticks + 20 * 3600 * TICKS,
        "early": ticks - 10 * STEP,
        "wrap": ticks + 2**33 - _HALF,
    }.get(clock, ticks)


def _turned(data: bytes, recipe: Recipe) -> bytes:
    """Write the display matrix into the header of the film's track."""
    if recipe.matrix == "none":
        return data
    a, b, c, d = MATRICES[recipe.matrix][0]
    stored = MATRICES[recipe.matrix][1](np.empty((HEIGHT, WIDTH))).shape
    changed, at = bytearray(data), -1
    while (at := data.find(b"tkhd", at + 1)) >= 0:
        width, height = (side >> 16 for side in struct.unpack_from(">II", data, at + 80))
        if (height, width) == stored:
            numbers = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
            struct.pack_into(">9i", changed, at + 44, *numbers)
    return bytes(changed)


def _tagged(data: bytes, recipe: Recipe) -> bytes:
    """Make declared durations and counts wrong, as editors leave them."""
    if recipe.tags != "stale":
        return data
    if recipe.container in ("mkv", "webm"):
        return re.sub(rb"00:00:\d\d\.\d{9}", b"00:15:02.193000000", data)
    changed = bytearray(data)
    if recipe.container == "avi":
        struct.pack_into("<I", changed, data.index(b"avih") + 8 + 16, 900)
        struct.pack_into("<I", changed, data.index(b"strh") + 8 + 32, 900)
    elif recipe.container == "flv":
        struct.pack_into(">d", changed, data.index(b"duration") + 9, 900.0)
    return bytes(changed)


def _damaged(data: bytes, recipe: Recipe, random: Random) -> bytes:
    unit = {"ts": 188, "m2ts": 192, "mpg": 2048}.get(recipe.container, 1)
    if recipe.damage == "cut":
        return data[: len(data) * 7 // 10]
    if recipe.damage == "begins late":
        return data[len(data) * 2 // 5 // unit * unit :]
    if recipe.damage == "loses packets":
        assert recipe.container in PACKED
        packets = [data[i : i + unit] for i in range(0, len(data), unit)]
        at = random.randrange(len(packets) // 3, len(packets) // 2)
        return b"".join([*packets[:at], *packets[at + 3 :]])
    if recipe.damage == "flipped":
        changed = bytearray(data)
        for _ in range(2):
            at = random.randrange(len(data) // 3, len(data) // 2)
            changed[at : at + 80] = random.randbytes(80)
        return bytes(changed)
    return data


def _trailer(kind: str, random: Random) -> bytes:
    return {
        "none": b"",
        "zeros": bytes(4096),
        "text": b"made by a maker of cameras; " * 40,
        "maker": struct.pack(">I4s", 10_000_000, b"beam") + bytes(300),
        "noise": random.randbytes(3001),
    }[kind]
