"""Tasks whose model reads known frames: masks, channels, what CLIP sees, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import VAEShape
from wanctl.tasks.image_channels import frame_mask
from wanctl.tasks.inputs import Inputs, RequestedSize, SourceVideo
from wanctl.tasks.table import TASKS

VAE = VAEShape()
I2V, I2V_22, FLF2V, TI2V = (
    VARIANTS[name]
    for name in ("wan2.1-i2v-14b-480p", "wan2.2-i2v-a14b", "wan2.1-flf2v-14b", "wan2.2-ti2v-5b")
)
TEXTS = [torch.ones(2, 4), torch.ones(3, 4)]
SIZE = PixelShape(9, 32, 48)


class Encoders:
    """A VAE that shrinks by taking single pixels, so that tests can see where they went."""

    def __init__(self, dit):
        self.dit = dit
        self.seen = []

    def latents(self, video):
        self.video = video
        return video[:, ::4, ::8, ::8]

    def images(self, pictures):
        self.seen = pictures
        return torch.stack([picture.mean().expand(5, 7) for picture in pictures])


def picture(value, size=(32, 48)):
    return torch.full((3, *size), value)


def footage(count=40, fps=20.0, size=(32, 48)):
    """Picture number n has the value n everywhere."""
    pictures = [np.full((*size, 3), n, np.uint8) for n in range(count)]
    starts = np.arange(count) / fps
    return SourceVideo(pictures, starts, starts + 1 / fps, "clip.mp4", size)


def numbers(video):
    """Which pictures of `footage` lie in a video (3, F, H, W)."""
    return ((video[0, :, 0, 0] + 1) * 127.5).round().int().tolist()


@pytest.mark.parametrize(
    ("places", "frames", "expected"),
    [
        ([0], 9, ["100", "100", "100", "100"]),  # a row for each channel
        ([0, 8], 9, ["100", "100", "100", "101"]),
        ([0, 1, 2], 9, ["110", "110", "100", "100"]),
        ([5], 9, ["001", "000", "000", "000"]),
        ([0, 1, 2, 3, 4], 9, ["110", "110", "110", "110"]),
        ([0], 1, ["1", "1", "1", "1"]),
    ],
)
def test_masks(places, frames, expected):
    assert ["".join(str(int(v)) for v in row) for row in frame_mask(places, frames)] == expected


def test_the_mask_of_81_frames_is_the_published_one():
    mask = frame_mask([0, 80], 81)
    assert mask.shape == (4, 21)
    assert mask[:, 0].tolist() == [1, 1, 1, 1]
    assert mask[:, -1].tolist() == [0, 0, 0, 1]
    assert mask[:, 1:-1].sum() == 0


@pytest.mark.parametrize("variant", [I2V, I2V_22])
def test_the_first_frame_is_the_picture_and_the_rest_grey(variant):
    encode = Encoders(variant.dit)
    image = picture(0.5, (64, 96))
    got = TASKS["i2v"].conditions(TEXTS, 6, Inputs(image=image), SIZE, encode)
    assert got.context.shape == (2, 6, 4)
    assert got.channels.shape == (2, 4 + 3, 3, 4, 6)
    assert got.channels[:, :4, 0].min() == 1
    assert got.channels[:, :4, 1:].abs().sum() == 0
    assert (encode.video[:, 0] == 0.5).all()
    assert encode.video[:, 1:].abs().sum() == 0
    if variant is I2V:  # CLIP sees the picture as it is, before any resizing
        assert got.image.shape == (2, 5, 7)
        assert [tuple(each.shape) for each in encode.seen] == [(3, 64, 96)]
    else:
        assert got.image is None
        assert encode.seen == []


def test_two_pictures_are_both_seen_and_the_second_covers_the_first():
    encode = Encoders(FLF2V.dit)
    last = torch.cat((picture(-1.0, (64, 32)), picture(0.5, (64, 96)), picture(1.0, (64, 32))), 2)
    inputs = Inputs(image=picture(-0.5), last_image=last)
    got = TASKS["flf2v"].conditions(TEXTS[:1], 6, inputs, SIZE, encode)
    assert got.image.shape == (1, 10, 7)
    assert [tuple(each.shape) for each in encode.seen] == [(3, 32, 48), (3, 32, 48)]
    assert torch.allclose(encode.video[:, 0], torch.tensor(-0.5))
    # 160x64 is scaled to 80x32, of which the middle 48 columns stay: all of them 0.5
    assert (encode.video[:, 8, :, 2:-2] - 0.5).abs().max() < 0.01
    assert got.channels[0, :4, 2, 0, 0].tolist() == [0, 0, 0, 1]


def test_any_frames_can_be_known():
    encode = Encoders(I2V.dit)
    known = {4: picture(0.2), 0: picture(-0.2), -1: picture(0.7, (64, 96))}
    got = TASKS["interpolation"].conditions(
        TEXTS[:1], 6, Inputs(known_frames=dict(sorted(known.items()))), SIZE, encode
    )
    values = encode.video[0, :, 0, 0]
    assert [round(v, 1) for v in values.tolist()] == [-0.2, 0, 0, 0, 0.2, 0, 0, 0, 0.7]
    assert torch.equal(got.channels[0, :4, :, 0, 0], frame_mask([0, 4, 8], 9))
    assert [round(each.mean().item(), 1) for each in encode.seen] == [-0.2]


def test_continuation_begins_with_the_footages_last_frames_at_the_outputs_rate():
    encode = Encoders(I2V_22.dit)
    inputs = Inputs(video=footage(fps=20.0), given_frames=5, fps=10.0)
    got = TASKS["continuation"].conditions(TEXTS[:1], 6, inputs, SIZE, encode)
    assert numbers(encode.video)[:5] == [31, 33, 35, 37, 39]
    assert encode.video[:, 5:].abs().sum() == 0
    assert torch.equal(got.channels[0, :4, :, 0, 0], frame_mask(range(5), 9))


def test_continuation_gives_latents_to_a_model_that_reads_noise_alone():
    encode = Encoders(TI2V.dit)
    inputs = Inputs(video=footage(), given_frames=5, fps=20.0)
    got = TASKS["continuation"].conditions(TEXTS, 6, inputs, SIZE, encode)
    assert got.channels is None
    assert got.known_frames.tolist() == [True, True, False]
    assert got.known.shape == (2, 3, 3, 4, 6)
    assert numbers(encode.video) == [35, 36, 37, 38, 39]
    with pytest.raises(UserError, match=r"given_frames: got 4; .* 4n\+1, e\.g\. 1 or 5"):
        TASKS["continuation"].conditions(TEXTS, 6, replace(inputs, given_frames=4), SIZE, encode)


def test_how_many_frames_are_given_by_default():
    encode = Encoders(I2V_22.dit)
    for frames, fps, expected in ((81, 16.0, 25), (17, 12.0, 5), (9, 16.0, 1)):
        inputs = Inputs(video=footage(count=80), fps=fps)
        size = PixelShape(frames, 32, 48)
        got = TASKS["continuation"].conditions(TEXTS[:1], 6, inputs, size, encode)
        assert (
            int(got.channels[0, :4, :, 0, 0].sum()) == expected + 3
        )  # the first counts four times


def test_the_first_latent_frame_is_known_to_ti2v():
    encode = Encoders(TI2V.dit)
    got = TASKS["ti2v"].conditions(TEXTS, 6, Inputs(image=picture(0.5)), SIZE, encode)
    assert got.known_frames.tolist() == [True, False, False]
    assert torch.allclose(got.known[:, :, 0], torch.tensor(0.5), atol=0.01)
    assert encode.video.shape == (3, 1, 32, 48)
    assert TASKS["ti2v"].conditions(TEXTS, 6).known is None


@pytest.mark.parametrize(
    ("task", "inputs", "expected"),
    [
        ("i2v", Inputs(image=picture(0, (480, 832))), (81, 464, 832)),
        ("flf2v", Inputs(image=picture(0, (64, 64)), last_image=picture(0)), (81, 624, 624)),
        ("interpolation", Inputs(known_frames={3: picture(0, (1920, 1080))}), (81, 832, 464)),
        ("continuation", Inputs(video=footage(size=(720, 1280))), (81, 464, 832)),
    ],
)
def test_the_first_picture_gives_the_shape(task, inputs, expected):
    size = TASKS[task].size(inputs, RequestedSize(), I2V.defaults, VAE)
    assert size == expected
    exact = TASKS[task].size(
        replace(inputs, exact=True), RequestedSize(exact=True), I2V.defaults, VAE
    )
    assert exact == (81, 480, 832)


@pytest.mark.parametrize("frames", [(0, -1), (-1, 0), (2, 8, -3), (40, -81)])
def test_the_first_known_frame_in_time_gives_the_shape(frames):
    """A negative number counts from the end, so -81 of 81 frames is the first."""
    first = min(frames, key=lambda frame: frame % 81)
    wide, tall = picture(0.5, (32, 64)), picture(0, (64, 32))
    known = {frame: wide if frame == first else tall for frame in frames}
    inputs = Inputs(known_frames=dict(sorted(known.items())))
    size = TASKS["interpolation"].size(inputs, RequestedSize(), I2V.defaults, VAE)
    assert size.width == pytest.approx(2 * size.height, rel=0.1)
    assert TASKS["interpolation"].source_size(inputs, 81) == (32, 64)


def test_an_exact_size_cuts_the_picture():
    encode = Encoders(I2V_22.dit)
    left, middle, right = picture(-1, (32, 40)), picture(0.5, (32, 48)), picture(1, (32, 40))
    inputs = Inputs(image=torch.cat((left, middle, right), dim=2), exact=True)
    TASKS["i2v"].conditions(TEXTS[:1], 6, inputs, SIZE, encode)
    assert (encode.video[:, 0] - 0.5).abs().max() < 0.01
    encode_all = Encoders(I2V_22.dit)
    TASKS["i2v"].conditions(TEXTS[:1], 6, replace(inputs, exact=False), SIZE, encode_all)
    assert encode_all.video[0, 0, 0, 0] < -0.9


def size_of(task, inputs, frames=81, variant=I2V):
    return TASKS[task].size(inputs, RequestedSize(frames=frames), variant.defaults, VAE)


@pytest.mark.parametrize(
    ("task", "inputs", "frames", "message"),
    [
        ("i2v", Inputs(), 81, r"^image: task i2v needs one; say `--set sample\.image=FILE`"),
        ("flf2v", Inputs(image=picture(0)), 81, "^last_image: task flf2v needs one"),
        ("i2v", Inputs(image=picture(0)), 1, "^frames: got 1; task i2v makes videos of 5"),
        ("i2v", Inputs(image=picture(0), last_image=picture(0)), 81, "^last_image: task i2v takes"),
        ("t2v", Inputs(image=picture(0)), 81, r"^image: task t2v takes none \(it takes face\)"),
        ("i2v", Inputs(image=picture(0, (4, 9000))), 81, "^image: got a picture of 9000x4; too"),
        ("ti2v", Inputs(image=picture(0, (4, 9000))), 81, "^image: got a picture of 9000x4; too"),
        (
            "interpolation", Inputs(known_frames={0: picture(0, (4, 9000))}), 81,
            "^known_frames: got a picture of 9000x4; too",
        ),
        (
            "continuation", Inputs(video=footage(size=(4, 9000))), 81,
            "^video: got a picture of 9000x4; too",
        ),
        ("interpolation", Inputs(), 81, "^known_frames: task interpolation needs one"),
        (
            "interpolation", Inputs(known_frames={90: picture(0)}), 81,
            "^known_frames: got frame 90; the video has frames 0 to 80",
        ),
        (
            "interpolation", Inputs(known_frames={-1: picture(0), 80: picture(0)}), 81,
            "^known_frames: frame 80 is named twice",
        ),
        ("continuation", Inputs(), 81, "^video: task continuation needs one"),
        (
            "continuation", Inputs(video=footage(), given_frames=81), 81,
            "^given_frames: got 81; must be 1 to 80",
        ),
        (
            "continuation", Inputs(video=footage(10), given_frames=41, fps=20.0), 81,
            r"^video: clip\.mp4: lasts 0\.50 s; 41 frames .* say `--set sample\.given_frames=9`",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(task, inputs, frames, message):
    with pytest.raises(UserError, match=message) as caught:
        size_of(task, inputs, frames)
    assert "\n" not in str(caught.value)


def test_frames_that_are_not_4n_plus_1_are_left_to_the_check_of_sizes():
    assert size_of("i2v", Inputs(image=picture(0, (480, 832))), 80).frames == 80
    with pytest.raises(UserError, match=r"frames: got 80; must be 4n\+1"):
        TASKS["i2v"].latent_shape(VAE, 80, 464, 832)
