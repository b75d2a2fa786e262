"""What is footage is settled by content; every file that is none is counted by its ending."""

import functools
import http.server
import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from wanctl.errors import UserError
from wanctl.video import footage
from wanctl.video.content.endings import OTHER_SUFFIXES, TEXT_SUFFIXES, VIDEO_SUFFIXES, by_ending
from wanctl.video.content.sniffing import HEAD_BYTES, by_first_bytes
from wanctl.video.footage import list_footage

# (muxer, codec, pixel format): whatever FFmpeg writes and reads again as one file
CONTAINERS = (
    ("mp4", "libx264", "yuv420p"), ("mov", "mpeg4", "yuv420p"), ("3gp", "mpeg4", "yuv420p"),
    ("matroska", "libx264", "yuv420p"), ("webm", "libvpx-vp9", "yuv420p"),
    ("avi", "mpeg4", "yuv420p"), ("mpegts", "mpeg2video", "yuv420p"),
    ("mpeg", "mpeg1video", "yuv420p"), ("vob", "mpeg2video", "yuv420p"),
    ("flv", "flv1", "yuv420p"), ("asf", "msmpeg4v3", "yuv420p"), ("mxf", "mpeg2video", "yuv420p"),
    ("ogg", "libvpx", "yuv420p"), ("nut", "ffv1", "yuv420p"),
    ("ivf", "libvpx", "yuv420p"), ("yuv4mpegpipe", "wrapped_avframe", "yuv420p"),
    ("gif", "gif", "rgb8"), ("h264", "libx264", "yuv420p"), ("hevc", "libx265", "yuv420p"),
    ("mpeg2video", "mpeg2video", "yuv420p"), ("m4v", "mpeg4", "yuv420p"),
    ("rm", "rv20", "yuv420p"), ("swf", "flv1", "yuv420p"), ("dv", "dvvideo", "yuv420p"),
    ("apng", "apng", "rgb24"), ("smjpeg", "mjpeg", "yuvj420p"),
    ("obu", "libsvtav1", "yuv420p"), ("filmstrip", "rawvideo", "rgba"),
)  # fmt: skip
UNMARKED = ("filmstrip",)  # its signature is at the end of the file


