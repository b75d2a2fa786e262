"""A planted password is in nothing that a run writes or prints, and the run opens its footage."""

import base64
import functools
import html
import http.server
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from wanctl import credentials
from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir

PASSWORD = "c0rrect-h0rse-battery"
USER = "annabel-the-user"
CHEAP = ["--recipe", "tiny", "--set", "curate.filters={duration: {min_s: 0.2}, border: {}}"]
CHEAP += ["--set", "curate.split.detector=none", "--set", "curate.decode.workers=1"]
CHEAP += ["--set", "train_dit.buckets=[{frames: 5, height: 32, width: 48}]"]
CHEAP += ["--set", "caption.sidecar_dir=null"]
CHEAP += ["--set", "caption.backends=[sidecar, template]"]


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Asks for a password, or for a token in the query; lists signed links in that case."""

    token = False

    def do_GET(self):
        if not self._allowed():
            self.send_error(401, f"wrong: {self.path} {self.headers.get('Authorization')}")
        elif self.path.partition("?")[0].endswith("forbidden.mp4"):
            self.send_error(403, f"no: {self.path} {self.headers.get('Authorization')}")
        else:
            super().do_GET()

    def do_HEAD(self):
        if self._allowed():
            super().do_HEAD()
        else:
            self.send_error(401)

    def list_directory(self, path):
        import io

        names = sorted(each.name for each in Path(path).iterdir())
        query = f"?token={PASSWORD}&part=1" if self.token else ""
        links = [f'<a href="{html.escape(name + query)}">{name}</a>' for name in names]
        text = "\n".join(links).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        return io.BytesIO(text)

    def log_message(self, *args):
        pass

    def _allowed(self):
        if self.token:
            return parse_qs(urlsplit(self.path).query).get("token") == [PASSWORD]
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {login}"


@pytest.fixture(params=["password", pytest.param("token", marks=pytest.mark.slow)])
def footage(request, make_clip, tmp_path, monkeypatch):
    """(URL with credentials, URL without) of a server with good and broken footage."""
    monkeypatch.setattr(credentials, "_table", {})
    monkeypatch.setattr("wanctl.redact._known", set())
    folder = tmp_path / "served"
    folder.mkdir()
    make_clip(folder / "good.mp4", 0)
    make_clip(folder / "other.mp4", 90)
    (folder / "forbidden.mp4").write_bytes(b"x" * 100)
    (folder / "broken.mp4").write_bytes((folder / "good.mp4").read_bytes()[:900])
    token = request.param == "token"
    handler = type("Handler", (Guarded,), {"token": token})
    bound = functools.partial(handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    login = "" if token else f"{USER}:{PASSWORD}@"
    query = f"?token={PASSWORD}" if token else ""
    yield f"http://{login}{host}/{query}", f"http://{host}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def make_clip():
    import numpy as np

    from wanctl.video.encode import write_video

    def make(path, shift):
        ramp = np.tile(np.arange(96, dtype=np.uint8)[None, :, None], (64, 1, 3))
        frames = [np.roll(ramp, 3 * index + shift, axis=1) for index in range(24)]
        write_video(path, iter(frames), 24.0, crf=20)

    return make


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code or 0


def secrets_in(folder):
    """Files below a folder that hold the user, the password, or what a header makes of them."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            text += str(pq.read_table(path).to_pylist())
        found += [path for secret in (USER, PASSWORD, login, login[:-4]) if secret in text]
    return found


def test_a_planted_password_is_nowhere(footage, tmp_path, capfd, monkeypatch):
    url, bare = footage
    monkeypatch.chdir(tmp_path)
    out, export = tmp_path / "run", tmp_path / "export"
    codes = [
        run("curate", url, *CHEAP, "--out", out),
        run("curate", url, *CHEAP, "--out", out),
        run("data", "select", *CHEAP, "--out", out),
        run("data", "report", *CHEAP, "--out", out),
        run("caption", *CHEAP, "--out", out),
        run("data", "check", *CHEAP, "--csv", tmp_path / "check.csv", "--out", out),
        run("data", "export", export, *CHEAP, "--out", out),
        run("recipe", "show", "tiny", "--set", f"sample.image={url}"),
    ]
    printed = "".join(capfd.readouterr())
    assert codes == [0] * 8, printed
    dataset = DatasetDir.open(out / "dataset")
    sources = dataset.clips(["source"])["source"].to_pylist()
    names = sorted({source.removeprefix(bare).partition("?")[0] for source in sources})
    assert names == ["good.mp4", "other.mp4"]
    failed = dataset.read("quarantine")["source"].to_pylist()
    assert sorted({each.removeprefix(bare).partition("?")[0] for each in failed}) == [
        "broken.mp4",
        "forbidden.mp4",
    ]
    assert len(list(export.rglob("*.mp4"))) == 2
    # another process, which does not know the URL
    monkeypatch.setattr(credentials, "_table", {})
    later = tmp_path / "later"
    assert run("data", "export", later, *CHEAP, "--out", out) == 2
    printed += "".join(capfd.readouterr())
    assert credentials.VARIABLE in printed
    monkeypatch.setenv(credentials.VARIABLE, url)
    assert run("data", "export", tmp_path / "late", *CHEAP, "--out", out) == 0
    monkeypatch.delenv(credentials.VARIABLE)
    monkeypatch.setattr(credentials, "_table", {})
    wrong = url.replace(PASSWORD, f"{PASSWORD}-wrong")
    for arguments in (
        ("curate", wrong, *CHEAP, "--out", tmp_path / "wrong"),
        ("curate", f"{url}/nothing-here", *CHEAP, "--out", tmp_path / "nothing"),
        ("curate", url.replace("http:", "gopher:"), *CHEAP, "--out", tmp_path / "gopher"),
        ("curate", url, *CHEAP, "--out", out, "--set", f"dataset.selection={url}"),
        ("curate", url, *CHEAP, "--out", out, "--set", f"nothing.here={url}"),
        ("curate", url, *CHEAP, "--out", out, "--set", "curate.split.max_clip_s=0.5"),
        ("curate", url, *CHEAP, "--out", url),
        ("curate", url, *CHEAP, "--shard", url),
        ("curate", url, url, *CHEAP),
        ("data", "check", url, *CHEAP),
    ):
        assert run(*arguments) == 2, arguments
    printed += "".join(capfd.readouterr())
    command = [sys.executable, "-m", "wanctl", "--debug", "curate", wrong, *CHEAP]
    command += ["--out", str(tmp_path / "debug")]
    traced = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in traced.stderr
    printed += traced.stderr + traced.stdout
    joined = "".join(printed.split())  # the terminal wraps long words
    assert USER not in joined
    assert PASSWORD not in joined
    served = tmp_path / "served"
    assert [path for path in secrets_in(tmp_path) if served not in path.parents] == []
