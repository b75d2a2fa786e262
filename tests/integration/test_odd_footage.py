"""`wanctl curate` on footage that players show and many readers lose frames of."""

from collections import Counter

import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.recipes import FRAMES, Recipe, number_of
from wanctl.cli.main import main
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ExportFormat, export_clips
from wanctl.video.decode import read_frames
from wanctl.video.probe import scan
from wanctl.video.workers.worker_pool import DecodePool

FILES = {
    "mirrored": Recipe("mp4", "h264", 2, matrix="left-right"),
    "transposed": Recipe("mov", "h264", 2, matrix="transposed"),
    "trailer": Recipe("mp4", "h264", 2, trailer="maker"),
    "no-pts": Recipe("avi", "h264", 2),
    "raw": Recipe("h264", "h264", 2),
    "stale": Recipe("mkv", "h264", 2, tags="stale"),
    "thumbnail": Recipe("mp4", "h264", 2, streams="cover first"),
    "hour": Recipe("mkv", "h264", 2, clock="hour"),
    "restart": Recipe("mpg", "mpeg2video", 2, clock="joined"),
    "late": Recipe("ts", "h264", 2, damage="begins late"),
    "lossy": Recipe("ts", "mpeg2video", 1, damage="loses packets"),
}
OPTIONS = ["--recipe", "tiny", "--set", "curate.filters={blur: {}, container: {}}"]
OPTIONS += [
    "--set",
    "curate.split={detector: none, min_clip_s: 0, max_clip_s: 1, max_damaged: 0.5}",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    maker = FootageMaker(tmp_path_factory.mktemp("made"))
    folder, out = tmp_path_factory.mktemp("footage"), tmp_path_factory.mktemp("run")
    for name, recipe in FILES.items():
        maker.make(recipe).rename(folder / f"{name}.{recipe.container}")
    with pytest.raises(SystemExit) as stop:
        main(["curate", str(folder), *OPTIONS, "--out", str(out)])
    assert stop.value.code in (0, None)
    return DatasetDir.open(out / "dataset")


def clips_of(dataset, name):
    rows = dataset.clips().to_pylist()
    return [row for row in rows if f"/{name}." in row["source"]]


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("late", "lossy")])
def test_every_frame_is_in_a_clip(dataset, name):
    clips = clips_of(dataset, name)
    assert sum(clip["num_frames"] for clip in clips) == FRAMES
    assert all(clip["fps"] == pytest.approx(25, rel=0.01) for clip in clips)
    assert all(clip["end_s"] - clip["start_s"] <= 1.041 for clip in clips)
    assert {(clip["width"], clip["height"]) for clip in clips} == {(96, 64)}


def test_what_is_left_out_is_in_the_quarantine(dataset):
    counts = Counter()
    for row in dataset.read("quarantine").to_pylist():
        counts[row["source"].split("/")[-1].split(".")[0], row["kind"]] += 1
    assert counts == {
        ("hour", "steps"): 1,
        ("late", "no key frame"): 1,
        ("lossy", "damaged stretches"): 1,
        ("lossy", "steps"): 1,
    }
    for name in ("late", "lossy"):
        assert FRAMES / 4 < sum(clip["num_frames"] for clip in clips_of(dataset, name)) < FRAMES
    assert {clip["damaged_share"] > 0 for clip in clips_of(dataset, "lossy")} == {True}
    assert {clip["corrupt_share"] for clip in clips_of(dataset, "lossy")} == {0.0}


def test_every_clip_was_measured(dataset):
    ids = set(dataset.clips(["id"])["id"].to_pylist())
    for table in dataset.tables("evidence"):
        assert set(dataset.read(table, ["id"])["id"].to_pylist()) == ids


def test_exported_files_hold_the_frames_of_their_clips(dataset, tmp_path):
    form = ExportFormat(fps=25, height=None, width=None, crf=10, trim_to_latents=False)
    with DecodePool(2, 60, 4 << 30) as pool:
        files = {
            file.id: file.path
            for file in export_clips(dataset, "default", tmp_path, form=form, pool=pool)
        }
    rows = [row for row in dataset.clips().to_pylist() if row["id"] in files]
    assert {row["source"].split("/")[-1].split(".")[0] for row in rows} == set(FILES)
    for row in rows:
        found = scan(files[row["id"]])
        frames = read_frames(files[row["id"]], found.pts.tolist())
        numbers = [number_of(frame) for frame in frames]
        assert len(numbers) == row["num_frames"]
        assert np.all(np.diff(numbers) == 1), (row["source"], numbers)
        if FILES[row["source"].split("/")[-1].split(".")[0]].damage == "none":
            assert numbers[0] == row["first_frame"]
