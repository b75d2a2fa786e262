"""Footage opens no other file, whatever its bytes or its name say."""

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path

import av
import av.format
import fsspec
import numpy as np
import pytest

from wanctl.errors import UserError
from wanctl.exchange.media import probe_media
from wanctl.video import opening
from wanctl.video.encode import write_video
from wanctl.video.image_files import read_image
from wanctl.video.opening import DEMUXERS, VideoError, open_container
from wanctl.video.probe import scan

M3U = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:5\n"
SEGMENT = "#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet contentType="video"><Representation '
    'id="1" bandwidth="1" codecs="avc1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>"
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
CPL = (
    '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "<SegmentList><Segment><SequenceList><Resource><TrackFileId>{url}</TrackFileId></Resource>"
    "</SequenceList></Segment></SegmentList></CompositionPlaylist>"
)
TEXTS = {
    "concat.mp4": "ffconcat version 1.0\nfile '{url}'\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile 'file:{url}'\nduration 1\n",
    "concat-option.mkv": "ffconcat version 1.0\nfile '{url}'\noption protocol_whitelist file\n",
    "concat-plain.txt.mp4": "file '{url}'\n",
    "concat-stream.mp4": "ffconcat version 1.0\nstream\nfile '{url}'\n",
    "media.m3u8": M3U + SEGMENT,
    "media.mp4": M3U + SEGMENT,
    "media-file.ts": M3U + SEGMENT.replace("{url}", "file:{url}"),
    "media-range.mp4": M3U + "#EXT-X-BYTERANGE:500@0\n" + SEGMENT,
    "media-map.mp4": M3U + '#EXT-X-MAP:URI="{url}"\n' + SEGMENT,
    "media-key.mp4": M3U + '#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n' + SEGMENT,
    "master.mp4": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
    "master-audio.mp4": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="{url}"\n',
    "manifest.mpd": MPD,
    "manifest.mp4": MPD,
    "webm_dash.webm": MPD.replace("avc1", "vp9"),
    "stream.sdp": SDP,
    "stream.mp4": SDP,
    "stream.rtsp": "RTSP/1.0 200 OK\nContent-Base: {url}\n",
    "redirect.asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "redirect.wmv": "[Reference]\nRef1={url}\n",
    "redirect.ram": "file://{url}\n",
    "list.pls": "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
    "list.xspf": (
        "<playlist><trackList><track><location>{url}</location></track></trackList></playlist>"
    ),
    "show.smil": '<smil><body><video src="{url}"/></body></smil>',
    "composition.xml.mp4": CPL,
    "graph.lavfi": "movie={url}",
    "graph.mp4": "lavfi:movie={url}[out0]",
    "script.avs": 'FFmpegSource2("{url}")\n',
    "subtitles.idx": "# VobSub index file, v7\nsize: 720x576\nid: en, index: 0\n",
    "tee.mp4": "[f=mp4]{url}|[f=mpegts]{url}",
    "chapters.mp4": ";FFMETADATA1\ntitle={url}\n",
    "image.svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>',
    "image.eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({url}) run\n",
    "image.mvg": "push graphic-context\nimage over 0,0 0,0 '{url}'\npop graphic-context\n",
    "image.png": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({url}) run\n",
}
NAMES = (
    "concat:secret.mp4|secret.mp4", "concatf:list.txt", "file:secret.mp4", "cache:secret.mp4",
    "subfile,,start,0,end,0,,:secret.mp4", "async:secret.mp4", "crypto:secret.mp4", "pipe:0",
    "data:video/mp4,secret.mp4", "fd:0", "tee:secret.mp4", "lavfi:movie=secret.mp4", "-i",
    "frame_%03d.png", "frame_*.png", "http:secret.mp4", "@secret.mp4", "hls+file:secret.mp4",
    "md5:secret.mp4",
)  # fmt: skip


class Opens:
    """Names of the files of one folder that this process opened, counted by the kernel."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK)
        self._libc.inotify_add_watch(self._handle, os.fsencode(folder), 0x20)  # IN_OPEN

    def take(self) -> list[str]:
        names = []
        try:
            data = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return []
        while data:
            length = struct.unpack_from("iIII", data)[3]
            names.append(os.fsdecode(data[16 : 16 + length].rstrip(b"\0")))
            data = data[16 + length :]
        return names

    def close(self) -> None:
        os.close(self._handle)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with videos and images that must not be read."""
    folder = tmp_path_factory.mktemp("planted")
    frames = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8)
    write_video(folder / "secret.mp4", frames, 8)
    (folder / "frame_001.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "subtitles.sub").write_bytes(b"\0\0\1\xba" + bytes(2000))
    (folder / "external.m00").write_bytes(bytes(2000))
    return folder


@pytest.fixture
def opens(folder):
    watch = Opens(folder)
    yield watch
    watch.close()


def readers(path: Path) -> list:
    """Every way in which the program opens a file of somebody else's."""
    data = path.read_bytes() if path.is_file() else b""
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"/{path.name}", data)

    def read(source):
        with open_container(source) as container:
            return [packet.size for packet in container.demux()]

    return [
        lambda: read(path),
        lambda: read(f"memory://{path.name}"),
        lambda: scan(path, 8),
        lambda: probe_media(path),
        lambda: read_image(path),
    ]


