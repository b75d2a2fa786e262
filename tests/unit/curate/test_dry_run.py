"""`wanctl curate --dry-run`: what it says of footage, and that it writes nothing."""

import json
from pathlib import Path

import pytest

from wanctl.cli.main import main
from wanctl.curate import dry_run as forecast
from wanctl.curate.dry_run import Speed, Survey, speed_of_earlier_run
from wanctl.curate.run import dry_run
from wanctl.recipe.load import load_recipe
from wanctl.video.content.header import Header
from wanctl.video.sources import SourceFile

PLAIN = ["curate.filters={}", "curate.split.detector=none", "curate.split.min_clip_s=0.1"]


@pytest.fixture
def footage(tmp_path, make_video):
    """Three videos of 2 s, a file that is none, and a text."""
    folder = tmp_path / "footage"
    folder.mkdir()
    data = make_video("forecast.mp4", frames=50).read_bytes()
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes(data + (8 + number).to_bytes(4, "big") + b"free"
                                               + bytes(number))  # fmt: skip
    (folder / "broken.mp4").write_bytes(data[:900])
    (folder / "notes.txt").write_text("no footage")
    return folder


def rows_of(footage, out, *overrides):
    rows = dry_run(load_recipe("tiny", [*PLAIN, *overrides]), footage, out)
    return {what: (figure, note) for what, figure, note in rows}


def test_it_names_files_hours_time_and_disk_and_writes_nothing(footage, tmp_path):
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    rows = rows_of(footage, out)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert rows["files"][0] == "4"
    assert "passed over: 1 .txt" in rows["files"][1]
    assert rows["not readable"][0] == "1"
    assert "broken.mp4" in rows["not readable"][1]
    assert rows["footage"] == ("6.0 s", "by the headers of 3 of 4 files")
    assert rows["clips"][0] == "about 3"
    assert "by a probe of 3 files, 6.0 s" in rows["clips"][1]
    assert rows["time"][0].startswith("about ")
    assert " free in " in rows["disk"][1]
    assert "how many clips are kept" in rows["not known"][0] + rows["not known"][1]


def test_a_run_that_began_is_counted_and_gives_the_speed(footage, tmp_path):
    out = tmp_path / "out"
    arguments = ["curate", str(footage), "--recipe", "tiny", "--out", str(out)]
    with pytest.raises(SystemExit):
        main([*arguments, *(part for each in PLAIN for part in ("--set", each))])
    assert rows_of(footage, out)["finished already"][0] == "4"
    (footage / "later.mp4").write_bytes((footage / "2.mp4").read_bytes())
    stages = {"scan": {"cpu_s": 50.0, "video_s": 100.0}, "shots": {"cpu_s": 150.0}}
    (out / "dataset" / "timings.json").write_text(json.dumps(stages))
    rows = rows_of(footage, out)
    assert rows["finished already"][0] == "4"
    assert rows["footage"][0] == "2.0 s"
    assert rows["time"] == ("about 2.0 s", "4.0 s of one core, measured here on 1 min 40 s; "
                            "2 processes at once")  # fmt: skip


def header(seconds):
    return Header(seconds, 96, 64, "h264")


def test_files_whose_header_is_silent_count_by_their_size():
    files = [SourceFile(f"/f{n}.mp4", size, 0) for n, size in enumerate((100, 300, 200, 999))]
    surveyed = Survey(files, {files[0]: header(10), files[1]: header(30), files[2]: header(0)},
                      {files[3]: "broken"})  # fmt: skip
    assert surveyed.seconds == pytest.approx(40 + 200 * 40 / 400)
    assert [file.uri for file in surveyed.silent] == ["/f2.mp4"]
    note = forecast._note_on_hours(surveyed)
    assert note == "by the headers of 2 of 4 files; 1 state no length and count by their size"


def test_long_films_are_not_probed_and_that_is_said(footage, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "PROBE_S", 0.5)
    monkeypatch.setattr(forecast, "LONGEST_PROBE_S", 1.0)
    rows = rows_of(footage, tmp_path / "out")
    assert "time" not in rows
    assert "no file is short enough for a probe" in rows["not known"][1]


def test_speed_is_of_an_earlier_run_only_where_it_did_some_work(tmp_path):
    assert speed_of_earlier_run(tmp_path) is None
    stages = {"scan": {"cpu_s": 1.0, "video_s": 5.0}}
    (tmp_path / "timings.json").write_text(json.dumps(stages))
    assert speed_of_earlier_run(tmp_path) is None


def test_a_disk_that_is_too_small_is_a_warning(footage, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(forecast, "probe", lambda *_: Speed(1.0, 1e30, 1.0, "made up"))
    monkeypatch.setattr("wanctl.curate.run.probe", lambda *_: Speed(1.0, 1e30, 1.0, "made up"))
    with caplog.at_level("WARNING", "wanctl"):
        rows_of(footage, tmp_path / "out")
    assert "not enough space" in caplog.text


def test_what_curation_refuses_the_dry_run_refuses(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["curate", str(tmp_path), "--recipe", "tiny", "--dry-run", "--set",
              "curate.filters={}"])  # fmt: skip
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no video among its 0 files" in line
    assert not Path("runs/tiny").exists()
