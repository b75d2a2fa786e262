"""Failures of the machine, replaced and removed footage, deleted tables: nothing is lost."""

import hashlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir
from wanctl.video.encode import write_video

CHEAP = ["--recipe", "tiny", "--set", "curate.split.detector=none"]
CHEAP += ["--set", "curate.filters={duration: {min_s: 0.2}, border: {}, blur: {}}"]
CHEAP += ["--set", "curate.shard_sources=3", "--set", "curate.split.max_clip_s=1"]


def write_clip(path, seed, seconds=2, size=(64, 96)):
    ramp = np.tile(np.arange(size[1], dtype=np.uint8)[None, :, None] * 2, (size[0], 1, 3))
    noise = np.random.default_rng(seed).integers(0, 60, (*size, 1), dtype=np.uint8)
    frames = (np.roll(ramp + noise, 3 * index + seed, axis=1) for index in range(24 * seconds))
    write_video(path, frames, 24.0, crf=20)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    for seed, name in enumerate("abcde"):
        write_clip(folder / f"{name}.mp4", seed)
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:900])
    shutil.copy2(folder / "a.mp4", folder / "f-copy.mp4")
    shutil.copy2(folder / "d.mp4", folder / "e-copy-of-d.mp4")
    return folder


@pytest.fixture
def footage(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "footage"))


@pytest.fixture(scope="module")
def clean_run(original, tmp_path_factory):
    """A run on the original footage that nothing disturbs."""
    out = tmp_path_factory.mktemp("clean")
    assert run("curate", original, *CHEAP, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def clean(clean_run):
    """Its tables."""
    return tables(clean_run)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code or 0


def tables(out):
    """Path -> hash of every Parquet file of a run."""
    folder = out / "dataset"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }


def kept(out):
    dataset = DatasetDir.open(out / "dataset")
    ids = dataset.read("selections/default", ["id", "kept"]).to_pylist()
    sources = {row["id"]: Path(row["source"]).stem for row in dataset.clips().to_pylist()}
    return sorted({sources[row["id"]] for row in ids if row["kept"]})


def test_failures_of_the_machine_are_tried_again(original, clean, tmp_path, capsys):
    out = tmp_path / "run"
    slow = ["--set", "curate.decode.timeout_s=0.01", "--set", "curate.decode.timeout_per_gb_s=0"]
    assert run("curate", original, *CHEAP, *slow, "--out", out) == 2
    said = capsys.readouterr().err
    assert "no clips; failures of the machine: 8 timeout; the same `wanctl curate`" in said
    assert (out / "dataset" / "report.html").exists()
    assert run("curate", original, *CHEAP, "--out", out) == 0
    assert tables(out) == clean


def test_clips_that_a_filter_failed_on_are_tried_again(original, clean, tmp_path, monkeypatch):
    out = tmp_path / "run"
    from wanctl.curate.measure import measure_parts

    real, count = measure_parts.measure_task, itertools.count()

    def flaky(pool_map):
        from wanctl.video.workers.worker_pool import Failure

        def map_with_failures(self, function, tasks, **options):
            for index, result in pool_map(self, function, tasks, **options):
                failed = function is real and next(count) % 3 == 0
                yield index, Failure("measure", "crash", "signal 9") if failed else result

        return map_with_failures

    from wanctl.video.workers.worker_pool import DecodePool

    with monkeypatch.context() as patch:
        patch.setattr(DecodePool, "map", flaky(DecodePool.map))
        assert run("curate", original, *CHEAP, "--out", out) in (0, 2)
    kinds = DatasetDir.open(out / "dataset").read("quarantine")["kind"].to_pylist()
    assert "crash" in kinds
    assert tables(out) != clean
    assert run("curate", original, *CHEAP, "--out", out) == 0
    assert tables(out) == clean


