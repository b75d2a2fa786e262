"""`wanctl data review` as people run it: the address on stdout, one line for a mistake, Ctrl-C."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from review_set import VARIANTS, clip_name

from wanctl.cli.main import main
from wanctl.data.captions import read_decisions
from wanctl.labels.review.session import has_display


@pytest.fixture
def command(dataset, tmp_path):
    """Arguments of the command for the data set, which this process no longer locks."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"dataset: {{path: {dataset.path}}}\ncurate: {{decode: {{workers: 1}}}}\n")
    return ["data", "review", "--no-browser", "--recipe", str(recipe), "--out", str(tmp_path)]


def test_ctrl_c_ends_it_and_what_is_saved_is_kept(command, dataset):
    run = [sys.executable, "-m", "wanctl", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(run, stdout=pipe, stderr=pipe, text=True) as process:
        url = process.stdout.readline().strip()
        token = url.partition("token=")[2]
        change = (
            f'{{"id": "{clip_name(0)}", "variant": "{VARIANTS[0]}", "before": null,'
            ' "after": {"text": "saved", "backend": "vlm"}}'
        )
        request = urllib.request.Request(
            f"{url.partition('?')[0]}api/decide",
            f'{{"action": "edit", "changes": [{change}]}}'.encode(),
            {"X-Review-Token": token},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        rest, log = process.communicate(timeout=60)
    assert (process.returncode, rest) == (130, "")
    assert "1 captions reviewed, 1 of them now; 19 left" in log
    assert token not in log
    assert "Traceback" not in log
    assert read_decisions(dataset)[clip_name(0)][VARIANTS[0]].text == "saved"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--set", "dataset.path=nowhere"], "no data set there"),
        (["--port", "PORT"], "cannot listen there"),
        (["--port", "70000"], "Invalid value for '--port'"),
        (["--host", "no such host"], "--host no such host --port 0: cannot listen there"),
    ],
)
def test_a_mistake_is_one_line(command, arguments, line, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as ended:
            main([*command, *(port if each == "PORT" else each for each in arguments)])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert line in " ".join(printed.err.split())
    assert "Traceback" not in printed.err


def test_a_browser_is_opened_only_where_there_is_a_display(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
