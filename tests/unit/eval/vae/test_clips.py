"""Which clips and which of their frames VAEs are compared on."""

from types import SimpleNamespace

import numpy as np
import pytest

from wanctl.data.buckets import with_batch_sizes
from wanctl.data.dataset import DatasetDir
from wanctl.eval.vae.clips import ClipsError, dataset_clips, held_out_ids, named_clips, spread
from wanctl.eval.vae.run import _clips_of_run
from wanctl.eval.vae.windows import Clip, WindowOptions, read_window
from wanctl.recipe.load import load_recipe
from wanctl.train.accelerator import start_processes
from wanctl.train.inputs.collect import TrainingDataOptions, collect_clips
from wanctl.video.frames import Box
from wanctl.video.opening import VideoError
from wanctl.video.workers.worker_pool import DecodePool

BUCKET = "{frames: 5, height: 32, width: 48, batch_size: 1}"


@pytest.fixture
def run_folder(tmp_path, make_video):
    """A run folder with the recipe of its VAE; six clips of two sources, one of them too short."""
    rows = []
    for name in ("a", "b"):
        video = make_video(f"{name}.mp4")
        for index, (first, end) in enumerate(((0, 12), (12, 24), (24, 25))):
            rows.append(
                {"source": str(video), "time_base_num": 1, "time_base_den": 12800, "fps": 25.0,
                 "width": 96, "height": 64, "id": f"{name}{index}", "start_pts": first * 512,
                 "end_pts": end * 512, "content_hash": name}
            )  # fmt: skip
    dataset = DatasetDir.create_or_open(tmp_path / "run/dataset")
    dataset.write_part("clips", "part-00000", rows)
    crop = {"crop_x": 10, "crop_y": 4, "crop_w": 64, "crop_h": 48}
    kept = [{"id": row["id"], "kept": row["id"] != "b1", **crop} for row in rows]
    dataset.write_part("selections/default", "", kept)
    (tmp_path / "run/vae").mkdir()
    settings = (f"train_vae.buckets=[{BUCKET}]", "train_vae.holdout=0.3", "train_vae.clip_fps=12")
    recipe = load_recipe("tiny", settings)
    (tmp_path / "run/vae/recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
    return tmp_path / "run"


def test_the_clips_of_a_run_are_those_that_its_training_holds_out(run_folder):
    dataset = DatasetDir.open(run_folder / "dataset")
    section = load_recipe(str(run_folder / "vae/recipe.yaml")).recipe.train_vae
    buckets = with_batch_sizes(section.buckets, None, temporal_stride=4, spatial_multiple=8)
    options = TrainingDataOptions(
        selection="default", buckets=buckets, fps=section.clip_fps, weights={},
        holdout=section.holdout, holdout_by=section.holdout_by, seed=0, accumulate=1,
        windows_per_clip=None,
    )  # fmt: skip
    with DecodePool(1, 60, 2**31) as pool:
        trained = collect_clips(
            dataset, options, pool=pool, processes=start_processes("cpu"), command_options=""
        )
    expected = {clip.id for clip in trained.evaluation}
    assert 0 < len(expected) < 3
    clips, origin = _clips_of_run([str(run_folder / "nowhere"), str(run_folder)])
    assert {clip.name for clip in clips} == expected
    assert origin == f"held-out clips of {run_folder}/dataset"
    none = held_out_ids(dataset, "default", section.buckets, section.clip_fps, 0.0, "auto")
    assert none == set()
    assert len(dataset_clips(dataset, "default", None)) == 5


def test_a_clip_of_a_data_set_is_cropped_and_its_middle_taken(run_folder):
    (clip, *_) = dataset_clips(DatasetDir.open(run_folder / "dataset"), "default", {"a1"})
    window = read_window(clip, WindowOptions(frames=5, fps=25, size_px=720, multiple=16))
    assert window.frames.shape == (5, 48, 64, 3)
    assert window.fps == 25
    # frames 12 to 23 of the file, of which the middle five begin at 12 + 3; each names itself by
    # a bright column at 4 times its number
    columns = window.frames[:, 40, :, 2].argmax(axis=1) + 10
    assert np.abs(columns - 4 * np.arange(15, 20)).max() <= 3


def test_files_and_folders_are_named_and_large_footage_is_scaled_and_cropped(make_video, tmp_path):
    video = make_video("named.mp4", 25, (120, 200))
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "named.mp4").write_bytes(video.read_bytes())
    first, second = named_clips([str(video), str(folder)])
    assert (first.name, second.name) == ("named", "named-2")
    options = WindowOptions(9, 16.0, 64, 16)
    assert first.key(options) != second.key(options)
    window = read_window(first, options)
    assert window.full_size == (107, 64)
    assert window.frames.shape == (9, 64, 96, 3)
    assert window.fps == 16
    slow = read_window(first, WindowOptions(9, 60.0, 64, 16))
    assert slow.fps == 25, "footage is not slowed down by repeating frames"
    with pytest.raises(ClipsError, match="nowhere: no such file"):
        named_clips(["nowhere"])
    with pytest.raises(VideoError, match="too small; need at least 64x64"):
        read_window(first, WindowOptions(9, 16.0, 48, 64))


def test_a_crop_without_scaling_keeps_every_pixel(make_video):
    video = make_video("plain-crop.mp4", 9, (70, 100))
    exact = Clip("whole", str(video), "", crop=Box(2, 3, 96, 64))
    cropped = Clip("centre", str(video), "")
    options = WindowOptions(5, 25.0, 720, 16)
    expected, got = read_window(exact, options), read_window(cropped, options)
    assert (got.frames == expected.frames).all()
    assert got.full_size == (100, 70)


def test_of_many_clips_some_are_taken_evenly():
    clips = [SimpleNamespace(name=index) for index in range(10)]
    assert [clip.name for clip in spread(clips, 4)] == [0, 2, 5, 7]
    assert spread(clips, 20) == clips
