"""Every command against every kind of bad input: one line, exit 2, no traceback, nothing written.

bad_inputs.py is the table, bad_input_world.py the files that it names. The cases run in this
process; a few run in a process of their own, since limits, the environment and the standard streams
are those of a process.
"""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bad_input_world import make_world
from bad_inputs import NO_FILTERS, TABLE, TINY

from wanctl.cli.main import main

MARKS = ("Traceback", "Error:", "Exception", "\x1b", "<class", "object at 0x")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


def contents(folder: Path) -> set[str]:
    """Paths below a folder; empty lock files in data sets that were there are no traces."""
    found = set()
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if not name.startswith(".lock"):
                found.add(str((Path(where) / name).relative_to(folder)))
    return found


def test_the_table_holds_hundreds_of_cases_and_every_command():
    assert len(TABLE) > 300
    commands = {tuple(part for part in arguments[:2]) for arguments, _ in TABLE.values()}
    names = {each for pair in commands for each in pair}
    assert names >= {"curate", "caption", "train-vae", "train-dit", "sample", "select", "report",
                     "check", "export", "text-images", "label", "fit", "bench", "inspect",
                     "convert", "eval", "vae", "camera", "preview"}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_it_is_one_line_that_says_what_is_wrong(name, world, monkeypatch, capsys):
    arguments, expected = TABLE[name]
    monkeypatch.chdir(world)
    before = contents(world)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    left = contents(world) - before
    for path in left:
        shutil.rmtree(world / path, ignore_errors=True)
    (line,) = captured.err.splitlines()
    assert expected in line
    assert stop.value.code == 2
    assert captured.out == ""
    assert len(line) < 1000
    assert not [mark for mark in MARKS if mark in line]
    assert left == set(), "nothing is half-written"


def run(arguments, cwd, *, text=True, **options):
    command = [sys.executable, "-m", "wanctl", *arguments]
    return subprocess.run(
        command, cwd=cwd, stderr=subprocess.PIPE, text=text, timeout=120, check=False,
        **{"stdout": subprocess.PIPE, **options},
    )  # fmt: skip


def in_environment(**variables):
    return {**os.environ, **variables}


ENVIRONMENTS = {
    "rank is no number": ({"RANK": "first"}, "environment: RANK is 'first'; must be a whole"),
    "rank is negative": ({"RANK": "-1"}, "environment: RANK is '-1'"),
    "a rank without an address": ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set"),
    "no world": ({"WORLD_SIZE": "0"}, "environment: WORLD_SIZE is '0'"),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_variables_of_the_environment(name, world, monkeypatch, capsys):
    variables, expected = ENVIRONMENTS[name]
    monkeypatch.chdir(world)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit) as stop:
        main(["sample", "a cat", *TINY])
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["smaple"], "No such command 'smaple'"),
        (["recipe", "check", "key.yaml"], "key.yaml:1: sample.stepss: unknown key"),
        (["recipe", "check", "laughs.yaml"], "more than 20000 values"),
        (["curate", "nowhere", *TINY, *NO_FILTERS], "nowhere: does not exist"),
        (["weights", "inspect", "weights/page.safetensors"], "page.safetensors"),
        (["data", "check", "layouts/index.toml", *TINY], "layouts/index.toml"),
    ],
)
def test_the_same_in_a_process_of_its_own(arguments, expected, world):
    done = run(arguments, world)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in line


def test_arguments_and_variables_that_are_no_utf8(world):
    done = run([b"sample", b"caf\xe9", b"--recipe", b"tiny"], world, text=False)
    assert done.returncode == 2
    assert b"argument 2 (caf\\udce9): byte 0xe9 at character 4 is not UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    environment = {**os.environb, b"HF_HOME": b"/caf\xe9", b"HOME": b"/caf\xe9", b"LC_ALL": b"C"}
    done = run(["sample", "a cat"], world, text=False, env=environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert b"hf download" in line


def test_an_ascii_terminal_shows_escapes_and_no_traceback(world):
    environment = in_environment(PYTHONIOENCODING="ascii", LC_ALL="C")
    done = run(["recipe", "check", "一只猫.yaml"], world, env=environment)
    assert done.returncode == 2
    assert "\\u4e00" in done.stderr
    assert run(["recipe", "list"], world, env=environment).returncode == 0


def test_a_folder_that_was_removed(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        f"import os, shutil, sys; os.chdir({str(gone)!r}); shutil.rmtree({str(gone)!r})\n"
        "from wanctl.cli.main import main; main(['caption', '--recipe', 'tiny'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the working folder" in line


def test_a_full_disk(tmp_path):
    world = tmp_path
    make_world(world)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    done = run(["curate", "footage", *TINY, *NO_FILTERS], world, preexec_fn=limit)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert "dataset" in lines[-1]
    assert not [mark for mark in MARKS for line in lines if mark in line]
    assert not list(world.rglob("*.tmp-*"))
    with Path("/dev/full").open("w") as full:
        done = run(["recipe", "list"], world, stdout=full)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("standard output: No space left on device")


def test_a_pipe_that_is_closed_is_no_error(world):
    command = f"{sys.executable} -m wanctl filters list | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}} >&2"],
        cwd=world, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.strip() in ("141", "0")
