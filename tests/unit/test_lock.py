import errno
import os
import subprocess
import sys
import time

import pytest

from wanctl.lock import LockedError, lock_alone, locked

HOLD = """
import sys, time
from pathlib import Path
from wanctl.lock import locked
with locked(Path(sys.argv[1]), *sys.argv[2:]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path / "out"`."""
    started = []

    def start(*what):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "out"), *what],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_folder_in_use_is_refused_and_the_process_named(holder, tmp_path):
    process = holder()
    with pytest.raises(LockedError, match=f"process {process.pid}"), locked(tmp_path / "out"):
        pass
    process.kill()
    process.wait()
    with locked(tmp_path / "out"):
        pass


def test_nothing_of_a_lock_stays(tmp_path):
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / ".lock").exists()
        with locked(tmp_path / "a" / "b"):  # a second time by the same process
            pass
        assert (tmp_path / "a" / "b" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_waiting_for_a_part_of_the_work(holder, tmp_path):
    process = holder("grid")
    with locked(tmp_path / "out"):  # another part
        pass
    waiting = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys; from pathlib import Path; from wanctl.lock import locked\n"
            "with locked(Path(sys.argv[1]), 'grid', wait=True): print('mine')",
            str(tmp_path / "out"),
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1)
    assert waiting.poll() is None
    process.kill()
    assert waiting.communicate(timeout=20)[0] == "mine\n"


def test_a_file_system_without_locks_is_worked_on_with_a_warning(tmp_path, monkeypatch, caplog):
    import fcntl

    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "out"):
        pass
    lock_alone(tmp_path)()
    assert "no locks on this file system" in caplog.text