def test_a_kind_of_failure_is_tried_again_on_request(footage, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("curate", footage, *CHEAP, "--out", out, "--retry", "crahs") == 2
    assert "did you mean 'crash'" in capsys.readouterr().err
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    before = tables(out)
    capsys.readouterr()
    assert run("curate", footage, *CHEAP, "--out", out, "--retry", "error") == 0
    assert "1 files and clips that failed are tried again" in capsys.readouterr().err
    assert tables(out) == before


def test_replaced_and_removed_footage_costs_its_own_clips(footage, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    assert kept(out) == ["a", "b", "c", "d", "e"]
    write_clip(footage / "b.mp4", 77, seconds=1)
    (footage / "c.mp4").rename(tmp_path / "c.mp4")
    (footage / "a.mp4").touch()
    capsys.readouterr()
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "2 files changed and are scanned again" in said
    assert "1 files are gone; their clips do not count" in said
    assert kept(out) == ["a", "b", "d", "e"]
    removed = [r for r in rows(out, "quarantine") if r["kind"] == "removed"]
    assert [Path(row["source"]).name for row in removed] == ["c.mp4"]
    # the same as from a run on the footage as it is now, but for the clips that wait for c.mp4
    assert run("curate", footage, *CHEAP, "--out", tmp_path / "fresh") == 0
    assert selection(out) == selection(tmp_path / "fresh")
    (tmp_path / "c.mp4").rename(footage / "c.mp4")
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    assert kept(out) == ["a", "b", "c", "d", "e"]


def test_the_copy_takes_the_place_of_an_original_that_is_replaced(footage, tmp_path):
    out = tmp_path / "run"
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    before = [row for row in rows(out, "quarantine") if row["kind"] == "duplicate"]
    assert [Path(row["source"]).stem for row in before] == ["e-copy-of-d"]
    write_clip(footage / "d.mp4", 78)
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    assert [row for row in rows(out, "quarantine") if row["kind"] == "duplicate"] == []
    assert kept(out) == ["a", "b", "c", "d", "e", "e-copy-of-d"]
    assert run("curate", footage, *CHEAP, "--out", tmp_path / "fresh") == 0
    assert tables(out) == tables(tmp_path / "fresh")


def rows(out, table):
    return DatasetDir.open(out / "dataset").read(table).to_pylist()


def selection(out):
    return sorted(rows(out, "selections/default"), key=lambda row: row["id"])


@pytest.mark.parametrize("kind", ["clips", "quarantine", "evidence/blur@*", "evidence/border@*"])
def test_a_table_that_is_deleted_is_noticed_and_made_again(
    kind, original, clean_run, clean, tmp_path, capsys
):
    out = Path(shutil.copytree(clean_run, tmp_path / "run"))
    (part,) = (out / "dataset").glob(f"{kind}/part-00000.parquet")
    part.unlink()
    assert run("data", "select", *CHEAP, "--out", out) == 2
    assert "`wanctl curate FOLDER` with this recipe" in capsys.readouterr().err
    assert run("curate", original, *CHEAP, "--out", out) == 0
    assert tables(out) == clean


def test_a_damaged_table_names_the_command_that_makes_it_again(
    original, clean_run, clean, tmp_path, capsys
):
    out = Path(shutil.copytree(clean_run, tmp_path / "run"))
    (part,) = (out / "dataset").glob("evidence/blur@*/part-00001.parquet")
    part.write_bytes(part.read_bytes()[:100])
    assert run("data", "select", *CHEAP, "--out", out) == 2
    assert "delete it and run `wanctl curate FOLDER`" in capsys.readouterr().err
    part.unlink()
    assert run("curate", original, *CHEAP, "--out", out) == 0
    assert tables(out) == clean


def test_a_run_that_keeps_nothing_says_why(footage, tmp_path, capsys):
    out = tmp_path / "run"
    strict = ["--set", "curate.filters.duration.min_s=100"]
    assert run("curate", footage, *CHEAP, *strict, "--out", out) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "none of " in said
    assert "duration drops" in said
    assert run("data", "select", *CHEAP, *strict, "--out", out) == 2
    assert run("caption", *CHEAP, "--out", out) == 2
    assert run("data", "export", tmp_path / "export", *CHEAP, "--out", out) == 2
    assert run("data", "select", *CHEAP, "--out", out) == 0


def start(footage, out, stderr=subprocess.DEVNULL):
    command = [sys.executable, "-m", "wanctl", "curate", str(footage), *CHEAP, "--out", str(out)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
    )


def workers_of(pid):
    """Worker processes of a run."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and b"worker_main" in (task / "cmdline").read_bytes():
                found.append(int(task.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def kill_and_run_again(footage, out, worker_kills, parent_kills):
    """Kill workers and the run itself at random moments; returns how many were killed."""
    rng = random.Random(5)
    killed = ended = 0
    while ended <= parent_kills:
        process = start(footage, out)
        until = time.monotonic() + rng.uniform(2.0, 4.5)
        last = ended == parent_kills
        while process.poll() is None and (last or time.monotonic() < until):
            if killed < worker_kills and (found := workers_of(process.pid)):
                os.kill(rng.choice(found), signal.SIGKILL)
                killed += 1
            time.sleep(rng.uniform(0.1, 0.4))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        ended += 1
    return killed


def test_killed_workers_and_runs_lose_nothing(original, clean, tmp_path):
    out = tmp_path / "run"
    assert kill_and_run_again(original, out, 4, 1) >= 2
    assert run("curate", original, *CHEAP, "--out", out) == 0
    assert tables(out) == clean


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_to_end_ends_cleanly(number, original, clean, tmp_path):
    out = tmp_path / "run"
    process = start(original, out, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not (found := workers_of(process.pid)) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 128 + number
    assert said.splitlines()[-1].endswith("stopped; the same command goes on from here")
    assert "Traceback" not in said
    time.sleep(0.3)
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)
    assert not list(out.rglob("*.tmp-*"))
    assert run("curate", original, *CHEAP, "--out", out) == 0
    assert tables(out) == clean


def test_an_export_goes_into_a_folder_of_its_own(original, clean_run, clean, capsys):
    footage = sorted(original.iterdir())
    for folder, why in ((clean_run / "dataset", "is a data set"), (original, "holds the footage")):
        assert run("data", "export", folder, *CHEAP, "--out", clean_run) == 2
        assert f"{folder}: {why}" in capsys.readouterr().err
    assert sorted(original.iterdir()) == footage
    assert tables(clean_run) == clean


def test_an_export_in_use_is_refused(clean_run, tmp_path, capsys):
    to = tmp_path / "export"
    code = "import sys, time; from pathlib import Path; from wanctl.lock import locked\n"
    code += "with locked(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(to)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        holder.stdout.readline()
        assert run("data", "export", to, *CHEAP, "--out", clean_run) == 2
        assert f"in use by another wanctl (process {holder.pid})" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.communicate()
    assert run("data", "export", to, *CHEAP, "--out", clean_run) == 0
    assert not list(to.glob(".lock*"))


@pytest.mark.slow
def test_twenty_killed_workers_and_five_killed_runs_lose_nothing(footage, tmp_path):
    for seed in range(20):
        write_clip(footage / f"more-{seed:02d}.mp4", 100 + seed, seconds=4, size=(240, 320))
    assert run("curate", footage, *CHEAP, "--out", tmp_path / "clean") == 0
    out = tmp_path / "run"
    # too little memory for some of the work: its failures are of the kinds memory and crash
    scarce = ["--set", "curate.decode.memory_gb=0.35"]
    run("curate", footage, *CHEAP, *scarce, "--out", out)
    killed = kill_and_run_again(footage, out, 20, 5)
    run("curate", footage, *CHEAP, *scarce, "--out", out)
    assert killed == 20
    assert run("curate", footage, *CHEAP, "--out", out) == 0
    assert tables(out) == tables(tmp_path / "clean")
