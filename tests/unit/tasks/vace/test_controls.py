"""Controls made of plain footage, and layouts."""

import numpy as np
import pytest
import torch
from torchvision.utils import flow_to_image

from wanctl.errors import UserError
from wanctl.tasks.vace.controls import CONTROLS, flow_colours, layout, make_control
from wanctl.tasks.vace_options import Track


def moving_square(frames=4, step=3, size=(64, 96)) -> np.ndarray:
    """A textured square on a textured ground; the square goes right."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (*size, 3), np.uint8)
    square = rng.integers(140, 250, (24, 24, 3), np.uint8)
    video = np.repeat(ground[None], frames, axis=0)
    for number, picture in enumerate(video):
        x = 20 + step * number
        picture[20:44, x : x + 24] = square
    return video


@pytest.mark.parametrize("kind", CONTROLS)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_control_is_as_long_and_as_large_as_its_footage(kind, frames):
    made = list(make_control(kind, iter(moving_square(frames))))
    assert len(made) == frames
    assert all(m.shape == (64, 96, 3) and m.dtype == np.uint8 for m in made)


def test_an_unknown_control_names_the_nearest():
    with pytest.raises(UserError, match="no control named 'gray'; did you mean 'grey'"):
        make_control("gray", [])


def test_grey_weighs_red_as_red():
    picture = np.zeros((1, 3, 3), np.uint8)
    picture[0] = np.eye(3) * 255
    [made] = make_control("grey", [picture])
    assert made[0].tolist() == [[76] * 3, [150] * 3, [29] * 3]


def test_scribble_draws_outlines_and_nothing_else():
    picture = np.full((240, 416, 3), 90, np.uint8)
    picture[60:180, 100:300] = (200, 160, 120)
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    [made] = make_control("scribble", [np.clip(picture + noise, 0, 255).astype(np.uint8)])
    assert (made[..., 0] == made[..., 2]).all()
    line = made[..., 0] < 128
    near = np.zeros(line.shape, bool)
    near[56:184, 96:304] = True
    near[64:176, 104:296] = False
    assert not line[~near].any()
    assert line[:, 200].any()
    assert (made[120, 98:103, 0] < 128).any()
    assert 0.005 < line.mean() < 0.05


def test_scribble_of_a_blank_picture_is_white():
    noise = np.random.default_rng(0).normal(128, 5, (120, 160, 3)).astype(np.uint8)
    [made] = make_control("scribble", [noise])
    assert (made == 255).all()


def test_flow_shows_the_square_that_moves_to_the_right_as_red():
    first, second, *_ = made = list(make_control("flow", moving_square()))
    assert np.array_equal(first, second)
    for number, picture in enumerate(made[1:]):
        x = 20 + 3 * number
        inside = picture[26:38, x + 6 : x + 18].reshape(-1, 3).mean(axis=0)
        assert inside[0] > 240
        assert max(inside[1:]) < 70
        assert picture[2:12, :12].min() > 225  # the ground stands still


def test_still_footage_is_white():
    still = moving_square(1).repeat(3, axis=0)
    rng = np.random.default_rng(1)
    noisy = np.clip(still + rng.normal(0, 1.5, still.shape), 0, 255).astype(np.uint8)
    for video in (still, noisy):
        assert all(picture.mean() > 240 for picture in make_control("flow", video))


def test_colours_are_those_of_the_published_wheel():
    moved = torch.randn(2, 40, 60, generator=torch.Generator().manual_seed(0)) * 5
    theirs = flow_to_image(moved).permute(1, 2, 0).numpy().astype(int)
    ours = flow_colours(moved.permute(1, 2, 0).numpy()).astype(int)
    assert abs(ours - theirs).max() <= 2
    assert theirs.std() > 30


def test_a_layout_moves_its_boxes_from_key_to_key():
    track = Track({0: (0, 0, 0.25, 0.5), 4: (0.5, 0.5, 0.75, 1)}, colour=(255, 0, 0))
    other = Track({2: (0.8, 0.1, 0.9, 0.2)})
    made = list(layout([track, other], 6, 101, 201))
    assert len(made) == 6

    def ink(picture, colour):
        found = (picture == colour).all(axis=2)
        rows, columns = found.any(axis=1).nonzero()[0], found.any(axis=0).nonzero()[0]
        return (columns[0], rows[0], columns[-1], rows[-1]) if len(rows) else None

    first, middle, last = (ink(made[i], (255, 0, 0)) for i in (0, 2, 4))
    assert np.allclose(first, (0, 0, 50, 50), atol=2)
    assert np.allclose(middle, (50, 25, 100, 75), atol=2)
    assert np.allclose(last, (100, 50, 150, 100), atol=2)
    assert ink(made[5], (255, 0, 0)) is None
    assert [ink(picture, (0, 0, 0)) is not None for picture in made] == [False] * 2 + [True] + [
        False
    ] * 3
    assert (made[5] == 255).all()
    assert (made[0][25, 25] == 255).all()  # outlines, not areas


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (Track({9: (0, 0, 1, 1)}), "vace.layout: a box at frame 9; the video has frames 0 to 4"),
        (Track({0: (0.5, 0, 0.4, 1)}), "need left < right"),
        (Track({0: (0, 0, 1.2, 1)}), "shares of the picture"),
    ],
)
def test_impossible_boxes_are_refused(track, message):
    with pytest.raises(UserError, match=message):
        list(layout([track], 5, 32, 32))
