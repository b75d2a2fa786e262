"""What captioning refuses: one line, exit 2, and what was captioned before is still there.

bad_captions.py is the table.
"""

import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bad_captions import CASES, CLIPS, KEY, RECIPE, make_world, settings

from tests.unit.vlm.stub_server import FaultPlan, StubServer
from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir

RUN = ["caption", "--recipe", "small.yaml"]


def call(arguments):
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    make_world(tmp_path)
    return tmp_path


def write_recipe(url):
    Path("small.yaml").write_text(RECIPE.replace("SERVER", url), encoding="utf-8")


def structures():
    dataset = DatasetDir.open(Path("dataset"))
    return [
        row["id"]
        for table in dataset.tables("structures")
        for row in dataset.read(table).to_pylist()
    ]


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_no_key_is_shown(name, world, monkeypatch, capsys):
    arguments, expected, change, options = CASES[name]
    with StubServer(key=KEY, **options) as server:
        write_recipe(server.url)
        if change is not None:
            change(*([monkeypatch] if inspect.signature(change).parameters else []))
        assert call([*RUN, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [
        each for each in captured.err.splitlines() if "WARNING" not in each and "INFO" not in each
    ]
    assert len(lines) == 1, captured.err
    assert expected in lines[0]
    assert len(lines[0]) < 600
    assert "0123456789abcdef" not in captured.err.replace("000000", "")


def test_a_full_disk_keeps_what_was_finished(world, monkeypatch, capsys):
    with StubServer(key=KEY) as server:
        write_recipe(server.url)
        with monkeypatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY)
            CASES["the disk is full"].change(patch)
            assert call(RUN) == 2
        done = structures()
        assert len(done) == 3
        before = dict(server.requests)
        assert call(RUN) == 0
        assert sorted(structures()) == [f"{number:016x}" for number in range(CLIPS)]
        assert {each: server.requests[each] for each in done} == {
            each: before[each] for each in done
        }


def test_ctrl_c_ends_it_while_requests_hang_and_keeps_what_is_finished(world):
    """The last requests are never answered."""
    last = [f"{number:016x}" for number in range(3, CLIPS)]

    class Hanging(FaultPlan):
        def draw(self, question):
            return "hang" if any(each in question for each in last) else None

    with StubServer(key=KEY, faults=Hanging({})) as server:
        write_recipe(server.url)
        arguments = settings("caption.model.timeout_s=300")
        process = subprocess.Popen(
            [sys.executable, "-m", "wanctl", *RUN, *arguments], stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 60
        while time.monotonic() < until and sum(map(server.requests.__getitem__, last)) < 3:
            time.sleep(0.01)
        while time.monotonic() < until and sum(server.answered.values()) < 6:
            time.sleep(0.01)
        time.sleep(0.3)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        seconds = time.monotonic() - started
    assert process.returncode == 130, err
    assert err.splitlines()[-1].endswith("stopped; the same command goes on from here")
    assert "Traceback" not in err
    assert seconds < 15, "1 s on a machine that does nothing else"
    assert sorted(structures()) == [f"{number:016x}" for number in range(3)]
