"""Folders full of files made to hurt: nothing hangs or crashes, and all is accounted for.

Every file that a kind makes is drawn from its number, so that two thousand of them are two
thousand different ones and a failure can be made again.
"""

import itertools
import os
import random
import re
import socket
import struct
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wanctl.cli import main as cli
from wanctl.video.footage import VIDEO_SUFFIXES, list_footage

FILTERS = "curate.filters={border: {}, exposure: {}, blur: {}}"
COMMAND = ["--recipe", "tiny", "--set", FILTERS, "--set", "curate.split.detector=adaptive"]
COMMAND += ["--set", "curate.split.min_clip_s=0", "--set", "curate.decode.timeout_s=20"]


def picture(index, height, width, channels=3, dtype=np.uint8, seed=0):
    """A moving gradient with a pattern, so that neither encoder nor decoder has it easy."""
    y, x = np.mgrid[:height, :width]
    base = (x * 3 + y * 2 + index * 5 + seed * 31)[..., None] + np.arange(channels) * 60
    if dtype == np.uint16:
        return ((base * 257) % 65536).astype(np.uint16)
    return (base % 256).astype(np.uint8)


def encode(
    path, *, codec="libx264", fmt="yuv420p", size=(64, 48), frames=12, container=None, **how
):
    """Write a video; `how` may hold options, rate, seed, rotation, aspect, pts and audio."""
    width, height = size
    with av.open(str(path), "w", format=container, options=how.get("muxer", {})) as file:
        stream = file.add_stream(codec, rate=how.get("rate", 12), options=how.get("options", {}))
        stream.width, stream.height, stream.pix_fmt = width, height, fmt
        if "aspect" in how:
            stream.codec_context.sample_aspect_ratio = Fraction(*how["aspect"])
        times = how.get("pts") or range(frames)
        for index, at in enumerate(times):
            frame = av.VideoFrame.from_ndarray(
                picture(index, height, width, seed=how.get("seed", 0)), format="rgb24"
            ).reformat(format=fmt)
            frame.pts, frame.time_base = at, Fraction(1, how.get("rate", 12))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


WHOLE = {
    "mp4": {},
    "mkv": {},
    "mov": {"codec": "mpeg4"},
    "webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "avi": {"codec": "mjpeg", "fmt": "yuvj420p"},
    "ts": {"codec": "mpeg2video"},
}


def whole(folder, number, suffix=None):
    suffix = suffix or list(WHOLE)[number % len(WHOLE)]
    return encode(folder / f"x{number}.{suffix}", seed=number, **WHOLE[suffix])


def truncated(folder, number):
    path = whole(folder, number)
    data = path.read_bytes()
    path.write_bytes(data[: random.Random(number).randrange(1, len(data))])


