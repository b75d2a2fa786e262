"""`wanctl sample` with models of subjects and of SkyReels: from files to a video."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from tests.integration.small_variants import sample_small, small_variant
from wanctl.errors import UserError
from wanctl.model.dit.networks import make_dit
from wanctl.model.variant_table import VARIANTS
from wanctl.video.encode import write_video

PROMPT = "a red fox"
HEIGHT, WIDTH = 32, 48


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, size in (("fox", (40, 40, 3)), ("hat", (16, 64, 3))):
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, pictures):
    return partial(sample_small, tmp_path, monkeypatch)


def test_references_change_the_video_and_are_no_part_of_it(run, pictures):
    one = f"sample.references=[{pictures / 'fox.png'}]"
    two = f"sample.references=[{pictures / 'fox.png'}, {pictures / 'hat.png'}]"
    first, header = run("phantom-1.3b", one)
    assert first.shape == (1, 16, 2, 4, 6)
    assert header["task"] == "r2v"
    assert float(header["reference_guide_scale"]) == 5
    second, _ = run("phantom-1.3b", two)
    assert second.shape == first.shape
    assert (second - first).abs().max() > 1e-3
    plain, header = run("phantom-1.3b", one, "sample.reference_guide_scale=1")
    assert (plain - first).abs().max() > 1e-3
    again, _ = run("phantom-1.3b", one, "sample.batch=1", "sample.step_cache=0.0001")
    assert torch.allclose(again, first, atol=1e-4)


def test_points_of_the_image_follow_their_tracks(run, pictures):
    image = f"sample.image={pictures / 'fox.png'}"
    start, steps = np.array([[4.0, 20.0]]), np.arange(5)[:, None, None] * [4.0, 0.0]
    np.savez(pictures / "right.npz", tracks=start + steps)
    np.savez(pictures / "still.npz", tracks=start + 0 * steps)

    def sampled(name):
        return run(
            "wan-move-14b-480p", image, f"sample.tracks={pictures / name}", "sample.frames=null"
        )

    right, header = sampled("right.npz")
    assert right.shape[:3] == (1, 16, 2)
    assert (header["task"], header["frames"]) == ("tracks", "5")
    assert "tracks" in header["inputs"]
    still, _ = sampled("still.npz")
    assert (right - still).abs().max() > 1e-4


def test_a_video_is_shot_again_along_another_path(run, pictures):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (9, 4, 6, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    write_video(pictures / "clip.mp4", frames, 16)

    def sampled(move):
        video, camera = f"sample.video={pictures / 'clip.mp4'}", f"{{moves: [{{move: {move}}}]}}"
        return run("recammaster-1.3b", video, f"sample.camera={camera}", steps=1)

    left, header = sampled("arc-left")
    assert left.shape == (1, 16, 2, 4, 6)
    assert header["task"] == "recamera"
    right, _ = sampled("arc-right")
    assert (left - right).abs().max() > 1e-4


def test_the_frame_rate_is_read(run):
    slow, _ = run("skyreels-v2-df-1.3b", "sample.fps=16")
    fast, header = run("skyreels-v2-df-1.3b")
    assert (header["task"], float(header["fps"])) == ("t2v", 24)
    assert (slow - fast).abs().max() > 1e-3


def test_a_face_changes_the_video_and_needs_its_weights(run, pictures, tmp_path):
    plain, _ = run("wan2.1-t2v-14b", steps=1)
    shape = replace(small_variant(VARIANTS["wan2.1-t2v-14b"]).dit, face_rank=4)
    torch.manual_seed(1)
    face = {k: torch.randn_like(v) for k, v in make_dit(shape).state_dict().items() if "loras" in k}
    torch.save({"state_dict": face}, tmp_path / "face.ckpt")
    identity, shown = (
        f"model.identity={tmp_path / 'face.ckpt'}",
        f"sample.face={pictures / 'fox.png'}",
    )
    changed, header = run("wan2.1-t2v-14b", identity, shown, steps=1)
    assert changed.shape == plain.shape
    assert (changed - plain).abs().max() > 1e-4
    assert "face" in header["inputs"]
    for key, message in ((identity, "say `--set sample.face=FILE`"), (shown, "set model.identity")):
        with pytest.raises(UserError, match=message):
            run("wan2.1-t2v-14b", key)