def refused(path: Path, opens: Opens) -> None:
    ways = readers(path)
    opens.take()
    for read in ways:
        with pytest.raises(UserError) as error:
            read()
        assert "\n" not in str(error.value)
    assert set(opens.take()) <= {path.name}


def test_the_watch_sees_what_ffmpeg_opens(folder, opens):
    with av.open(str(folder / "secret.mp4")):
        pass
    assert opens.take() == ["secret.mp4"]
    path = folder / "list.ffconcat"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with av.open(str(path)):
        pass
    assert "secret.mp4" in opens.take()


@pytest.mark.parametrize("url", ["absolute", "relative"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_list_of_other_files_is_no_footage(name, url, folder, opens):
    secret = str(folder / "secret.mp4") if url == "absolute" else "secret.mp4"
    path = folder / f"{url}-{name}"
    path.write_text(TEXTS[name].replace("{url}", secret))
    refused(path, opens)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(name, folder, opens, monkeypatch):
    monkeypatch.chdir(folder)
    opens.take()
    for read in readers(Path(name)):
        with pytest.raises(UserError):
            read()
    assert set(opens.take()) <= {name}


def with_external_data(video: bytes, kind: bytes, secret: str) -> bytes:
    """An mp4 whose data reference names another file: `alis` as FFmpeg reads it, or `url `."""
    if kind == b"alis":
        name = secret.encode()
        record = bytes(10) + bytes([3]) + b"vol".ljust(27, b"\0") + bytes(12)
        record += bytes([6]) + b"secret".ljust(63, b"\0") + bytes(16) + struct.pack(">HH", 1, 1)
        record += bytes(16) + struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2)
        record += struct.pack(">HH", 0xFFFF, 0)
    else:
        record = f"file://{secret}".encode() + b"\0"
    entry = struct.pack(">I", 12 + len(record)) + kind + bytes(4) + record
    position = video.index(b"dref") + 12  # after version, flags and count
    length = struct.unpack_from(">I", video, position)[0]
    data = bytearray(video[:position] + entry + video[position + length :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.index(box) - 4
        struct.pack_into(
            ">I", data, at, struct.unpack_from(">I", data, at)[0] + len(entry) - length
        )
    return bytes(data)


@pytest.mark.parametrize("kind", [b"alis", b"url "])
def test_external_data_of_a_movie_is_not_read(kind, folder, opens):
    secret = folder / "secret.mp4"
    path = folder / f"external-{kind.decode().strip()}.mov"
    path.write_bytes(with_external_data(secret.read_bytes(), kind, str(secret)))
    if kind == b"alis":  # FFmpeg would follow this one when it is allowed to
        allowed = {"enable_drefs": "1", "use_absolute_path": "1"}
        with av.open(str(path), options=allowed) as container:
            assert list(container.demux())
        assert "secret.mp4" in opens.take()
    ways = readers(path)
    opens.take()
    for read in ways:
        with suppress(UserError):
            read()
    assert set(opens.take()) <= {path.name}


def element(key: str, data: bytes) -> bytes:
    return bytes.fromhex(key) + struct.pack(">Q", 1 << 56 | len(data)) + data


def test_linked_segments_and_companion_files_are_not_read(folder, opens):
    info = element("2ad7b1", b"\x0f\x42\x40") + element("3e83bb", b"secret.mp4")
    info += element("3eb923", bytes(16)) + element("3c83ab", b"secret.mp4")
    head = element("1a45dfa3", element("4282", b"matroska"))
    linked = folder / "linked.mkv"
    linked.write_bytes(head + element("18538067", element("1549a966", info)))
    refused(linked, opens)
    lantern = folder / "external.mlv"
    lantern.write_bytes(b"MLVI" + struct.pack("<I", 52) + b"v2.0".ljust(44, b"\0"))
    refused(lantern, opens)


@pytest.mark.parametrize("make", ["folder", "pipe", "empty", "missing", "nul"])
def test_what_is_no_file_is_refused_at_once(make, tmp_path):
    path = tmp_path / "a.mp4"
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    elif make == "empty":
        path.touch()
    elif make == "nul":
        path = tmp_path / "a\0.mp4"
    with pytest.raises(VideoError) as error, open_container(path):
        pass
    assert "\n" not in str(error.value)


def test_every_demuxer_that_is_allowed_exists_and_no_list_is_among_them():
    for name in DEMUXERS:
        av.format.ContainerFormat(name, "r")
    lists = "concat hls dash imf sdp rtsp rtp image2 image2pipe lavfi vobsub webm_dash_manifest mlv"
    assert not DEMUXERS & set(
        f"{lists} data ffmetadata tty srt ass webvtt svg_pipe psd_pipe".split()
    )


def test_an_index_that_leads_in_front_of_the_file_is_an_error_code(video):
    """FFmpeg seeks there; PyAV prints whatever a file object raises, with a traceback."""
    with video.open("rb", buffering=0) as file:
        nameless = opening._Nameless(file)
        assert nameless.seek(-5, 0) < 0
        assert nameless.seek(5, 0) == 5
