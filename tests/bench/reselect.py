"""`wanctl data select` over millions of synthetic clips: seconds, and memory of all processes.

`python tests/bench/reselect.py 10000000` makes the data set in a temporary folder (a kilobyte a
clip), changes a threshold as a user would, and times the command itself. The evidence is that of
the cheap filters, of a network's scores, of a border crop, of marks and of text, with the spread
that real footage has; thresholds are set so that some 40 % of the clips are dropped.
"""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from overlay_evidence import ocr_columns, watermark_columns

from wanctl.curate.registry import build_filters
from wanctl.data import schemas
from wanctl.data.dataset import DatasetDir

CLIPS = 10_000_000
PART = 100_000
CLIPS_PER_SOURCE = 50
FRAMES = 8
RECIPE = """\
curate:
  filters:
    duration: {min_s: 3.0}
    resolution: {min_short_px: 480}
    border:
    exposure:
    blur:
    speed: {min_speed: p5}
    nsfw: {max_score: p99}
    watermark:
    ocr:
  max_crop_loss: 0.3
train_dit:
  buckets:
    - {frames: 17, height: 256, width: 256}
    - {frames: 49, height: 480, width: 832}
    - {frames: 49, height: 832, width: 480}
    - {frames: 81, height: 720, width: 1280}
"""
SIZES = np.array([(640, 360), (1280, 720), (1920, 1080), (3840, 2160), (720, 1280), (854, 480)])

# a filter of a stranger's package: what stands for motion
SPEED = """\
import numpy as np
from wanctl.curate.api import Filter, Verdicts, threshold

class Speed(Filter):
    evidence = {"speed": "float"}
    min_speed: float = threshold(default=0.005, quantile=1, ge=0)

    def bounds(self):
        return (self.min_speed,)

    def decide_many(self, batch):
        speed = batch.numbers("speed")
        slow = speed < self.min_speed
        label = np.where(slow, "static", "moving").astype(object)
        why = lambda row: f"moves by {speed[row]:.4f}, at least {self.min_speed:.4f} wanted"
        return Verdicts.judge(speed, (slow, why), label=label)
"""