def encode(path: Path, muxer: str, codec: str, pixels: str) -> None:
    size = (720, 576) if muxer in ("dv", "mxf") else (176, 144)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if codec in ("dvvideo", "wrapped_avframe") else pixels
        for index in range(12):
            image = np.random.default_rng(index).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a file of every container, called after its muxer."""
    folder = tmp_path_factory.mktemp("containers")
    for muxer, codec, pixels in CONTAINERS:
        encode(folder / muxer, muxer, codec, pixels)
    return folder


@pytest.mark.parametrize("name", ["{}", "{}.bin", "{}.mp4.part", "{} 12:30", "{}.ÿ", "{}.001"])
def test_any_container_is_footage_under_any_name(made, tmp_path, name):
    expected = []
    for path in made.iterdir():
        (tmp_path / name.format(path.name)).symlink_to(path)
        if path.name not in UNMARKED:
            expected.append(str(tmp_path / name.format(path.name)))
    listing = list_footage(tmp_path)
    assert [file.uri for file in listing.videos] == sorted(expected)
    assert listing.others == len(UNMARKED)
    assert not listing.problems


NOT_FOOTAGE = {
    "text": b"not a video\n" * 900,
    "chinese": "不是视频".encode() * 900,
    "utf16": "not a video".encode("utf-16") * 90,
    "page": b"<!DOCTYPE html><video src='a.mp4'>",
    "playlist": b"#EXTM3U\n#EXTINF:10,\na.mp4\n",
    "concat": b"ffconcat version 1.0\nfile 'a.mp4'\n",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(64),
    "heic": b"\0\0\0\x18ftypheic" + bytes(64),
    "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(64),
    "mp3": b"ID3\x04" + bytes(900),
    "zip": b"PK\x03\x04" + bytes(200),
    "weights": b'\x40\0\0\0\0\0\0\0{"__metadata__":{}}' + bytes(900),
    "zeros": bytes(9000),
    "noise": np.random.default_rng(0).bytes(300_000),
    "empty": b"",
}


def test_what_is_no_footage_is_counted_by_its_ending(tmp_path, video):
    (tmp_path / "film.mp4").write_bytes(video.read_bytes())
    for name, data in NOT_FOOTAGE.items():
        (tmp_path / f"{name}.XYZ").write_bytes(data)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "go.mod").write_text("module example.com/x\n")
    (tmp_path / "app.ts").write_text("export const x = 1;\n")
    (tmp_path / "a.txt").touch()
    (tmp_path / ".hidden.mp4").touch()
    os.mkfifo(tmp_path / "pipe")
    listing = list_footage(tmp_path)
    assert [Path(file.uri).name for file in listing.videos] == ["film.mp4"]
    count = len(NOT_FOOTAGE)
    expected = {".xyz": count, "": count + 1, ".mod": 1, ".ts": 1, ".txt": 1}
    assert listing.passed == expected
    assert (listing.hidden, listing.problems) == (1, [])
    assert listing.passed_over().startswith(f"{count + 1} without an ending, {count} .xyz, 1 .mod")


def test_an_ending_of_sound_and_video_is_settled_by_content(tmp_path):
    encode(tmp_path / "film.ogg", "ogg", "libvpx", "yuv420p")
    with av.open(str(tmp_path / "song.ogg"), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    encode(tmp_path / "film.mp4.bak", "mp4", "libx264", "yuv420p")
    encode(tmp_path / "film.ps", "mpeg", "mpeg1video", "yuv420p")
    listing = list_footage(tmp_path)
    names = [Path(file.uri).name for file in listing.videos]
    assert names == ["film.mp4.bak", "film.ogg", "film.ps"]
    assert listing.passed == {".ogg": 1}


def test_a_folder_without_footage_says_what_it_holds(tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.dat").write_bytes(bytes(900))
    with pytest.raises(UserError, match=r"no video among its 2 files \(1 \.dat, 1 \.txt\)"):
        list_footage(tmp_path)


def test_known_endings_are_not_opened(tmp_path, monkeypatch, video):
    (tmp_path / "film.MOV").write_bytes(video.read_bytes())
    for index in range(50):
        (tmp_path / f"{index}.jpg").write_bytes(video.read_bytes())
        (tmp_path / f"{index}.mkv").write_bytes(b"anything")
    monkeypatch.setattr(footage, "read_head", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(footage, "DecodePool", lambda *_: pytest.fail("started"))
    listing = list_footage(tmp_path)
    assert (len(listing.videos), listing.passed) == (51, {".jpg": 50})


def test_a_file_that_ffmpeg_hangs_on_is_told(tmp_path, monkeypatch, video):
    (tmp_path / "film.mp4").write_bytes(video.read_bytes())
    (tmp_path / "slow.bin").write_bytes(b"\1" * 9000)
    monkeypatch.setattr(footage, "_LIMIT_S", 0.0)
    listing = list_footage(tmp_path)
    assert [Path(file.uri).name for file in listing.videos] == ["film.mp4"]
    ((path, kind, why),) = listing.problems
    assert (Path(path).name, kind) == ("slow.bin", "timeout")
    assert why.startswith("FFmpeg cannot look into it")


def test_an_unreadable_file_of_unknown_ending_is_told(tmp_path, monkeypatch, video):
    (tmp_path / "film.mp4").write_bytes(video.read_bytes())
    (tmp_path / "locked.bin").touch()

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(footage, "read_head", denied)
    assert list_footage(tmp_path).problems == [
        (str(tmp_path / "locked.bin"), "unreadable", "cannot be read: Permission denied")
    ]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_files_behind_a_url_are_looked_into(made, tmp_path):
    for path in made.iterdir():
        (tmp_path / f"{path.name}.bin").symlink_to(path)
    (tmp_path / "notes.bin").write_text("words\n" * 100)
    (tmp_path / "list.txt").touch()
    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        listing = list_footage(url)
    finally:
        server.shutdown()
        server.server_close()
    expected = sorted(f"{url}/{p.name}.bin" for p in made.iterdir() if p.name not in UNMARKED)
    assert [file.uri for file in listing.videos] == expected
    assert listing.passed == {".bin": 1 + len(UNMARKED), ".txt": 1}


def test_endings_are_of_one_kind():
    assert not VIDEO_SUFFIXES & OTHER_SUFFIXES
    assert TEXT_SUFFIXES <= VIDEO_SUFFIXES
    assert by_ending("A.MP4") == by_ending("a.b.mxf") == by_ending("x.qt") == "video"
    assert by_ending("a.m3u8") == by_ending("Thumbs.db") == "other"
    assert by_ending("a.part") == by_ending("film") == by_ending("a.ts") == "unknown"


def test_a_text_cut_within_a_character_is_a_text():
    text = ("ä" * HEAD_BYTES).encode()
    assert by_first_bytes("a", text[:HEAD_BYTES]) is False
    assert by_first_bytes("a", b"x" + text[: HEAD_BYTES - 1]) is False
