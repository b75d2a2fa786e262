"""Ctrl-C at any moment: exit 130, one line, no traceback, no process left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bad_input_world import make_world
from bad_inputs import TINY


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupt")
    make_world(folder)
    for number in range(60):
        data = (folder / "footage" / "good.mp4").read_bytes()
        # a box of its own makes each a file of its own
        box = (8 + number).to_bytes(4, "big") + b"free" + bytes(number)
        (folder / "footage" / f"{number}.mp4").write_bytes(data + box)
    return folder


def start(arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "wanctl", *arguments], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def workers_of(process):
    """Command lines of decoding workers that this process started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parts = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"wanctl.video.workers.worker_main" in parts and str(process.pid).encode() in parts:
            found.append(parts)
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("moment", ["workers start", "workers work"])
def test_curation_ends_with_130_and_its_workers_with_it(moment, footage):
    shutil.rmtree(footage / "runs", ignore_errors=True)
    process = start(["curate", "footage", *TINY, "--set", "curate.split.detector=none"], footage)
    units = footage / "runs/tiny/log.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if workers_of(process) and (moment == "workers start" or units.exists()):
            break
        time.sleep(0.005)
    assert workers_of(process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].endswith("stopped; the same command goes on from here")
    assert "Traceback" not in err
    time.sleep(0.5)
    assert workers_of(process) == []


@pytest.mark.parametrize("delay_s", [0.3, 0.6, 0.9])
def test_a_command_that_is_still_loading(delay_s, footage):
    process = start(["doctor"], footage)
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    # a signal that comes before the program's first line ends Python itself; shells show 130
    assert process.returncode in (130, -signal.SIGINT)
    assert "wanctl" not in err.partition("Traceback")[2]


def test_a_second_ctrl_c_ends_it_too(footage):
    shutil.rmtree(footage / "runs", ignore_errors=True)
    process = start(["curate", "footage", *TINY, "--set", "curate.split.detector=none"], footage)
    until = time.monotonic() + 60
    while not workers_of(process) and time.monotonic() < until:
        time.sleep(0.005)
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
