"""What is drawn: shapes over time, the subject, references."""

import numpy as np
import pytest
import torch

from wanctl.tasks.pixels import to_array
from wanctl.train.dit.vace.kinds import Window
from wanctl.train.dit.vace.references import draw_references
from wanctl.train.dit.vace.shapes import SHAPES, moving_shape
from wanctl.train.dit.vace.subject import find_subject, follow_box

SIZE = (9, 64, 96)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_their_area_are_never_gone_and_mostly_move(shape):
    rng = np.random.default_rng(0)
    moved, areas = 0, []
    for _ in range(40):
        mask = moving_shape(SIZE, shape, (0.05, 0.3), rng)
        assert mask.shape == SIZE
        assert set(np.unique(mask)) == {0, 255}
        areas.append((mask > 0).mean(axis=(1, 2)))
        moved += bool((mask[0] != mask[-1]).any())
        # from one frame to the next a shape keeps most of itself: motion, not noise
        together = ((mask[1:] > 0) & (mask[:-1] > 0)).sum() / (mask[1:] > 0).sum()
        assert together > 0.6
    areas = np.stack(areas)
    assert areas.min() > 0.004  # part of a small one outside the frame
    assert areas.max() < 0.3 * 1.3**2
    assert 0.1 < areas.mean() < 0.2  # the middle of the bounds, less what lies outside
    assert 24 <= moved <= 37


def test_a_single_frame_has_one_shape():
    mask = moving_shape((1, 32, 32), "blob", (0.2, 0.2), np.random.default_rng(0))
    assert 0.1 < (mask > 0).mean() < 0.25


def test_the_subject_is_found_and_followed(window):
    frames, disc = window
    subject = find_subject(frames, seed=0)
    assert subject is not None
    common, either = (subject.masks & disc).sum((1, 2)), (subject.masks | disc).sum((1, 2))
    assert (common / either).min() > 0.6  # measured 0.72
    left, top, right, bottom = subject.box(8)
    x, y = np.flatnonzero(disc[8].any(0)), np.flatnonzero(disc[8].any(1))
    assert (
        np.abs(np.array([left, right, top, bottom]) - [x[0], x[-1] + 1, y[0], y[-1] + 1]).max() < 8
    )


def test_nothing_stands_out_of_a_plain_frame():
    assert find_subject(np.full((5, 48, 48, 3), 128, np.uint8), seed=0) is None


def test_a_box_goes_along_with_what_is_inside(window):
    frames, _ = window
    still = follow_box(frames, (0.05, 0.05, 0.25, 0.4))
    assert np.abs(still - still[0]).max() < 0.01
    moving = follow_box(frames, (0.33, 0.35, 0.47, 0.65))
    assert (moving[-1, 0] - moving[0, 0]) * 96 == pytest.approx(8, abs=2.5)
    assert np.allclose(moving[:, 2:] - moving[:, :2], moving[0, 2:] - moving[0, :2])


def test_the_first_reference_is_the_subject_and_the_others_are_parts_of_the_window(
    window, control_options
):
    frames, _ = window
    red = white = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawn = draw_references(Window(frames, rng, control_options()), 3)
        assert [each.dtype for each in drawn] == [torch.float32] * 3
        subject, *others = (to_array(each) for each in drawn)
        red += bool(((subject[..., 0] > 150) & (subject[..., 1] < 120)).mean() > 0.35)
        white += bool((subject[0, 0] == 255).all())
        for other in others:
            height, width, _ = other.shape
            assert min(height, width) >= 16
            assert any(
                (frames[t, y : y + height, x : x + width] == other).all()
                for t, y, x in np.argwhere((frames == other[0, 0]).all(axis=-1))
                if y + height <= 64 and x + width <= 96
            )
    assert red == 8
    assert 1 <= white <= 7
