"""Clips without footage, frames that are made up, and a model that answers at once."""

import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.unit.vlm.stub_answers import structured_answer
from wanctl.caption import job
from wanctl.data.dataset import DatasetDir
from wanctl.recipe.load import LoadedRecipe, load_recipe
from wanctl.video.frames import FrameBatch
from wanctl.video.workers.worker_pool import Failure
from wanctl.vlm import build
from wanctl.vlm.chat import ChatAnswer

SMALL = (
    "caption.backends=[vlm, template]", "caption.model={model: stub}", "caption.lengths=[short]",
    "caption.styles=[formal]", "caption.motion=false",
)  # fmt: skip


def clip_id(number: int) -> str:
    return f"{number:016x}"


def make_dataset(folder: Path, clips: int, parts: int = 1, sources: int = 1) -> None:
    """Clips of 2 to 4 seconds at `folder/out/dataset`."""
    dataset = DatasetDir.create_or_open(folder / "out" / "dataset")
    rows = [
        {
            "id": clip_id(number), "source": f"/nowhere/{number % sources}.mp4",
            "content_hash": f"{number}", "shot": number,
            "start_pts": 0, "end_pts": 10, "start_s": 0.0, "end_s": 2.0 + number % 3,
            "num_frames": 10, "width": 64, "height": 48, "has_audio": False,
        }
        for number in range(clips)
    ]  # fmt: skip
    for part in range(parts):
        dataset.write_part("clips", f"part-{part:05d}", rows[part::parts])


def recipe(folder: Path, *overrides: str) -> LoadedRecipe:
    path = folder / "r.yaml"
    path.write_text("seed: 0\n", encoding="utf-8")
    return load_recipe(str(path), [*SMALL, *overrides])


class StubFrames:
    """Stands for the decoding pool. `broken` are ids of clips that cannot be decoded."""

    broken: frozenset[str] = frozenset()

    def __init__(self, limits, source_bytes) -> None:
        pass

    def read(self, tasks):
        frames = np.zeros((4, 12, 16, 3), np.uint8)
        for index, (row, _) in enumerate(tasks):
            if row["id"] in self.broken:
                yield index, Failure("caption", "error", "no frame can be decoded")
            else:
                yield index, FrameBatch(frames, np.arange(4) / 3, 0.25)

    def close(self) -> None:
        pass


class StubModel:
    """Answers rightly. `fault` is called with each request and may return an answer or raise."""

    def __init__(self, parallel=4, batch=1, delay_s=0.0, fault=None, name="stub") -> None:
        self.name, self.parallel, self.batch = name, parallel, batch
        self.delay_s, self.fault = delay_s, fault
        self.requests: Counter[str] = Counter()
        self.answered: list[str] = []
        self.order: list[str] = []
        self.calls: list[int] = []
        self.closed = False
        self._lock = threading.Lock()

    def check(self) -> None:
        pass

    def ask(self, requests):
        with self._lock:
            self.calls.append(len(requests))
            for each in requests:
                self.requests[each.id] += 1
                self.order.append(each.id)
        time.sleep(self.delay_s)
        return [self._answer(each) for each in requests]

    def close(self) -> None:
        self.closed = True

    def _answer(self, request) -> ChatAnswer:
        if self.fault is not None and (answer := self.fault(request)) is not None:
            return answer
        form = {"type": "json_schema", "json_schema": {"schema": request.schema}}
        text = structured_answer({"response_format": form, "messages": []})
        self.answered.append(request.id)
        return ChatAnswer(request.id, text, "stop", 100, 20)


def use(monkeypatch, *models, frames=StubFrames) -> None:
    """Let the recipe's models be these, by their names, and frames be made up."""
    by_name = {each.name: each for each in models}
    monkeypatch.setitem(build.CHAT_MODELS, "transformers", lambda options: by_name[options.model])
    monkeypatch.setattr(job, "DecodedFrames", frames)


def rows(folder: Path, kind: str) -> list[dict]:
    """Rows of all tables of a kind."""
    dataset = DatasetDir.open(folder / "out" / "dataset")
    return [row for table in dataset.tables(kind) for row in dataset.read(table).to_pylist()]
