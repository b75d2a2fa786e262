"""`wanctl caption` in a world that is wrong: name -> arguments, part of the line, what is done.

Every case starts in a folder with a data set of captions for some clips, and a server that answers
(see test_bad_captions.py). Mistakes that show before any data set is opened are in bad_inputs.py.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.unit.vlm.small_models import qwen2_text
from wanctl.data.dataset import DatasetDir
from wanctl.video.encode import write_video
from wanctl.video.probe import scan

KEY = "sk-right-0123456789abcdef"
"""The key of the server."""
CLIPS = 6
RECIPE = """
dataset: {path: dataset}
curate: {decode: {workers: 1}}
caption:
  backends: [vlm]
  lengths: [short]
  styles: [formal]
  languages: [en]
  motion: false
  model: {backend: openai, model: stub, url: SERVER, parallel: 4, attempts: 2, timeout_s: 20}
"""


class Case(NamedTuple):
    """One mistake.

    Attributes:
        arguments: of `wanctl caption`, besides the recipe.
        line: part of the one line that says what is wrong.
        change: made before; takes pytest's monkeypatch, or the server, where its argument says so.
        server: options of the stub server.
    """

    arguments: list[str]
    line: str
    change: Callable[..., object] | None = None
    server: dict[str, object] = {}  # noqa: RUF012


def settings(*pairs: str) -> list[str]:
    """`--set` for each."""
    return [part for each in pairs for part in ("--set", each)]


IN_PROCESS = settings(
    "caption.model.backend=transformers", "caption.model.url=null", "caption.model.model=text"
)


def _write_text_model() -> None:
    qwen2_text(Path("text"))


def _lose_weights() -> None:
    (qwen2_text(Path("text")) / "model.safetensors").unlink()


def make_world(folder: Path) -> None:
    """Footage of one file and its clips, none of them captioned."""
    video = folder / "v.mp4"
    write_video(video, np.zeros((16, 48, 64, 3), np.uint8), 8)
    pts = scan(video).pts
    dataset = DatasetDir.create_or_open(folder / "dataset")
    rows = [
        {
            "id": f"{number:016x}", "source": str(video), "content_hash": str(number),
            "shot": number, "start_pts": int(pts[0]), "end_pts": int(pts[-1]) + 1, "start_s": 0.0,
            "end_s": 2.0, "num_frames": 16, "width": 64, "height": 48, "has_audio": False,
        }
        for number in range(CLIPS)
    ]  # fmt: skip
    dataset.write_part("clips", "part-00000", rows)


def _wrong_key(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789abcdef")


def _no_key(monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")


def _fill_disk(monkeypatch) -> None:
    """The disk is full after three clips."""
    write, left = os.write, [3]

    def full(descriptor: int, data: bytes) -> int:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.suffix == ".jsonl" and path.parent.name.startswith("vlm@"):  # not the log
            left[0] -= b'"answer"' not in data[:20]
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr("wanctl.caption.pipeline.journal.os.write", full)


def _fill_disk_of_tables(monkeypatch) -> None:
    """The disk is full when the part is complete."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wanctl.data.parts.rowgroups._write_full", full)


def _remove_footage() -> None:
    Path("v.mp4").unlink()


def _damage_footage() -> None:
    Path("v.mp4").write_bytes(b"\0" * 4096)


def _keep_nothing() -> None:
    dataset = DatasetDir.open(Path("dataset"), lock=True)
    rows = [{"id": f"{number:016x}", "kept": False} for number in range(CLIPS)]
    dataset.write_part("selections/default", "", rows)


CASES = {
    "no model and nothing else": Case(
        settings("caption.model={model: null}"), "caption.backends names nothing but `vlm`; name a",
    ),
    "no server at the URL": Case(
        settings("caption.model.url=http://127.0.0.1:9/v1"), "127.0.0.1:9/v1: no server answers",
    ),
    "a URL that is none": Case(
        settings("caption.model.url=ftp://127.0.0.1/v1"), "the address of an OpenAI-compatible",
    ),
    "vLLM is not installed": Case(
        settings("caption.model={backend: vllm, model: m}"), 'pip install "wanctl[vllm]"',
    ),
    "a wrong key": Case([], "OPENAI_API_KEY", _wrong_key),
    "no key": Case([], "OPENAI_API_KEY", _no_key),
    "a model that the server does not have": Case(
        settings("caption.model.model=other"), "no model 'other'",
    ),
    "a model without vision": Case(
        [], "is a model without vision", server={"no_vision": "stub is not a multimodal model"},
    ),
    "a language model that sees nothing": Case(
        IN_PROCESS, "model text: takes text and no pictures", _write_text_model,
    ),
    "a folder without weights": Case(
        IN_PROCESS, "model text: holds no weights; need model.safetensors", _lose_weights,
    ),
    "footage that is gone": Case([], "none of 6 clips got a caption from vlm", _remove_footage),
    "footage that is damaged": Case([], "none of 6 clips got a caption from vlm", _damage_footage),
    "the disk is full": Case([], ".jsonl: cannot write: the disk is full; free", _fill_disk),
    "the disk is full at the end": Case(
        [], ".parquet: cannot write: the disk is full; free", _fill_disk_of_tables,
    ),
    "a selection that keeps nothing": Case([], "selection 'default' keeps no clip", _keep_nothing),
    "no such selection": Case(
        settings("dataset.selection=best"), "no selection named 'best'", _keep_nothing,
    ),
    "a detector that there is not": Case(
        settings("caption.checks.detector=./nowhere"), "caption.checks.detector: ",
    ),
    "a CLIP that there is not": Case(
        settings("caption.checks.similarity=./nowhere"), "caption.checks.similarity: ",
    ),
    "a check to retry that there is not": Case(
        ["--retry", "flaged"], "--retry: no check or kind of failure named 'flaged'; did you mean",
    ),
    "a shard that is none": Case(["--shard", "3/3"], "--shard: got '3/3'; expected i/n"),
    "no data set": Case(settings("dataset.path=nowhere"), "nowhere: no data set there"),
    "an engine that there is not": Case(
        settings("caption.engine=rya"), "caption.engine: no engine named 'rya'; did you mean 'ray'",
    ),
}  # fmt: skip
