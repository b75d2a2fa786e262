"""What VACE is shown, for every way of using it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.tasks.inputs import SourceVideo
from wanctl.tasks.vace.controls import make_control
from wanctl.tasks.vace.source import (
    blank_source,
    layout_source,
    source_frame_indices,
    source_from_video,
    source_video_shape,
)
from wanctl.tasks.vace_options import Track, VaceOptions

CANVAS = (48, 64)
GREY = 127 / 127.5 - 1


def clip(frames=5, height=48, width=64, name="clip.mp4") -> SourceVideo:
    """Each picture tells its number by its brightness: 10, 20, 30 ..."""
    pictures = [np.full((height, width, 3), 10 * (i + 1), np.uint8) for i in range(frames)]
    edges = np.arange(frames + 1) / 16
    return SourceVideo(pictures, edges[:-1], edges[1:], name, (height, width))


def mask_clip(frames=1, height=48, width=64) -> SourceVideo:
    """The left half is white."""
    picture = np.zeros((height, width), np.uint8)
    picture[:, : width // 2] = 255
    edges = np.arange(frames + 1) / 16
    return SourceVideo([picture] * frames, edges[:-1], edges[1:], "m.png", (height, width))


def prepare(footage, how=None, mask=None):
    how = how or VaceOptions()
    shape = source_video_shape(footage, how, CANVAS)
    places = source_frame_indices(footage, how, shape.frames)
    return source_from_video(footage, mask, how, places, shape)


def numbers(source) -> list[int | None]:
    """Which picture is where, by the brightness of its middle; None for grey."""
    values = (source.video[0, :, 24, 32] + 1) * 127.5
    return [None if round(v) == 127 else round(v / 10) for v in values.tolist()]


def test_nothing_given_is_zeros_all_to_be_made():
    source = blank_source(PixelShape(5, 48, 64))
    assert source.video.shape == (3, 5, 48, 64)
    assert not source.video.any()
    assert source.mask.shape == (1, 5, 48, 64)
    assert (source.mask == 1).all()


def test_a_video_alone_is_a_control():
    source = prepare(clip())
    assert numbers(source) == [1, 2, 3, 4, 5]
    assert (source.mask == 1).all()


def test_a_longer_video_is_spread():
    assert numbers(prepare(clip(10))) == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert numbers(prepare(clip(3))) == [1]


@pytest.mark.parametrize("frames", [1, 5])
def test_a_mask_is_a_picture_or_as_long_as_the_video(frames):
    source = prepare(clip(), mask=mask_clip(frames))
    assert (source.mask[..., :32] == 1).all()
    assert (source.mask[..., 32:] == 0).all()
    assert numbers(source) == [1, 2, 3, 4, 5]
    assert (source.video[:, 2] == 30 / 127.5 - 1).all()  # the official loader changes no pixel


def test_a_moving_mask_goes_with_its_pictures():
    levels = [np.full((48, 64), 255 if i >= 5 else 0, np.uint8) for i in range(10)]
    masks = replace(mask_clip(10), pictures=levels)
    source = prepare(clip(10), mask=masks)
    assert source.mask[0, :, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_in_painting_hides_what_is_to_be_made_anew():
    source = prepare(clip(), VaceOptions(control="blank"), mask_clip())
    assert source.video[..., :32].unique().tolist() == pytest.approx([GREY])
    assert (source.video[:, 2, :, 32:] == 30 / 127.5 - 1).all()


def test_a_mask_is_shaped_before_it_is_used():
    how = VaceOptions(control="blank", mask_form="bbox", mask_expand=0.25)
    source = prepare(clip(), how, mask_clip())
    assert (source.mask[..., :40] == 1).all()
    assert (source.mask[..., 40:] == 0).all()


@pytest.mark.parametrize("control", ["grey", "scribble", "flow"])
def test_a_control_is_made_of_the_footage_inside_the_mask_only(control):
    rng = np.random.default_rng(0)
    textured = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(5)]
    footage = replace(clip(), pictures=textured)
    source = prepare(footage, VaceOptions(control=control), mask_clip())
    made = np.stack(list(make_control(control, footage.pictures))).astype(float) / 127.5 - 1
    plain = np.stack(footage.pictures).astype(float) / 127.5 - 1
    video = source.video.permute(1, 2, 3, 0).numpy()
    assert np.allclose(video[:, :, :32], made[:, :, :32], atol=1e-6)
    assert np.allclose(video[:, :, 32:], plain[:, :, 32:], atol=1e-6)
    whole = prepare(footage, VaceOptions(control=control))
    assert (whole.mask == 1).all()
    assert np.allclose(whole.video.permute(1, 2, 3, 0).numpy(), made, atol=1e-6)


def test_out_painting_adds_grey_that_is_made_and_keeps_the_rest():
    how = VaceOptions(outpaint=(0.5, 0, 0.5, 0))
    source = prepare(clip(5, 24, 32), how)
    # 24x64 is brought down to a size of 16 in each direction: 16x64
    assert source.video.shape == (3, 5, 16, 64)
    assert (source.mask[..., 20:44] == 0).all()
    assert (source.mask[..., :12] == 1).all()
    assert (source.mask[..., 52:] == 1).all()
    assert source.video[..., :12].unique().tolist() == pytest.approx([GREY])
    assert (source.video[:, 1, :, 24:40] == 20 / 127.5 - 1).all()


@pytest.mark.parametrize(
    ("extend", "expected"),
    [
        ((0, 4), [1, 2, 3, 4, 5, None, None, None, None]),
        ((4, 0), [None, None, None, None, 1, 2, 3, 4, 5]),
        ((2, 2), [None, None, 1, 2, 3, 4, 5, None, None]),
    ],
)
def test_extension_keeps_the_clip_and_makes_what_is_around_it(extend, expected):
    source = prepare(clip(), VaceOptions(extend=extend))
    assert numbers(source) == expected
    assert source.mask[0, :, 0, 0].tolist() == [float(e is None) for e in expected]


def test_first_and_last_frame_are_kept_at_their_places():
    places = [0, *[None] * 7, 1]
    source = source_from_video(clip(2), None, VaceOptions(), places, PixelShape(9, 48, 64))
    assert numbers(source) == [1, *[None] * 7, 2]
    assert source.mask[0, :, 0, 0].tolist() == [0.0, *[1.0] * 7, 0.0]


def test_a_layout_is_drawn_and_everything_is_made():
    source = layout_source(
        [Track({0: (0.2, 0.2, 0.8, 0.8), 4: (0, 0, 1, 1)})], PixelShape(5, 48, 64)
    )
    assert (source.mask == 1).all()
    assert source.video.unique().tolist() == [-1, 1]
    assert (source.video[:, 0, 24, 32] == 1).all()
    assert (source.video[:, 4, 0, 32] == -1).all()
    assert torch.equal(source.video[0], source.video[2])


@pytest.mark.parametrize(
    ("how", "mask", "message"),
    [
        ({"extend": (-1, 0)}, None, r"vace.extend: got \[-1, 0\] frames"),
        ({"outpaint": (-0.1, 0, 0, 0)}, None, "vace.outpaint: .* must be 0 or more"),
    ],
)
def test_impossible_wishes_are_one_line(how, mask, message):
    with pytest.raises(UserError, match=message) as caught:
        prepare(clip(), VaceOptions(**how), mask)
    assert "\n" not in str(caught.value)


def test_a_coloured_mask_is_refused():
    coloured = np.zeros((48, 64, 3), np.uint8)
    coloured[:, :32] = (200, 30, 30)
    with pytest.raises(UserError, match=r"mask: photo\.png: .* 3 colour channels"):
        prepare(clip(), mask=replace(mask_clip(), pictures=[coloured], name="photo.png"))
