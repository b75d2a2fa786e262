"""Task s2v: sizes, the division into clips, and features of sound, against the official rules."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import SpeechShape
from wanctl.tasks.clips.sound_features import features_at, num_features, official_clips, resampled
from wanctl.tasks.clips.speech import S2V
from wanctl.tasks.inputs import (
    ClipOptions,
    Inputs,
    RequestedSize,
    SourceSound,
    SourceVideo,
    SpeechOptions,
)
from wanctl.tasks.table import TASKS

TASK, VARIANT = S2V(), VARIANTS["wan2.2-s2v-14b"]


def sound(seconds):
    count = round(seconds * 16_000)
    speech, track = np.zeros(count, np.float32), np.zeros((3 * count, 2), np.int16)
    return SourceSound(speech, track, "speech.wav", seconds)


def poses(frames):
    edges = np.arange(frames + 1) / 16
    pictures = [np.full((64, 64, 3), 10 * n % 256, np.uint8) for n in range(frames)]
    return SourceVideo(pictures, edges[:-1], edges[1:], "poses.mp4", (64, 64))


def given(seconds=3.0, picture=(64, 64), **more):
    return Inputs(image=torch.zeros(3, *picture), audio=sound(seconds), **more)


def size_of(inputs, **requested):
    wanted = RequestedSize(**requested)
    return TASK.size(inputs, wanted, VARIANT.defaults, VARIANT.vae)


@pytest.mark.parametrize(
    ("seconds", "frames", "clips"),
    [
        (3.0, 48, 1),
        (4.8, 77, 1),  # all that is left of the first clip
        (4.95, 77, 1),  # the official number of clips leaves out the end
        (5.0, 77, 1),  # wav2vec2 has 249 states: 149 features
        (5.1, 82, 2),
        (10.0, 157, 2),
        (10.1, 162, 3),
    ],
)
def test_an_output_lasts_as_long_as_its_sound_in_the_official_number_of_clips(
    seconds, frames, clips
):
    inputs = given(seconds)
    size = size_of(inputs)
    assert size == PixelShape(frames, 64, 64)
    assert official_clips(len(inputs.audio.speech), 80, 16.0) == clips
    assert len(TASK.clips(size, inputs)) == clips


def test_clips_follow_each_other_and_the_first_frames_of_the_first_are_dropped():
    size = PixelShape(100, 64, 64)
    first, second = TASK.clips(size, given())
    assert first == list(range(-3, 77))
    assert second == list(range(77, 157))
    begins = given(speech=SpeechOptions(image_first=True))
    assert TASK.clips(size, begins) == [list(range(80)), list(range(80, 160))]
    short = given(clips=ClipOptions(81))
    assert TASK.clips(PixelShape(12, 64, 64), short) == [list(range(-3, 5)), list(range(5, 13))]
    assert TASK.latent_shape(VARIANT.vae, *size, given()) == (16, 20, 8, 8)
    assert TASK.latent_shape(VARIANT.vae, *size, short) == (16, 2, 8, 8)
    # 20 latent frames of the clip, the picture, and those before in patches of three sizes
    read = 20 + 1 + 1 + 1 / 4 + 4 / 16
    assert read <= TASK.sequence_frames(TASK.clip_options(given())) < read + 1


def official_size(height, width, target_area):
    """The rule of wan/speech2video.py, written down from its description."""
    if height * width <= target_area:
        low, high = 0.1, 1.0
    else:
        b, a, c = 63 * (height + width), height * width, 63**2 - target_area
        low = (-b + (b * b - 2 * a * c) ** 0.5) / (2 * a)
        high = (target_area / (height * width)) ** 0.5
    for i in range(100):
        scale = high - (high - low) * i / 100
        sides = [int(side * scale) for side in (height, width)]
        sides = [side + (64 - side % 64) % 64 for side in sides]
        if sides[0] * sides[1] <= target_area:
            return tuple(sides)
    return None


@pytest.mark.parametrize("picture", [(720, 1280), (1080, 1920), (300, 200), (64, 64), (999, 777)])
def test_the_size_is_the_officials(picture):
    size = size_of(given(picture=picture))
    assert (size.height, size.width) == official_size(*picture, 704 * 1024)
    assert size.height % 64 == size.width % 64 == 0


def test_models_that_read_speech_do_nothing_else():
    assert [name for name, task in TASKS.items() if not task.refusal(VARIANT.dit)] == ["s2v"]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "s2v"])
def test_other_tasks_take_no_sound(name):
    task = TASKS[name]
    needed = {key: () if key == "references" else object() for key in task.required_inputs}
    needed |= {"references": (object(),)} if "references" in needed else {}
    needed |= {"known_frames": {0: object()}} if "known_frames" in needed else {}
    with pytest.raises(UserError, match=f"audio: task {name} takes none"):
        task.check(Inputs(**needed, audio=sound(1.0)))


def test_features_are_resampled_and_taken_at_the_frames():
    states = torch.randn(3, 249, 5)
    features = resampled(states)
    places = torch.linspace(0, 248, 149)
    low, share = places.long().clamp(max=247), places - places.long().clamp(max=247)
    expected = states[:, low] * (1 - share)[:, None] + states[:, low + 1] * share[:, None]
    assert num_features(5 * 16_000) == features.shape[1] == 149
    torch.testing.assert_close(features, expected, atol=2e-4, rtol=0)
    taken = features_at(features, [-3, 0, 1, 4, 12, 79, 80], 16.0)
    assert taken.shape == (3, 5, 7)
    indices = [0, 0, 2, 8, 22, 148]  # halves go to the even number
    assert torch.equal(taken[..., :6], features[:, indices].transpose(1, 2))
    assert not taken[..., 6].any()  # 150: after the sound


class Encoders:
    """Latents are the means of frames; the sound is counted."""

    dit = SimpleNamespace(text_dim=8, speech=SpeechShape())

    def latents(self, video):
        means = F.avg_pool2d(video, 8)[:1]
        return torch.cat([means[:, :1], means[:, 1:].unflatten(1, (-1, 4)).mean(2)], dim=1)

    def sound(self, samples):
        return torch.arange(len(samples) // 320).float()[None, :, None].expand(3, -1, 5)


def test_conditions_of_the_first_and_of_later_clips():
    inputs = given(8.0, pose_video=poses(128))
    size = size_of(inputs)
    source = TASK.source(inputs, size, Encoders())
    first, second = TASK.clips(size, inputs)
    assert source.start() is None
    made = source.conditions(first, None)
    assert made.before is None
    assert (made.references.timestep, made.references.before) == (0.0, False)
    assert torch.equal(source.lead(None), made.references.latents[0])
    assert made.speech.shape == (1, 3, 5, 80)
    assert not made.negative["speech"].any()
    # poses of frames -3 to 0, then 1 to 4
    grey = (made.pose[0, 0, :2, 0, 0] + 1) * 127.5
    torch.testing.assert_close(grey, torch.tensor([0.0, 25.0]))
    previous = torch.rand(3, 73, 64, 64)
    later = source.conditions(second, previous)
    assert later.before.shape[2] == 19
    assert torch.equal(source.lead(previous), later.before[0])
    assert not later.speech[..., 60:].any()  # 8 s of sound are 128 frames
    assert (later.pose[0, 0, -1] == -1).all()


def test_a_video_may_begin_with_its_picture():
    inputs = Inputs(
        image=torch.full((3, 64, 64), 1.0), audio=sound(1.0), speech=SpeechOptions(image_first=True)
    )
    size = size_of(inputs)
    before = TASK.source(inputs, size, Encoders()).start()
    assert size.frames == 16
    assert before.shape == (3, 73, 64, 64)
    assert not before[:, :-6].any()
    assert (before[:, -6:] == 1).all()


@pytest.mark.parametrize(
    ("inputs", "requested", "message"),
    [
        (Inputs(image=torch.zeros(3, 64, 64)), {}, "audio: task s2v needs one; say"),
        (given(0.1), {}, "audio: speech.wav: lasts 0.10 s; need at least 0.2 s"),
        (given(), {"frames": 1}, "frames: got 1; task s2v makes a video"),
        (given(pose_video=poses(20)), {}, "pose_video: poses.mp4 holds 20 frames at 16 fps; the"),
        (given(clips=ClipOptions(73)), {}, "clips.frames: got 73; task s2v needs at least 77"),
        (given(clips=ClipOptions(80)), {}, "clips.frames: got 80; must be 4n+1"),
        (given(clips=ClipOptions(overlap=5)), {}, "clips.overlap: got 5; task s2v knows 73"),
        (given(), {"exact": True, "height": 480}, "height: got 480; must be a multiple of 64"),
        (given(picture=(64, 40_000)), {"height": 64, "width": 64}, "image: got a picture of 40000"),
        (given(last_image=torch.zeros(3, 8, 8)), {}, "last_image: task s2v takes none"),
    ],
)
def test_mistakes_are_named(inputs, requested, message):
    with pytest.raises(UserError) as caught:
        size_of(inputs, **requested)
    assert message in str(caught.value)
