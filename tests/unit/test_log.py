import io
import json
import subprocess
import sys

from rich.console import Console

from wanctl import log
from wanctl.log import EventLog, progress, progress_display


def test_events_of_several_processes_stay_whole_lines(tmp_path):
    path = tmp_path / "deep" / "log.jsonl"
    script = (
        "import sys; from pathlib import Path; from wanctl.log import EventLog\n"
        "events = EventLog(Path(sys.argv[1]))\n"
        "for i in range(300):\n"
        "    events.write('unit', who=sys.argv[2], number=i, text='x' * 500)\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in ("a", "b")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for name in ("a", "b"):
        own = [line for line in lines if line["who"] == name]
        assert [line["number"] for line in own] == list(range(300))
        assert all(line["time"] and line["event"] == "unit" for line in own)


def test_names_that_are_no_text_do_not_break_a_line(tmp_path):
    events = EventLog(tmp_path / "log.jsonl")
    events.write("quarantine", source="latin-\udce9.mp4")
    (line,) = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["source"] == "latin-\udce9.mp4"


def test_without_a_file_nothing_is_written():
    EventLog(None).write("unit")


def test_a_terminal_shows_a_bar_per_stage_with_its_rate(monkeypatch):
    seen = io.StringIO()
    terminal = Console(file=seen, force_terminal=True, width=120)
    monkeypatch.setattr(log, "console", terminal)
    with progress_display() as bars:
        scan, measure = bars.bar(4, "scan footage"), bars.bar(100, "measure clips")
        for _ in range(4):
            scan.advance(note="bikes.mp4")
        measure.advance(3)
        bars._progress.refresh()
    shown = seen.getvalue()
    for part in ("scan footage", "4/4", "measure clips", "3/100", "/s", "bikes.mp4"):
        assert part in shown


def test_without_a_terminal_nothing_is_shown(monkeypatch):
    seen = io.StringIO()
    monkeypatch.setattr(log, "console", Console(file=seen, force_terminal=False))
    with progress(3, "scan") as bar:
        bar.advance()
    assert not seen.getvalue()
