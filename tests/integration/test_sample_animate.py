"""`wanctl sample` clip by clip: from files to a long video, stopped and taken up again."""

import json

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.integration.small_variants import small_variant, stop_before_clip, write_small_weights
from wanctl.model.variant_table import VARIANTS
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata, write_video

NAME, FRAMES = "wan2.2-animate-2-14b", 12
PLAIN = (
    "device=cpu", "sample.steps=2", "sample.height=32", "sample.width=32", "sample.clips.frames=5",
    "sample.save_latents=true",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small model, a character and a driving video of 12 frames."""
    folder = tmp_path_factory.mktemp("animate")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / "fox.png")
    small = rng.integers(0, 255, (FRAMES, 4, 6, 3), np.uint8)
    write_video(folder / "moves.mp4", small.repeat(8, 1).repeat(8, 2), 24.0)
    write_small_weights(folder, small_variant(VARIANTS[NAME]))
    return folder


@pytest.fixture
def run(world, tmp_path, monkeypatch):
    monkeypatch.setitem(VARIANTS, NAME, small_variant(VARIANTS[NAME]))
    files = (f"sample.image={world / 'fox.png'}", f"sample.video={world / 'moves.mp4'}")

    def run(*keys, out=tmp_path):
        recipe = load_recipe(NAME, [f"model.weights={world}", *PLAIN, *files, *keys])
        return sample(recipe, "a fox dances", out)[0]

    return run


def test_a_long_video_is_made_of_clips_and_lasts_as_long_as_its_driving_video(run):
    path = run()
    with av.open(str(path)) as container:
        frames = [each.to_ndarray(format="rgb24") for each in container.decode(video=0)]
    assert len(frames) == FRAMES
    assert frames[0].shape == (32, 32, 3)
    header = read_metadata(path)
    assert header["task"] == "animate2"
    assert header["driving_prompt"] == VARIANTS[NAME].defaults.driving_prompt
    latents = load_file(path.with_suffix(".safetensors"))["latents"]
    assert latents.shape == (3, 16, 2, 4, 4)  # clips of 5 frames, of which 1 overlaps
    record = json.loads(path.with_suffix(".json").read_text())
    assert [clip["frames"] for clip in record["clips"]] == [[0, 4], [5, 8], [9, 11]]
    assert record["clips"][0]["seam"] is None
    assert all(clip["seam"] > 0 for clip in record["clips"][1:])
    assert not path.with_name(f"{path.stem}.clips").exists()


def test_a_run_that_was_stopped_takes_up_its_clips(run, tmp_path, monkeypatch):
    whole = run(out=tmp_path / "whole")
    calls = stop_before_clip(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run()
    calls.append("again")
    again = run()
    assert calls == [0, 1, "again", 2]
    assert again.read_bytes() == whole.read_bytes()
    first, second = (load_file(p.with_suffix(".safetensors"))["latents"] for p in (whole, again))
    assert torch.equal(first, second)


def test_a_later_clip_depends_on_the_one_before_and_on_the_driving_video(run, tmp_path):
    path = run("sample.clips.match_colors=true", "sample.guide_scale=1")
    assert json.loads(path.with_suffix(".json").read_text())["match_colors"]
    biased = run("sample.first_frame_log_scale=-3", "sample.guide_scale=1")
    first, second = (load_file(p.with_suffix(".safetensors"))["latents"] for p in (path, biased))
    assert (first - second).abs().max() > 1e-5


ANIMATE = "wan2.2-animate-14b"


@pytest.fixture
def run_animate(world, tmp_path, monkeypatch):
    """Samples with the small model of poses and faces, whose inputs are the one video."""
    small = small_variant(VARIANTS[ANIMATE])
    monkeypatch.setitem(VARIANTS, ANIMATE, small)
    if not (tmp_path / "weights").exists():
        write_small_weights(tmp_path / "weights", small)
    video = world / "moves.mp4"
    files = (
        f"sample.image={world / 'fox.png'}", f"sample.pose_video={video}",
        f"sample.face_video={video}",
    )  # fmt: skip

    def run(*keys):
        recipe = load_recipe(
            ANIMATE,
            [f"model.weights={tmp_path / 'weights'}", *PLAIN, *files, "sample.fps=24", *keys],
        )
        return sample(recipe, "a fox dances", tmp_path)[0]

    return run


def test_poses_and_a_face_move_a_character(run_animate, world):
    path = run_animate()
    assert read_metadata(path)["task"] == "animate"
    plain = load_file(path.with_suffix(".safetensors"))["latents"]
    assert plain.shape[:3] == (3, 16, 2)
    footage = (f"sample.video={world / 'moves.mp4'}", f"sample.mask={world / 'fox.png'}")
    path = run_animate(*footage, "sample.guide_scale=2")
    replaced = load_file(path.with_suffix(".safetensors"))["latents"]
    assert (replaced - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("sample.clips.overlap=2",), "sample.clips.overlap: got 2; task animate knows 1 or 5"),
        (("sample.mask={fox}",), "sample.mask: task animate takes a background video and a mask"),
        (("sample.face_video=null",), "sample.face_video: task animate needs one"),
    ],
)
def test_mistakes_of_animate_are_one_line(run_animate, world, keys, message):
    with pytest.raises(Exception, match=r"\S") as error:  # RecipeError or UserError
        run_animate(*(key.format(fox=world / "fox.png") for key in keys))
    assert message in "\n".join(error.value.lines)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("sample.clips.overlap=5",), "sample.clips.overlap: got 5; must be 1 to 4"),
        (("sample.frames=17",), "moves.mp4 holds 12 at 24 fps: leave sample.frames out"),
        (("sample.video=null",), "sample.video: task animate2 needs one"),
        (("sample.mask={fox}",), "sample.mask: task animate2 takes none"),
    ],
)
def test_mistakes_are_one_line(run, world, keys, message):
    with pytest.raises(Exception, match=r"\S") as error:  # RecipeError or UserError
        run(*(key.format(fox=world / "fox.png") for key in keys))
    assert message in "\n".join(error.value.lines)
