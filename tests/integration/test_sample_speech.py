"""`wanctl sample` of S2V: from a picture and a sound to a video with the sound, clip by clip."""

import json

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.integration.small_variants import small_variant, stop_before_clip, write_small_weights
from wanctl.errors import UserError
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import SPEECH_RATE
from wanctl.recipe.load import load_recipe
from wanctl.sample.run import sample
from wanctl.video.encode import read_metadata, write_video
from wanctl.video.sound.read import TRACK_RATE, read_sound

NAME = "wan2.2-s2v-14b"
SECONDS = 0.7
FRAMES = 12  # of the sound; clips of 8 frames show 5 and 7
PLAIN = (
    "device=cpu", "sample.steps=2", "sample.height=64", "sample.width=64",
    "sample.clips.frames=81", "sample.guide_scale=2", "sample.save_latents=true",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small model, a picture, a sound of 0.7 s and poses."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / "person.png")
    small = rng.integers(0, 255, (FRAMES, 4, 4, 3), np.uint8)
    times = np.arange(int(SECONDS * TRACK_RATE)) / TRACK_RATE
    tone = (8000 * np.sin(2 * np.pi * 300 * times)).astype(np.int16)
    pixels = small.repeat(16, 1).repeat(16, 2)
    write_video(folder / "talk.mp4", pixels, 16.0, sound=np.stack((tone, tone), axis=1))
    write_video(folder / "silent.mp4", pixels, 16.0)
    write_small_weights(folder / "weights", small_variant(VARIANTS[NAME]))
    return folder


@pytest.fixture
def run(world, tmp_path, monkeypatch):
    monkeypatch.setitem(VARIANTS, NAME, small_variant(VARIANTS[NAME]))
    files = (f"sample.image={world / 'person.png'}", f"sample.audio={world / 'talk.mp4'}")
    weights = f"model.weights={world / 'weights'}"

    def run(*keys, out=tmp_path):
        keys = [key.format(world=world) for key in keys]
        return sample(load_recipe(NAME, [weights, *PLAIN, *files, *keys]), "a person", out)[0]

    return run


def frames_of(path):
    with av.open(str(path)) as container:
        return [each.to_ndarray(format="rgb24") for each in container.decode(video=0)]


def latents_of(path):
    return load_file(path.with_suffix(".safetensors"))["latents"]


def test_a_person_speaks_as_long_as_the_sound_lasts(run, world, tmp_path):
    path = run()
    assert len(frames_of(path)) == FRAMES
    sound, given = (read_sound(p, SPEECH_RATE).track for p in (path, world / "talk.mp4"))
    count = min(len(sound), len(given), TRACK_RATE // 2)
    assert abs(len(sound) - len(given)) < 2048
    loud = np.corrcoef(sound[4800:count, 0], given[4800:count, 0])[0, 1]
    assert loud > 0.95
    header = read_metadata(path)
    assert header["task"] == "s2v"
    assert "wav2vec2" in header["audio_weights"]
    assert latents_of(path).shape == (2, 16, 2, 8, 8)  # two clips of 8 frames
    record = json.loads(path.with_suffix(".json").read_text())
    assert [clip["frames"] for clip in record["clips"]] == [[0, 4], [5, 11]]


@pytest.mark.slow
def test_a_run_that_was_stopped_takes_up_its_clips(run, tmp_path, monkeypatch):
    whole = run(out=tmp_path / "whole")
    calls = stop_before_clip(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run()
    calls.append("again")
    again = run()
    assert calls == [0, "again", 1]
    assert again.read_bytes() == whole.read_bytes()
    matched = run("sample.clips.match_colors=true")
    assert (np.stack(frames_of(matched)) != np.stack(frames_of(whole))).any()


@pytest.mark.slow
def test_a_part_of_the_sound_poses_and_the_picture_as_the_first_frame(run):
    short = run("sample.speech.start_s=0.2", "sample.speech.duration_s=0.25")
    assert len(frames_of(short)) == 4
    assert abs(len(read_sound(short, SPEECH_RATE).track) - TRACK_RATE // 4) < 2048
    posed = run("sample.speech.start_s=0.2", "sample.speech.duration_s=0.25",
                "sample.pose_video={world}/silent.mp4")  # fmt: skip
    assert not torch.allclose(latents_of(short), latents_of(posed), atol=1e-3)
    first = run("sample.speech.image_first=true", "sample.frames=13")
    assert len(frames_of(first)) == 13
    assert latents_of(first).shape[0] == 2  # none of its frames is dropped


def test_weights_without_an_audio_encoder_are_refused(run, world, tmp_path):
    for part in ("dit", "vae"):
        (tmp_path / "bare" / part).parent.mkdir(exist_ok=True)
        (tmp_path / "bare" / part).symlink_to(world / "weights" / part)
    with pytest.raises(UserError, match=r"no audio encoder \(wav2vec2\): looked in model.audio_w"):
        run(f"model.weights={tmp_path / 'bare'}")
