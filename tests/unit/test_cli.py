"""Errors, help and exit codes of the command line. What commands do is tested with their code."""

import errno
import subprocess
import sys

import pytest
import typer

from wanctl.cli import main as cli
from wanctl.cli.errors import InterruptedByUserError, format_error
from wanctl.cli.program import Interruptible


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "footage").mkdir()
    (tmp_path / "bad.yaml").write_text("sample:\n  stepss: 3\n", encoding="utf-8")
    (tmp_path / "names.yaml").write_text(
        "model: {variant: tinny}\ncurate: {filters: {durration: {}}}\n", encoding="utf-8"
    )
    return tmp_path


BAD_INPUTS = {
    "no such command": (["smaple", "x"], "No such command 'smaple'. Did you mean 'sample'?"),
    "no folder": (["curate"], "wanctl curate: Missing argument 'FOLDER'"),
    "no prompt": (["sample"], "wanctl sample: Missing argument 'PROMPT'"),
    "unknown option": (["caption", "--recip", "tiny"], "No such option: --recip"),
    "too many": (["train-vae", "tiny"], "unexpected extra argument"),
    "no recipe": (["caption"], "caption: no recipe; name one with --recipe FILE or NAME (`wanctl"),
    "no such recipe": (["caption", "--recipe", "tyny"], "did you mean 'tiny'?"),
    "no such file": (["train-vae", "--recipe", "a/b.yaml"], "a/b.yaml: no such file"),
    "unknown key": (
        ["sample", "a cat", "--recipe", "bad.yaml"],
        "bad.yaml:2: sample.stepss: unknown key; did you mean 'steps'?",
    ),
    "bad set": (["caption", "--recipe", "tiny", "--set", "x"], "--set: got 'x'; write a.b=value"),
    "bad value": (
        ["train-dit", "--recipe", "tiny", "--set", "train_dit.steps=many"],
        "--set: train_dit.steps: got 'many'; must be a whole number",
    ),
    "bad bucket": (
        ["train-dit", "--recipe", "tiny", "--set", "train_dit.buckets.0.frames=16"],
        "--set: train_dit.buckets.0.frames: got 16; must be 4n+1, e.g. 13 or 17",
    ),
    "no such variant": (
        ["train-vae", "--recipe", "names.yaml"],
        "names.yaml:1: model.variant: no variant named 'tinny'; did you mean 'tiny'?",
    ),
    "no such filter": (
        ["curate", "footage", "--recipe", "names.yaml"],
        "names.yaml:2: curate.filters.durration: no filter named 'durration'; "
        "did you mean 'duration'?",
    ),
    "no such filter key": (
        ["curate", "footage", "--recipe", "tiny", "--set", "curate.filters={duration: {mins: 1}}"],
        "--set: curate.filters.duration.mins: ",
    ),
    "bad filter value": (
        ["data", "select", "--recipe", "tiny", "--set", "curate.filters={duration: {min_s: -1}}"],
        "--set: curate.filters.duration.min_s: got -1",
    ),
    "no such detector": (
        ["curate", "footage", "--recipe", "tiny", "--set", "curate.split.detector=transnet",
         "--set", "curate.filters={}"],
        "--set: curate.split.detector: no detector named 'transnet'; did you mean 'transnetv2'?",
    ),
    "no such backend": (
        ["caption", "--recipe", "tiny", "--set", "caption.backends=[sidecart]"],
        "--set: caption.backends.0: no caption backend named 'sidecart'; did you mean 'sidecar'?",
    ),
    "bad size": (
        ["sample", "a cat", "--recipe", "tiny", "--set", "sample.frames=16"],
        "--set: sample.frames: got 16; must be 4n+1",
    ),
    "nothing captioned": (
        ["caption", "--recipe", "tiny", "--set", "caption.sidecar_dir=null"],
        "runs/tiny/dataset: no data set there",
    ),
    "no sidecars": (
        ["caption", "--recipe", "tiny", "--set", "caption.sidecar_dir=nowhere"],
        "nowhere: no such folder",
    ),
    "check": (["recipe", "check", "bad.yaml"], "bad.yaml:2: sample.stepss"),
    "show": (["recipe", "show", "tinny"], "did you mean 'tiny'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_mistake_prints_one_line_and_exits_with_2(name, folder, capsys):
    arguments, expected = BAD_INPUTS[name]
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert expected in line
    assert not (folder / "runs").exists()


def test_several_mistakes_are_reported_together(folder, capsys):
    code, _, err = run(capsys, "recipe", "check", "bad.yaml", "names.yaml")
    assert code == 2
    assert len(err.splitlines()) == 3


def test_wrong_values_and_wrong_names_are_reported_together(folder, capsys):
    (folder / "both.yaml").write_text(
        "curate:\n  filters:\n    ocrr: {}\n    blur: {}\ntrain_dit:\n  optimizer: {lr: 0}\n"
        "  buckets: [{frames: 2}]\n",
        encoding="utf-8",
    )
    _, _, err = run(capsys, "curate", "footage", "--recipe", "both.yaml")
    first, *_, last = err.splitlines()
    assert first.startswith(
        "both.yaml:3: curate.filters.ocrr: no filter named 'ocrr'; did you mean"
    )
    assert last.startswith("both.yaml:7: train_dit.buckets.0.width: ")
    assert "both.yaml:6: train_dit.optimizer.lr: got 0; must be greater than 0" in err


def test_mistakes_in_a_process_of_its_own(folder):
    command = [sys.executable, "-m", "wanctl", "recipe", "check", "bad.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "bad.yaml:2: sample.stepss: unknown key; did you mean 'steps'?\n"


def test_recipe_commands(folder, capsys):
    code, out, _ = run(capsys, "recipe", "list")
    assert code == 0
    assert {line.split("\t")[0] for line in out.splitlines()} >= {"tiny", "wan2.1-t2v-1.3b"}
    code, out, _ = run(capsys, "recipe", "show", "tiny", "--set", "sample.steps=3")
    assert code == 0
    assert "\n  steps: 3\n" in out
    code, out, _ = run(capsys, "recipe", "schema")
    assert code == 0
    assert '"min_short_px"' in out


def test_version_and_bare_call(capsys):
    assert run(capsys, "--version")[1].startswith("wanctl ")
    assert "Usage: wanctl" in run(capsys)[1]


OUT_OF_MEMORY = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.mp4"), "x.mp4: No space left on"),
        (PermissionError(errno.EACCES, "Permission denied", "/r"), "/r: Permission denied; give"),
        (OUT_OF_MEMORY("CUDA out of memory.\nTried"), "out of memory (CUDA out of memory.); lower"),
        (MemoryError(), "out of memory (MemoryError); lower batch_size"),
        (KeyboardInterrupt(), "stopped; the same command goes on from here"),
    ],
)
def test_errors_of_the_machine_are_one_line(error, expected, capsys, monkeypatch):
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("wanctl.cli.doctor.examine", fail)
    code, _, err = run(capsys, "doctor")
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    (line,) = err.splitlines()
    assert line.startswith(expected)


def test_bugs_keep_their_traceback(monkeypatch):
    def fail(**_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("wanctl.cli.doctor.examine", fail)
    with pytest.raises(KeyError):
        cli.main(["doctor"])
    assert format_error(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None


def test_debug_shows_the_traceback_of_mistakes_too(folder):
    with pytest.raises(ValueError, match="no recipe named"):
        cli.main(["--debug", "recipe", "show", "tinny"])


def test_interrupt_reaches_main_through_typer():
    app = typer.Typer(cls=Interruptible)

    @app.command()
    def first() -> None:
        raise KeyboardInterrupt

    @app.command()
    def second() -> None:
        """Two commands make a group."""

    with pytest.raises(InterruptedByUserError):
        typer.main.get_command(app).main(["first"], standalone_mode=False)
