"""Memory of the engine and its workers over 5,000 clips, as figures and as a plot.

`python tests/bench/curate_memory.py [PICTURE.png]`
"""

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageDraw

from wanctl.curate.api import Filter, FrameSpec
from wanctl.curate.context import Limits, Reporter
from wanctl.curate.engines.engine import CurationJob, run_local
from wanctl.curate.registry import NamedFilter, filter_class, measured_units
from wanctl.curate.split.clip_rows import SplitRules
from wanctl.curate.split.shots import DETECTORS, DetectorSettings
from wanctl.curate.split.split_parts import Splitter
from wanctl.curate.timing import Timings
from wanctl.data.dataset import DatasetDir
from wanctl.distributed.ray_actors import RayResources
from wanctl.log import EventLog, progress_display
from wanctl.video.encode import write_video
from wanctl.video.footage import list_footage
from wanctl.video.probe import ScanBounds

FILES, CLIPS_PER_FILE, FRAMES, SIDE = 25, 200, 17, 64
LIGHT = ("border", "exposure", "blur")
MB = 1 << 20


class Mean(Filter):
    """Stands for a network: its frames cross the pipe and wait for their batch."""

    heavy = True
    evidence = {"level": "float"}  # noqa: RUF012

    def frames(self) -> FrameSpec:
        """All of them."""
        return FrameSpec(count=FRAMES)

    def measure(self, clip: Any, frames: Any) -> dict[str, float]:
        """Their mean."""
        return {"level": float(frames.frames.mean())}


def run(picture: Path | None = None) -> dict[str, float]:
    """Resident memory early and late, of the engine and of all its workers, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        _footage(Path(folder) / "footage")
        samples, clips = _watched(Path(folder))
    if picture:
        _draw(samples, picture)
    figures: dict[str, float] = {"clips": clips, "samples": len(samples)}
    for column, name in enumerate(("engine", "workers"), start=1):
        series = [sample[column] / MB for sample in samples]
        early, late = series[len(series) // 5 : 2 * len(series) // 5], series[-len(series) // 5 :]
        figures[f"{name}_early_mb"] = round(float(np.median(early)), 1)
        figures[f"{name}_late_mb"] = round(float(np.median(late)), 1)
        figures[f"{name}_peak_mb"] = round(max(series), 1)
    return figures


def _footage(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    for number in range(FILES):
        count = CLIPS_PER_FILE * FRAMES
        frames = (np.roll(base, 3 * i + number, axis=1)[:SIDE, :SIDE] for i in range(count))
        write_video(folder / f"{number:02d}.mp4", frames, 25, crf=28)


def _watched(folder: Path) -> tuple[list[tuple[float, int, int]], int]:
    named = [NamedFilter(name, filter_class(name)()) for name in LIGHT]
    units = measured_units([*named, NamedFilter("mean", Mean())])
    rules = SplitRules(0, 0.1, FRAMES / 25)
    splitter = Splitter(
        DETECTORS["none"], DetectorSettings(0.4, 3.0, "cpu"), rules, 30, ScanBounds()
    )
    ray = RayResources("curate", address=None, cpus=2, gpus=0, actors=None, retries=3)
    job = CurationJob(splitter, tuple(units), Limits(2, 120, 4 << 30, 1200, 8), ray)
    dataset = DatasetDir.create_or_open(folder / "set")
    parts = dataset.assign_sources(list_footage(folder / "footage").videos, 1)
    samples: list[tuple[float, int, int]] = []
    over = threading.Event()
    watcher = threading.Thread(target=_sample, args=(samples, over))
    watcher.start()
    try:
        with progress_display() as bars:
            reporter = Reporter(Timings(dataset.path), EventLog(None), bars)
            run_local(dataset, job, parts, reporter)
    finally:
        over.set()
        watcher.join()
    return samples, dataset.clips(["id"]).num_rows


def _sample(samples: list[tuple[float, int, int]], over: threading.Event) -> None:
    me, started = psutil.Process(), time.monotonic()
    while not over.wait(0.25):
        workers = 0
        for child in me.children(recursive=True):
            try:
                workers += child.memory_info().rss
            except psutil.Error:
                continue
        samples.append((time.monotonic() - started, me.memory_info().rss, workers))


def _draw(samples: list[tuple[float, int, int]], picture: Path) -> None:
    width, height, edge = 900, 420, 50
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    end, top = samples[-1][0], 1.15 * max(max(s[1:]) for s in samples)
    draw.rectangle((edge, 20, width - 20, height - edge), outline="#999999")
    for column, colour, name in ((1, "#d35400", "engine"), (2, "#2471a3", "workers together")):
        points = [
            (
                edge + s[0] / end * (width - edge - 20),
                height - edge - s[column] / top * (height - edge - 20),
            )
            for s in samples
        ]
        draw.line(points, fill=colour, width=2)
        draw.text((edge + 10, 20 + 16 * column), name, fill=colour)
    for share in (0.25, 0.5, 0.75, 1.0):
        y = height - edge - share * (height - edge - 20)
        draw.text((4, y - 6), f"{share * top / MB:.0f} MB", fill="black")
    text = f"{FILES * CLIPS_PER_FILE} clips in {end:.0f} s"
    draw.text((width // 2 - 60, height - 30), text, fill="black")
    image.save(picture)


if __name__ == "__main__":
    print(run(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