def flipped(folder, number):
    path = whole(folder, number)
    data, rng = bytearray(path.read_bytes()), random.Random(number)
    for _ in range(rng.choice([1, 2, 4, 16, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def torn(folder, number):
    """A run of bytes from the middle is gone, or is zeros, or stands twice."""
    path = whole(folder, number)
    data, rng = path.read_bytes(), random.Random(number)
    a = rng.randrange(len(data))
    b = min(len(data), a + rng.choice([1, 188, 512, 4096]))
    middle = (b"", bytes(b - a), data[a:b] * 2)[number % 3]
    path.write_bytes(data[:a] + middle + data[b:])


def wrong_suffix(folder, number):
    suffix = sorted(VIDEO_SUFFIXES)[number % len(VIDEO_SUFFIXES)]
    path = whole(folder, number)
    path.rename(path.with_suffix(f".is{suffix}"))


def no_video_at_all(folder, number):
    texts = [
        b"",
        b"\0" * 4096,
        b"not a video\n" * 40,
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"PK\x03\x04" + bytes(200),
        b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"\x1aE\xdf\xa3" + bytes(range(256)),
        b"\0\0\0\x20ftypisom" + bytes(64),
        b"RIFF\xff\xff\xff\xffAVI LIST",
        b"GIF89a\xff\xff\xff\xff" + bytes(20),
        random.Random(number).randbytes(5000),
    ]
    suffix = ("mp4", "mkv", "avi", "ts", "gif", "y4m", "mpg")[number % 7]
    (folder / f"x{number}.{suffix}").write_bytes(texts[number % len(texts)] + bytes(number // 12))


def patched_boxes(folder, number):
    """A header that lies: 100 hours, no time base, a hundred thousand pixels, a billion samples."""
    path = whole(folder, number, "mp4")
    data = bytearray(path.read_bytes())
    kind = number % 5
    if kind == 0:
        hours = 100 * 3600 * struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
        for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
            struct.pack_into(">I", data, data.index(box) + offset, hours)
    elif kind == 1:
        struct.pack_into(">I", data, data.index(b"mdhd") + 16, 0)
    elif kind == 2:
        struct.pack_into(">II", data, data.index(b"tkhd") + 80, 0x7FFF0000, 0x7FFF0000)
        struct.pack_into(">HH", data, data.index(b"avc1") + 28, 65535, 65535)
    elif kind == 3:
        struct.pack_into(">I", data, data.index(b"stts") + 12, 0x7FFFFFFF)
    else:
        struct.pack_into(">I", data, data.index(b"stsz") + 12, 1 << 30)
    path.write_bytes(data)


def long_header(folder, number):
    """A Matroska file whose duration is 100 hours."""
    path = whole(folder, number, "mkv")
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    struct.pack_into(">d", data, at, 360_000_000.0)
    path.write_bytes(data)


def odd(folder, number):
    sizes = [(2, 2), (16, 500), (34, 18), (1920, 16), (18, 1280), (66, 50), (4, 64)]
    size = sizes[number % len(sizes)]
    encode(folder / f"x{number}.mp4", size=size, seed=number, frames=3 + number % 3)


def odd_raw(folder, number):
    sizes = [(1, 1), (3, 5), (17, 33), (101, 7)]
    size = sizes[number % 4]
    encode(folder / f"x{number}.mkv", codec="ffv1", fmt="yuv444p", size=size, seed=number)


def one_frame(folder, number):
    encode(folder / f"x{number}.{('mp4', 'mkv')[number % 2]}", frames=1, seed=number)


def deep(folder, number):
    """16 bit, 10 bit with HDR transfer, alpha, grey, palette, lossless RGB."""
    name, (suffix, codec, fmt) = (
        f"x{number}",
        (
            ("mkv", "ffv1", "gray16le"),
            ("mkv", "ffv1", "rgb48le"),
            ("mkv", "ffv1", "yuv420p16le"),
            ("mp4", "libx264", "yuv420p10le"),
            ("mov", "prores_ks", "yuva444p10le"),
            ("mov", "png", "rgba"),
            ("mov", "qtrle", "argb"),
            ("webm", "libvpx-vp9", "yuva420p"),
            ("mkv", "libx264rgb", "rgb24"),
            ("mkv", "ffv1", "gray"),
        )[number % 10],
    )
    options = {"x264-params": "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"}
    how = {"options": options} if fmt == "yuv420p10le" else {}
    encode(folder / f"{name}.{suffix}", codec=codec, fmt=fmt, seed=number, frames=4, **how)


def no_video_stream(folder, number):
    suffix, codec = (("mp4", "aac"), ("mkv", "flac"), ("avi", "pcm_s16le"))[number % 3]
    path = folder / f"x{number}.{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=16000)
        sound = np.zeros((1, 4096 + number), np.int16)
        frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="mono")
        frame.rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def times(folder, number):
    """Frames at odd times: gaps, a late start, all at once, an hour between two."""
    pts = (
        [0, 1, 2, 50, 51, 300],
        list(range(100_000, 100_012)),
        [0, 43_200, 43_201],
        [0, 1, 3, 6, 10, 15, 21, 28],
    )[number % 4]
    encode(folder / f"x{number}.{('mp4', 'mkv')[number // 4 % 2]}", pts=pts, seed=number)


def shapes(folder, number):
    """Pixels far from square, and two sizes in one stream."""
    if number % 2:
        aspect = ((1, 1000), (1000, 1), (1, 3), (64, 45))[number // 2 % 4]
        encode(folder / f"x{number}.mkv", aspect=aspect, seed=number)
        return
    parts = [folder / f"x{number}-{i}.part" for i in range(2)]
    for part, size in zip(parts, ((64, 48), (96, 32)), strict=True):
        encode(part, codec="mpeg2video", container="mpegts", size=size, seed=number)
    joined = b"".join(part.read_bytes() for part in parts)
    for part in parts:
        part.unlink()
    (folder / f"x{number}.ts").write_bytes(joined)


def strange_names(folder, number):
    names = [
        f"新しい動画 {number} 🎬.mp4",
        f"new\nline {number}.mp4",
        f"tab\tand 'quotes' \"{number}\".mp4",
        f"-rf {number}.mp4",
        f"%d {number} %s $(id).mp4",
        f"x{number}" + "y" * 240 + ".mp4",
        f"e\u0301 {number} \u202egpm.mp4",
        f"x{number}.MP4",
    ]
    encode(folder / names[number % len(names)], seed=number, frames=6)


def raw_name(folder, number):
    """A name that is no UTF-8; a lone surrogate in Python."""
    path = whole(folder, number, "mp4")
    path.rename(folder / os.fsdecode(b"caf\xe9 %d.mp4" % number))


def links(folder, number):
    name = folder / f"x{number}.mp4"
    kind = number % 5
    if kind == 0:
        name.symlink_to(folder / "nowhere.mp4")
    elif kind == 1:
        other = folder / f"x{number}-b.mp4"
        name.symlink_to(other)
        other.symlink_to(name)
    elif kind == 2:
        (folder / f"loop{number}").symlink_to(folder, target_is_directory=True)
    elif kind == 3:
        (folder / f"up{number}").symlink_to(folder.parent, target_is_directory=True)
    else:
        target = whole(folder, number, "mkv")
        name.symlink_to(target)


def unreadable(folder, number):
    whole(folder, number).chmod(0)


def no_files(folder, number):
    """Things with the name of footage that are none."""
    path = folder / f"x{number}.mp4"
    kind = number % 4
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        (path / "a" / "b" / "c").mkdir(parents=True)
    elif kind == 2:
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(folder)  # a socket's path may be 107 bytes long
            try:
                server.bind(path.name)
            finally:
                os.chdir(here)
    else:
        path.mkdir()
        path.chmod(0)


def twins(folder, number):
    """The same bytes under two names."""
    path = whole(folder, number)
    path.with_name(f"y{number}{path.suffix}").write_bytes(path.read_bytes())


def others(folder, number):
    (folder / f"x{number}.{('txt', 'jpg', 'json', 'part')[number % 4]}").write_bytes(b"skipped")


KINDS = (
    truncated, flipped, torn, wrong_suffix, no_video_at_all, patched_boxes, long_header, odd,
    odd_raw, one_frame, deep, no_video_stream, times, shapes, strange_names, raw_name, links,
    unreadable, no_files, twins, others,
)  # fmt: skip
WHOLE_KINDS = (odd, odd_raw, one_frame, deep)  # strange, but nothing is wrong with them
HEAVY = 4  # of the kinds that damage files there are so many times as many


def fill(folder, count):
    """Make `count` entries, in folders by kind."""
    turns = itertools.cycle([*KINDS[:3] * HEAVY, *KINDS])
    for number, make in zip(range(count), turns, strict=False):
        place = folder / make.__name__
        place.mkdir(parents=True, exist_ok=True)
        make(place, number)


def entries(folder):
    """Every file, link and special file below a folder, as names without following links."""
    for where, folders, files in os.walk(folder):
        for name in files:
            yield Path(where) / name
        for name in folders:
            if (Path(where) / name).is_symlink():
                yield Path(where) / name


def rows(out, kind):
    files = sorted((out / "dataset" / kind).glob("*.parquet"))
    tables = [pq.read_table(pa.BufferReader(file.read_bytes())) for file in files]
    return [row for table in tables for row in table.to_pylist()]


def curate(folder, out):
    with pytest.raises(SystemExit) as stop:
        cli.main(["curate", str(folder), *COMMAND, "--out", str(out)])
    return stop.value.code


def check(folder, out):
    """Every entry is in the clips table, in quarantine, or skipped; says how many of each."""
    clips = {row["source"] for row in rows(out, "clips")}
    quarantined = {row["source"] for row in rows(out, "quarantine")}
    passed, lost = [], []
    for path in entries(folder):
        name = os.fsencode(path).decode(errors="backslashreplace")
        if name in clips or name in quarantined:
            continue
        (lost if path.suffix.lower() in VIDEO_SUFFIXES else passed).append(path)
    assert not lost
    found = list_footage(folder)
    plain = [path for path in passed if not path.is_symlink()]
    assert found.others == len(plain)
    quarantined_rows = rows(out, "quarantine")
    assert all(row["error"] and "\n" not in row["error"] for row in quarantined_rows)
    # "ValueError: ..." would be a mistake of ours; what is wrong with a file has words of its own
    assert not [
        row for row in quarantined_rows if re.match(r"\w+(Error|Exception)?: ", row["error"])
    ]
    odd_but_intact = {p for p in quarantined for kind in WHOLE_KINDS if f"/{kind.__name__}/" in p}
    assert not odd_but_intact
    kinds = {row["kind"] for row in rows(out, "quarantine")}
    return {
        "clips": len(clips),
        "quarantined": len(quarantined),
        "skipped": len(passed),
        "kinds": kinds,
    }


@pytest.mark.skipif(sys.platform == "win32", reason="makes pipes, sockets and links")
def test_every_kind_of_hostile_file_is_accounted_for(tmp_path):
    fill(tmp_path / "footage", 66)
    assert curate(tmp_path / "footage", tmp_path / "run") in (0, None)
    counts = check(tmp_path / "footage", tmp_path / "run")
    assert counts["clips"] >= 15
    assert counts["quarantined"] >= 15


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_hostile_files(tmp_path, capsys):
    fill(tmp_path / "footage", 2000)
    started = time.monotonic()
    assert curate(tmp_path / "footage", tmp_path / "run") in (0, None)
    seconds = time.monotonic() - started
    counts = check(tmp_path / "footage", tmp_path / "run")
    assert not {"timeout", "crash"} & counts["kinds"]
    with capsys.disabled():
        print(f"\n2000 hostile files in {seconds:.0f} s: {counts}")