def run(clips: int = CLIPS) -> dict[str, Any]:
    """Write a data set, select from it, and return the cost.

    `cpu_seconds` is that of all processes: what a machine with nothing else to do and perfect
    cores would share out.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        _install_speed(out / "packages")
        start = time.perf_counter()
        make(out / "dataset", clips)
        made = time.perf_counter() - start
        recipe = out / "recipe.yaml"
        recipe.write_text(RECIPE)
        before = _children_s()
        seconds, peak, output = timed(recipe, out)
        size = (out / "dataset/selections/default.parquet").stat().st_size
        print(output, file=sys.stderr)
        return {
            "clips": clips,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(_children_s() - before, 1),
            "peak_rss_gb": round(peak / 2**30, 2),
            "selection_mb": round(size / 2**20),
            "made_in_s": round(made),
        }


def _install_speed(packages: Path) -> None:
    """Put the filter where this process and its children find it."""
    about = packages / "bench_speed-1.dist-info"
    about.mkdir(parents=True)
    (packages / "bench_speed.py").write_text(SPEED)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-speed\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[wanctl.filters]\nspeed = bench_speed:Speed\n")
    os.environ["PYTHONPATH"] = str(packages)
    sys.path.append(str(packages))


def _children_s() -> float:
    """Processor time of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(recipe: Path, out: Path) -> tuple[float, int, str]:
    """Seconds of the command, the most memory that it and its processes held together, its log."""
    command = [
        sys.executable,
        "-m",
        "wanctl",
        "data",
        "select",
        "--recipe",
        str(recipe),
        "--out",
        str(out),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    peak = [0]
    watch = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watch.start()
    output = process.communicate()[1]
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(output)
    return seconds, peak[0], output


def make(path: Path, clips: int) -> None:
    """A data set of so many clips, in parts of PART."""
    DatasetDir.create_or_open(path, recipe=RECIPE)
    parts = -(-clips // PART)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(_part, [(path, n, min(PART, clips - n * PART)) for n in range(parts)]))


def _part(task: tuple[Path, int, int]) -> None:
    path, number, count = task
    dataset, random = DatasetDir.open(path), np.random.default_rng(number)
    clips = _clips(number, count, random)
    part = f"part-{number:05d}"
    dataset.write_part("clips", part, clips)
    measured = _evidence(clips, random)
    for named in build_filters(dict.fromkeys(measured)):
        table = pa.table({"id": clips["id"], **measured[named.name]})
        schema = schemas.evidence_schema(named.filter.evidence)
        dataset.write_part(
            named.table, part, table.select(schema.names).cast(schema), schema=schema
        )


def _clips(number: int, count: int, random: np.random.Generator) -> pa.Table:
    first = number * PART
    at = np.arange(first, first + count)
    source = at // CLIPS_PER_SOURCE
    size = SIZES[random.integers(0, len(SIZES), count)]
    seconds = np.round(random.gamma(2.0, 3.0, count) + 0.5, 3)
    columns: dict[str, Any] = {
        "id": [f"{(n * 0x9E3779B97F4A7C15) % 2**64:016x}" for n in at.tolist()],
        "source": [f"/footage/{n % 1000:03d}/video-{n:09d}.mp4" for n in source.tolist()],
        "content_hash": [f"{n:032x}" for n in source.tolist()],
        "shot": (at % CLIPS_PER_SOURCE).astype(np.int32),
        "start_s": np.round((at % CLIPS_PER_SOURCE) * 7.0, 3),
        "num_frames": (seconds * 25).astype(np.int32),
        "fps": np.full(count, 25.0),
        "width": size[:, 0], "height": size[:, 1],
        "codec": ["h264"] * count, "pix_fmt": ["yuv420p"] * count,
    }  # fmt: skip
    columns["end_s"] = columns["start_s"] + seconds
    empty = {"string": "", "bool": False}
    for field in schemas.CLIPS:
        if field.name not in columns:
            columns[field.name] = [empty.get(str(field.type), 0)] * count
    return pa.table({name: columns[name] for name in schemas.CLIPS.names}, schema=schemas.CLIPS)


def _evidence(clips: pa.Table, random: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Per filter, columns like those it would measure."""
    count = clips.num_rows
    width, height = clips["width"].to_numpy(), clips["height"].to_numpy()
    bars = _bars(count, height, random)
    still = np.zeros((count, 4))

    def frames(law: np.ndarray, spread: float, digits: int) -> pa.Array:
        """Eight frames a clip that scatter around the clip's own value."""
        noise = random.normal(0, spread, (count, FRAMES)) * np.abs(law[:, None])
        return _lists(np.round(np.maximum(law[:, None] + noise, 0), digits))

    narrow = random.gamma(9.0, 0.06, count)
    empty, unknown = _lists(np.zeros((count, 0))), _lists(np.full((count, FRAMES), np.nan))
    return {
        "duration": {
            "duration_s": clips["end_s"].to_numpy() - clips["start_s"].to_numpy(),
            "num_frames": clips["num_frames"],
        },
        "resolution": {"width": width, "height": height},
        "border": {
            "width": width, "height": height,
            "bars": _lists(bars), "change": _lists(np.round((bars > 0) * 0.9, 4)),
            "luma": _lists(np.round((bars > 0) * random.uniform(0, 20, (count, 1)), 1)),
            "uneven": _lists(still), "drift": _lists(still), "written": _lists(still.astype(int)),
            "soft": _lists(still.astype(int)), "soft_contrast": _lists(still),
            "soft_change": _lists(still),
            "bright_frames": np.full(count, 8),
        },
        "exposure": {
            "blown": frames(random.beta(0.4, 8.0, count), 0.2, 5),
            "luma": frames(random.normal(110, 30, count), 0.05, 2),
            "highlight": frames(random.normal(200, 60, count).clip(0, 255), 0.05, 0),
            "crushed": frames(random.beta(0.5, 4.0, count), 0.2, 5),
            "shade": frames(random.beta(1.0, 4.0, count), 0.2, 5),
            "lit": frames(random.beta(2.0, 2.0, count), 0.2, 5),
            "empty": frames(random.beta(0.3, 12.0, count), 0.2, 5),
        },
        "blur": {
            "width": frames(narrow * 1.1, 0.1, 3), "narrow": frames(narrow, 0.1, 3),
            "long_side": np.minimum(np.maximum(width, height), 854),
        },
        "nsfw": {
            "scores": frames(random.beta(0.5, 12.0, count), 0.3, 5),
            **dict.fromkeys(("mirrored", "centre", "flat", "outlines"), unknown),
            "labels": empty.cast(pa.list_(pa.string())), "probabilities": empty,
        },
        "watermark": watermark_columns(np.arange(count) // CLIPS_PER_SOURCE, random),
        "ocr": ocr_columns(width, height, random),
        "speed": {"speed": np.round(random.gamma(1.5, 0.02, count), 6)},
    }  # fmt: skip


def _bars(count: int, height: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(N, 4) left, top, right, bottom: one source in eight is letterboxed, some deeply."""
    source = np.arange(count) // CLIPS_PER_SOURCE
    depth = random.choice([0, 0.13, 0.35], source[-1] + 1, p=[0.87, 0.12, 0.01])[source]
    bars = np.zeros((count, 4), dtype=np.int64)
    bars[:, 1] = bars[:, 3] = (depth * height).astype(np.int64)
    return bars


def _lists(rows: np.ndarray) -> pa.ListArray:
    starts = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(rows.reshape(-1)))


def _watch(parent: int, peak: list[int]) -> None:
    """Add up the resident memory of a process and its children, ten times a second."""
    family: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        family[parent] = psutil.Process(parent)
        while family[parent].is_running():
            for child in family[parent].children(recursive=True):
                family.setdefault(child.pid, child)
            peak[0] = max(peak[0], sum(map(_rss, family.values())))
            time.sleep(0.1)


def _rss(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS))
