"""The demo finds the window that a sample repeats, measures it, and draws both."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from wanctl.data.dataset import DatasetDir
from wanctl.demo.footage import CUES, demo_prompts
from wanctl.demo.nearest import Match, TrainingClip, compare, motion, nearest_window
from wanctl.demo.pictures import draw_gif, draw_sheet
from wanctl.demo.stages import children_cpu_s
from wanctl.demo.table import figures
from wanctl.errors import UserError
from wanctl.metrics.perceptual import PerceptualDistance
from wanctl.video.encode import write_video

LENGTH, HEIGHT, WIDTH = 5, 32, 48


def moving(frames: int, seed: int) -> np.ndarray:
    """(T, H, W, 3) uint8: blurred noise that moves one pixel per frame."""
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    still = np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return np.stack([np.roll(still, number, axis=1) for number in range(frames)])


@pytest.fixture(scope="module")
def metric() -> PerceptualDistance:
    return PerceptualDistance()


def test_the_closest_window_is_found_at_any_start(metric):
    clip = TrainingClip("a", ("One.",), moving(12, 0))
    sample = clip.frames[6 : 6 + LENGTH]
    noisy = (sample.astype(float) + np.random.default_rng(1).normal(0, 4, sample.shape)).clip(
        0, 255
    )
    found = nearest_window(metric, noisy.astype(np.uint8), clip)
    assert found.start == 6
    assert 34 < found.psnr_db < 38, "noise of deviation 4 is 36.1 dB"
    assert 0 < found.st_lpips < 0.2
    assert 1 < found.motion < 2, "noise of each frame is motion"


def test_a_still_sample_has_no_motion(metric):
    clip = TrainingClip("a", ("One.",), moving(LENGTH, 0))
    still = np.repeat(clip.frames[:1], LENGTH, axis=0)
    assert motion(still) == 0
    assert nearest_window(metric, still, clip).motion == 0


@pytest.fixture
def run_folder(tmp_path):
    """Two training clips with a caption each; the samples repeat a part of each."""
    dataset = DatasetDir.create_or_open(tmp_path / "dataset")
    videos = {"a" * 16: moving(9, 0), "b" * 16: moving(9, 1)}
    texts = {"a" * 16: "One.", "b" * 16: "Two."}
    rows = [
        {"id": name, "text": text, "variant": "default", "backend": "sidecar"}
        for name, text in texts.items()
    ]
    dataset.write_part("captions/sidecar@v1", "part-00000", rows)
    del dataset
    (tmp_path / "dataset/training/x").mkdir(parents=True)
    (tmp_path / "samples").mkdir()
    for name, frames in videos.items():
        write_video(tmp_path / f"dataset/training/x/{name}.mp4", frames, 12)
        metadata = {"prompt": texts[name]}
        write_video(tmp_path / f"samples/{name}.mp4", frames[2 : 2 + LENGTH], 12, metadata=metadata)
    return tmp_path


def test_samples_are_compared_and_drawn(run_folder):
    matches = compare(run_folder, {"first": "One.", "second": "Two."})
    assert [match.own.start for match in matches] == [2, 2]
    assert all(match.is_nearest_to_own for match in matches)
    first = figures(matches)[0]
    assert (first["name"], first["clip"], first["nearest_caption"]) == ("first", "a" * 16, "One.")
    assert first["st_lpips_by_caption"]["One."] < first["st_lpips_by_caption"]["Two."]
    draw_sheet(run_folder / "demo.png", matches)
    draw_gif(run_folder / "demo.gif", matches)
    with Image.open(run_folder / "demo.gif") as image:
        assert getattr(image, "n_frames", 0) == LENGTH
        assert image.info["loop"] == 0


def test_a_sample_of_another_clip_is_not_counted(run_folder):
    one, two = (run_folder / f"samples/{name * 16}.mp4" for name in "ab")
    frames = moving(9, 1)[2 : 2 + LENGTH]
    write_video(one, frames, 12, metadata={"prompt": "One."})
    matches = compare(run_folder, {"first": "One.", "second": "Two."})
    assert [match.is_nearest_to_own for match in matches] == [False, True]
    assert matches[0].nearest_caption == "Two."
    two.unlink()
    with pytest.raises(UserError, match="no sample of the prompt for second"):
        compare(run_folder, {"first": "One.", "second": "Two."})


def test_prompts_without_a_training_clip_are_named(run_folder):
    write_video(run_folder / "samples/c.mp4", moving(LENGTH, 3), 12, metadata={"prompt": "Three."})
    with pytest.raises(UserError, match="no clip of third has the caption that is sampled"):
        compare(run_folder, {"third": "Three."})


def test_long_prompts_stay_inside_the_picture(run_folder):
    (match,) = compare(run_folder, {"first": "One."})
    long = Match(match.name, "word " * 80, match.file, match.frames, match.own, match.by_caption)
    sizes = []
    for each in (match, long):
        draw_sheet(run_folder / "demo.png", [each])
        with Image.open(run_folder / "demo.png") as image:
            sizes.append(image.size)
    short_size, long_size = sizes
    assert long_size[0] == short_size[0], "the text is broken into lines, not cut off"
    assert long_size[1] > short_size[1]


def test_the_prompts_are_captions_of_the_recipe():
    prompts = demo_prompts()
    assert list(prompts) == list(CUES)
    assert all(len(prompt.split()) > 5 for prompt in prompts.values())


def test_the_time_of_a_command_is_its_processor_time():
    before_s = children_cpu_s()
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-S", "-c", burn], check=True)
    assert 0.15 < children_cpu_s() - before_s < 2
