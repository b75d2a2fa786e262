"""What a run says of the clips it has seen."""

import json
from collections import Counter

import pytest
from pyarrow import parquet

from wanctl.data.batches.plan import ClipShape
from wanctl.data.buckets import TrainingBucket, bucket_name
from wanctl.data.export import ClipFile
from wanctl.runs.progress import read_progress
from wanctl.train.inputs.clipset import ClipSet, TrainingClip
from wanctl.train.inputs.epochs import write_epochs
from wanctl.train.rng import MicrobatchIndex

IMAGE = TrainingBucket(1, 32, 48, 4, 2.0, 0, 6)
VIDEO = TrainingBucket(9, 32, 48, 2, 1.0, 3, 18)


@pytest.fixture
def clips(tmp_path):
    """Nine clips, one held out; the first weighs three times the others, three are images."""
    made = []
    for number in range(9):
        frames = 1 if number > 5 else 12
        file = ClipFile(str(number), tmp_path / f"{number}.mp4", frames, 32, 48, 8.0)
        shape = ClipShape(frames, 32, 48, 3.0 if number == 0 else 1.0)
        made.append(TrainingClip(str(number), "film", shape, {(32, 48): file}, ""))
    held_out = [number == 5 for number in range(9)]
    return ClipSet(
        made, held_out, [IMAGE, VIDEO], seed=3, ranks=2, accumulate=2, windows_per_clip=None
    )


def test_the_counts_are_those_of_the_batches_that_were_sampled(clips, tmp_path, caplog):
    caplog.set_level("INFO", "wanctl")
    folder, counted, tasks = tmp_path / "run/dit", Counter(), Counter()
    folder.mkdir(parents=True)

    def task_of(microbatch, frames):
        return "t2i" if frames == 1 else ("t2v", "i2v")[microbatch.micro % 2]

    for step in range(40):
        for micro in range(4):
            index = MicrobatchIndex(3, step, micro)
            windows = clips.sample_windows(index)
            counted.update((window.clip, window.shape.frames) for window in windows)
            tasks[task_of(index, windows[0].shape.frames)] += 1
    write_epochs(folder, "train-dit", clips, 40, task_of)
    rows = parquet.read_table(folder / "data.parquet").to_pylist()
    frames = {bucket_name(bucket): bucket.frames for bucket in (IMAGE, VIDEO)}
    assert {(row["id"], frames[row["bucket"]]): row["times_seen"] for row in rows} == counted
    summary = json.loads((folder / "data.json").read_text())
    totals = Counter()
    for (clip, _), number in counted.items():
        totals[clip] += number
    assert summary["samples"] == totals.total()
    assert summary["times_seen"]["most"] == max(totals.values()) == totals["0"]
    assert sum(number for _, _, number in summary["histogram"]) == summary["clips"] == 8
    assert summary["tasks"] == pytest.approx({n: c / 160 for n, c in tasks.items()}, abs=1e-4)
    assert summary["held_out_clips"] == 1
    assert "each of 8 clips was seen" in caplog.text
    mean = summary["times_seen"]["mean"]
    assert read_progress(tmp_path / "run").training["dit"].times_seen == mean
