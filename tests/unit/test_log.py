import io
import itertools
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings

from rich.console import Console

from wanctl import log, progress_lines
from wanctl.log import EventLog, progress, progress_display
from wanctl.progress_lines import LineBar


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


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"


def plain_log(monkeypatch, **options):
    """The program's log as a file gets it."""
    monkeypatch.setattr(log, "console", Console(file=io.StringIO(), force_terminal=False, width=40))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    log.setup_logging(**options)


def test_off_a_terminal_an_event_is_a_line_with_date_time_and_level(monkeypatch, capsys):
    plain_log(monkeypatch)
    log.log.info("%s: kept", "a\nb\x1b[31m\u2028c.mp4")
    log.log.warning("a long line " * 40)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.log.exception("failed")
    first, second, third = capsys.readouterr().err.splitlines()
    assert re.fullmatch(TIME + r" INFO a\\nb\\x1b\[31m\\u2028c\.mp4: kept", first)
    assert re.fullmatch(TIME + r" WARNING (a long line ){39}a long line", second)
    assert re.match(TIME + r" ERROR failed\\nTraceback .*ValueError: two\\nlines$", third)


def test_warnings_of_libraries_are_lines_too(monkeypatch, capsys):
    plain_log(monkeypatch)
    warnings.showwarning("old\nname", DeprecationWarning, "lib.py", 7)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(TIME + r" WARNING lib\.py:7: DeprecationWarning: old\\nname", line)


def test_quiet_shows_warnings_only(monkeypatch, capsys):
    plain_log(monkeypatch, quiet=True)
    log.log.info("nothing")
    log.log.warning("something")
    assert capsys.readouterr().err.split()[1:] == ["WARNING", "something"]


def test_a_terminal_does_not_obey_names_of_files(monkeypatch):
    seen = io.StringIO()
    monkeypatch.setattr(log, "console", Console(file=seen, force_terminal=True, width=120))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    log.setup_logging()
    log.log.info("\x1b]0;title\x07.mp4")
    shown = re.sub(r"\x1b\[[\d;]*m", "", seen.getvalue())
    assert "\\x1b]0;title\\x07.mp4" in shown
    assert "\x1b" not in shown


def test_a_bar_is_a_line_with_eta_at_least_each_minute():
    clock = [0.0]
    bar = LineBar(100, "scan footage", clock=lambda: clock[0])
    bar.advance(40)  # what earlier runs had done is no speed
    lines = {}
    for now in range(5, 301, 5):
        clock[0] = now
        bar.advance(0.5, "bikes.mp4")
        if line := bar.line_if_due():
            lines[now] = line
    assert max(b - a for a, b in itertools.pairwise([0, *lines])) <= 60
    assert re.fullmatch(
        r"scan footage: 70 of 100 \(70 %\), 0\.1/s, 5 min 00 s left \(ETA " + TIME
        + r"\); bikes\.mp4", lines[300],
    )  # fmt: skip


def test_a_bar_that_stands_still_says_so_and_a_full_one_is_silent():
    clock = [0.0]
    bar = LineBar(3, "parts", clock=lambda: clock[0])
    lines = []
    for now in range(5, 65, 5):
        clock[0] = now
        lines.append(bar.line_if_due())
    shown = [line for line in lines if line]
    assert shown[-1].startswith("parts: 0 of 3 (0 %), no step ended in")
    bar.advance(3)
    clock[0] = 500
    assert bar.line_if_due() == ""


def test_bars_and_phases_without_a_bar_log_while_they_run(monkeypatch, capsys):
    plain_log(monkeypatch)
    monkeypatch.setattr(progress_lines, "TICK_S", 0.01)
    monkeypatch.setattr(progress_lines, "LINE_EVERY_S", 0.05)
    log.log.info("begins")
    with progress(10, "scan") as bar:
        bar.advance(2)
        time.sleep(0.3)
        bar.advance(2)
        time.sleep(0.3)
    with log.heartbeat(0.05):
        time.sleep(0.4)
    text = capsys.readouterr().err
    assert re.search(r"INFO scan: 4 of 10 \(40 %\), .*/s, .* left \(ETA", text)
    assert re.search(r"INFO still running, \d+ s since the start; last: ", text)


def test_a_quiet_command_has_no_heartbeat(monkeypatch, capsys):
    plain_log(monkeypatch, quiet=True)
    monkeypatch.setattr(progress_lines, "TICK_S", 0.01)
    monkeypatch.setattr(progress_lines, "LINE_EVERY_S", 0.02)
    with progress(10, "scan"), log.heartbeat(0.02):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_file_is_no_terminal_even_where_colours_are_forced():
    code = "from wanctl import log; log.setup_logging(); log.log.info('%s', 'word ' * 60)"
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    (line,) = done.stderr.splitlines()
    assert re.match(TIME + " INFO word word", line)
    assert "\x1b" not in line


def test_a_line_goes_to_the_standard_error_of_now(monkeypatch):
    handler = log._LineHandler()
    record = logging.LogRecord("wanctl", logging.INFO, __file__, 1, "a line", None, None)
    former, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", former)
    handler.emit(record)
    former.close()
    monkeypatch.setattr("sys.stderr", now)
    handler.emit(record)
    assert now.getvalue().rstrip().endswith("a line")
