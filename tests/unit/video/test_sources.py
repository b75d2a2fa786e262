"""Footage on disks, with all that lies around there, and behind URLs."""

import functools
import http.server
import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from wanctl.errors import UserError
from wanctl.video.decode import read_clip
from wanctl.video.encode import write_video
from wanctl.video.footage import list_footage, scan_source
from wanctl.video.frames import FrameSpec
from wanctl.video.sources import SourceError, disk_path, local_copy, open_source, url_of
from wanctl.video.stream import VideoError


class Plain(http.server.SimpleHTTPRequestHandler):
    """Gives whole files only."""

    def log_message(self, *args):
        pass


class Ranged(Plain):
    """Gives parts of files, and counts the bytes it gave."""

    given = 0

    def do_GET(self):
        wanted = self.headers.get("Range")
        if not wanted:
            return super().do_GET()
        data = self._file().read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data)), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        self.send_header("Content-Length", str(end + 1 - start))
        self.end_headers()
        self.wfile.write(data[start : end + 1])
        Ranged.given += end + 1 - start
        return None

    def end_headers(self):
        if self.command == "HEAD":
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def _file(self):
        return Path(self.translate_path(self.path))


@pytest.fixture
def serve():
    """serve(folder, handler) -> its URL."""
    servers = []

    def start(folder, handler=Plain):
        bound = functools.partial(handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_url_survives_becoming_a_path_and_a_path_is_no_url():
    assert url_of(Path("s3://bucket/a b.mp4")) == "s3://bucket/a b.mp4"
    assert url_of("https://host/x.mp4?token=1") == "https://host/x.mp4?token=1"
    assert url_of("/films/odd:/name.mp4") is None
    assert url_of("C:/films/a.mp4") is None
    assert url_of("file:///films/a.mp4") is None
    assert disk_path("file:///films/a%20b.mp4") == Path("/films/a b.mp4")


NAMES = ("12:30.mp4", "-x.mp4", "%03d.mp4", "file:a.mp4", "pipe:0.mp4", "http:/h/a.mp4", "c:/a.mp4",
         "data:a.mp4", "concat:a.mp4|b.mp4", "a?b#c.mp4", "a b\nc.mp4", "~a.mp4", "@a.mp4", "*.mp4",
         "file:/a.mp4", "s3:/bucket/a.mp4")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_footage_of_any_name_is_read(tmp_path, monkeypatch, video, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(video.read_bytes())
    expected, _ = scan_source(str(video), 30)
    for source in (str(path), name):
        scanned, _ = scan_source(source, 30)
        assert scanned.info.content_hash == expected.info.content_hash
        assert url_of(source) is None
    for folder in (tmp_path, ".", Path(name).parts[0] if "/" in name else "."):
        (file,) = list_footage(folder).videos
        assert file.uri == str(path)


def test_everything_in_a_folder_is_accounted_for(tmp_path, video):
    folder = tmp_path / "footage"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(video.read_bytes())
    (folder / "sub/b.MOV").symlink_to(video)
    (folder / "notes.txt").touch()
    (folder / ".hidden.mp4").touch()
    (folder / "circle.mp4").symlink_to(folder / "circle.mp4")
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "sub/up").symlink_to(folder)
    (folder / "other").symlink_to(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/c.mp4").touch()
    (tmp_path / "other/back").symlink_to(folder / "sub")
    os.mkfifo(folder / "pipe.mp4")
    with open(os.fsencode(folder) + b"/latin-\xe9.mp4", "wb"):  # noqa: PTH123  bytes
        pass
    listing = list_footage(folder)
    names = [file.uri.removeprefix(f"{folder}/") for file in listing.videos]
    assert names == ["a.mp4", "other/c.mp4", "sub/b.MOV"]
    assert listing.others == 1
    found = {path.removeprefix(f"{folder}/"): kind for path, kind, _ in listing.problems}
    assert found == {
        "circle.mp4": "unreadable", "gone.mp4": "unreadable", "pipe.mp4": "no file",
        "sub/up": "link", "other/back": "link", "latin-\\xe9.mp4": "name",
    }  # fmt: skip


def test_a_folder_that_may_not_be_listed_is_a_problem_and_no_crash(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.mp4").touch()
    real = os.scandir

    def scandir(path):  # tests may run as root, whom no mode keeps out
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_footage(tmp_path)
    assert len(listing.videos) == 1
    ((path, kind, why),) = listing.problems
    assert (path, kind) == (str(tmp_path / "shut"), "unreadable")
    assert "Permission denied" in why


def test_a_folder_without_footage_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="no video among its 1 files"):
        list_footage(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        list_footage(f"file://{tmp_path}/missing")


def test_file_urls_are_paths(tmp_path, video):
    (tmp_path / "a b.mp4").write_bytes(video.read_bytes())
    (file,) = list_footage(f"file://{tmp_path}").videos
    assert file.uri == str(tmp_path / "a b.mp4")
    assert file.size == video.stat().st_size


@pytest.mark.parametrize("handler", [Plain, Ranged])
def test_footage_is_read_from_a_web_server(tmp_path, video, serve, handler):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.mp4").write_bytes(video.read_bytes())
    (tmp_path / "notes.txt").touch()
    url = serve(tmp_path, handler)
    listing = list_footage(url)
    (file,) = listing.videos
    assert (file.uri, file.size) == (f"{url}/deep/a.mp4", video.stat().st_size)
    assert listing.others == 1
    here, _ = scan_source(str(video), 30)
    there, _ = scan_source(file.uri, 30)
    assert there.info.content_hash == here.info.content_hash
    assert (there.pts == here.pts).all()
    end = int(here.pts[-1] + here.durations[-1])
    spec = FrameSpec(count=4)
    (mine,), (theirs,) = (
        read_clip(source, int(here.pts[3]), end, [spec], 96, 64) for source in (video, file.uri)
    )
    assert (mine.frames == theirs.frames).all()


def test_a_clip_of_a_long_file_fetches_its_part(tmp_path, serve):
    long = tmp_path / "long.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (120, 256, 256, 3), dtype=np.uint8)
    write_video(long, noise, 25, crf=10)
    assert long.stat().st_size > 6 << 20
    url = serve(tmp_path, Ranged)
    Ranged.given = 0
    read_clip(f"{url}/long.mp4", 0, 512 * 10, [FrameSpec(count=2)], 256, 256)
    assert 0 < Ranged.given < long.stat().st_size / 2


def test_a_missing_file_on_a_server_gives_one_line(tmp_path, serve):
    url = f"{serve(tmp_path)}/missing.mp4"
    with pytest.raises(SourceError, match=r"missing\.mp4: cannot be read"), local_copy(url):
        pass
    with pytest.raises(SourceError, match="cannot be read"), open_source(url):
        pass
    with pytest.raises(SourceError, match="ftq"):
        list_footage("ftq://host/folder")


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "webhdfs", "zip://a.mp4::ftp"])
def test_a_server_that_does_not_answer_is_no_empty_folder(scheme):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"{scheme}://user:secret@127.0.0.1:{taken.getsockname()[1]}/footage"
        with pytest.raises(SourceError) as caught:
            list_footage(url)
    message = str(caught.value)
    assert "secret" not in message
    assert len(message.splitlines()) == 1
    assert any(word in message for word in ("refused", "connect", "connection"))


def test_an_address_that_is_none_is_one_line():
    with pytest.raises(SourceError, match="Invalid IPv6"):
        list_footage("https://[::1/footage")


class Forgetful(Plain):
    """Lists a folder that is gone."""

    def do_GET(self):
        if self.path.startswith("/gone"):
            return self.send_error(404)
        return super().do_GET()


def test_a_folder_that_a_server_does_not_list_is_named(tmp_path, video, serve):
    (tmp_path / "gone").mkdir()
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    listing = list_footage(serve(tmp_path, Forgetful))
    assert [Path(file.uri).name for file in listing.videos] == ["a.mp4"]
    ((uri, kind, why),) = listing.problems
    assert uri.rstrip("/").endswith("/gone")
    assert (kind, why[:16]) == ("unreachable", "cannot be listed")


class Moody(Plain):
    """Breaks off in the middle of the first answer."""

    requested = 0

    def do_GET(self):
        Moody.requested += 1
        if Moody.requested > 1:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        return None


def test_a_brief_server_failure_loses_no_file(tmp_path, video, serve, monkeypatch):
    monkeypatch.setattr("wanctl.video.sources._PAUSES_S", (0.0, 0.0))
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    url = serve(tmp_path, Moody)
    with local_copy(f"{url}/a.mp4") as copy:
        assert copy.read_bytes() == video.read_bytes()
    assert Moody.requested == 2


def test_a_copy_is_deleted_and_errors_name_the_source(tmp_path, serve):
    (tmp_path / "bad.mp4").write_text("words\n" * 100)
    url = f"{serve(tmp_path)}/bad.mp4"
    with local_copy(url) as copy:
        assert copy.read_text().startswith("words")
    assert not copy.exists()
    with pytest.raises(VideoError, match=f"^{url}: not a video"):
        scan_source(url, 30)
