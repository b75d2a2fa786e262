"""Captioning through a server of known speed: its share of the server's own rate, and memory.

The server answers 32 requests at a time in 50 ms each and does nothing else, so that all that is
missing from its rate is ours. Frames are made up; decoding is measured apart, by `decoded`.

`python tests/bench/captioning.py [CLIPS]`
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.vlm.stub_server import StubProcess  # noqa: E402
from wanctl.caption import job  # noqa: E402
from wanctl.caption.run import caption  # noqa: E402
from wanctl.data.dataset import DatasetDir  # noqa: E402
from wanctl.recipe.load import load_recipe  # noqa: E402
from wanctl.video.encode import write_video  # noqa: E402
from wanctl.video.frames import FrameBatch  # noqa: E402
from wanctl.video.probe import scan  # noqa: E402

CLIPS, DECODED_CLIPS = 10_000, 300
DELAY_S, PLACES = 0.05, 32
PARALLEL = 33
"""One waits at the server for a place that falls free. Threads cost time: with 48 a request takes
2.5 ms of CPU time instead of 1.9."""
FRAMES = 3
MB = 1 << 20
ONE_VARIANT = (
    "caption.lengths=[short]", "caption.styles=[formal]", "caption.languages=[en]",
    "caption.motion=false",
)  # fmt: skip


def run(clips: int = CLIPS) -> dict[str, Any]:
    """Rates as shares of the server's, and resident memory in each tenth of the run."""
    figures = _measured(clips, frames=MadeUpFrames)
    decoded = _measured(DECODED_CLIPS, frames=None)
    return {"made_up_frames": figures, "decoded": decoded}


class MadeUpFrames:
    """Frames without a decoder, made as fast as they are taken."""

    def __init__(self, *_: Any) -> None:
        self._frames = np.zeros((FRAMES, 24, 32, 3), np.uint8)

    def read(self, tasks: Any) -> Iterator[tuple[int, FrameBatch]]:
        """One batch for every task."""
        for index, _ in enumerate(tasks):
            yield index, FrameBatch(self._frames.copy(), np.arange(FRAMES) / 3, 0.1)

    def close(self) -> None:
        """Nothing to end."""


def _measured(clips: int, frames: Callable[..., Any] | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_dataset(folder, clips)
        with StubProcess(delay_s=DELAY_S, limit=PLACES) as server:
            samples, seconds, cpu_s = _captioned(folder, server.url, frames)
            stats = server.stats()
        dataset = DatasetDir.open(folder / "dataset")
        (table,) = dataset.tables("captions")
        captions = dataset.read(table).num_rows
    requests = sum(stats["answered"].values())
    memory = [rss / MB for _, rss in samples]
    tenths = [round(float(np.median(each)), 1) for each in np.array_split(memory, 10) if len(each)]
    return {
        "clips": clips,
        "captions": captions,
        "requests_per_s": round(requests / stats["seconds"], 1),
        "share_of_servers_rate": round(requests / stats["seconds"] / (PLACES / DELAY_S), 3),
        "clips_per_s": round(clips / seconds, 1),
        "cpu_ms_per_request": round(1e3 * cpu_s / requests, 2),
        "memory_mb_by_tenths": tenths,
        "memory_peak_mb": round(max(memory), 1),
    }


def make_dataset(folder: Path, clips: int) -> None:
    """Clips of 1 to 3 s of one small video, in one part of `folder/dataset`."""
    video = folder / "v.mp4"
    write_video(video, np.zeros((48, 48, 64, 3), np.uint8), 16)
    pts = scan(video).pts
    rows = [
        {
            "id": f"{number:016x}", "source": str(video), "content_hash": str(number),
            "shot": number, "start_pts": int(pts[0]), "end_pts": int(pts[-1]), "start_s": 0.0,
            "end_s": 1.0 + number % 3, "num_frames": 16 * (1 + number % 3),
            "width": 64, "height": 48, "has_audio": False,
        }
        for number in range(clips)
    ]  # fmt: skip
    DatasetDir.create_or_open(folder / "dataset").write_part("clips", "part-00000", rows)


def _captioned(
    folder: Path, url: str, frames: Callable[..., Any] | None
) -> tuple[list[tuple[float, int]], float, float]:
    recipe = folder / "r.yaml"
    recipe.write_text("seed: 0\n")
    os.environ.setdefault("OPENAI_API_KEY", "none")
    model = f"caption.model={{backend: openai, model: stub, url: '{url}', parallel: {PARALLEL}}}"
    loaded = load_recipe(str(recipe), ["caption.backends=[vlm]", model, *ONE_VARIANT])
    decoded = job.DecodedFrames
    job.DecodedFrames = frames or decoded  # type: ignore[misc]
    samples: list[tuple[float, int]] = []
    over = threading.Event()
    watcher = threading.Thread(target=_sample, args=(samples, over))
    watcher.start()
    started, before = time.monotonic(), time.process_time()
    try:
        caption(loaded, folder)
    finally:
        over.set()
        watcher.join()
        job.DecodedFrames = decoded  # type: ignore[misc]
    return samples, time.monotonic() - started, time.process_time() - before


def _sample(samples: list[tuple[float, int]], over: threading.Event) -> None:
    process, started = psutil.Process(), time.monotonic()
    while not over.wait(0.25):
        samples.append((time.monotonic() - started, process.memory_info().rss))
    samples.append((time.monotonic() - started, process.memory_info().rss))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(run(int(arguments[0]) if arguments else CLIPS))
