"""Masks: what counts as one, and the shapes they are given."""

import numpy as np
import pytest

from wanctl.errors import UserError
from wanctl.tasks.inputs import SourceVideo
from wanctl.tasks.vace.masks import FORMS, bounding_box, check_mask, grey_mask, shape_mask


def dots() -> np.ndarray:
    """Three small squares: corners of a right triangle."""
    mask = np.zeros((40, 60), np.uint8)
    for row, column in ((10, 10), (30, 10), (30, 50)):
        mask[row : row + 2, column : column + 2] = 255
    return mask


def test_every_form_holds_the_mask_and_the_next_holds_the_last():
    mask = dots()
    original, hull, box = (shape_mask(mask, form) > 127 for form in FORMS)
    assert (original == (mask > 127)).all()
    assert (hull >= original).all()
    assert (box >= hull).all()
    assert box.sum() == 22 * 42
    assert 0.45 * box.sum() < hull.sum() < 0.62 * box.sum()
    assert hull[25, 20]
    assert not hull[12, 45]


@pytest.mark.parametrize("form", FORMS)
def test_growing_goes_as_far_as_it_was_told(form):
    mask = np.zeros((100, 100), np.uint8)
    mask[40:60, 30:70] = 255  # its longer side is 40
    grown = shape_mask(mask, form, 0.25) > 127
    top, left, bottom, right = bounding_box(grown)
    across = 10
    down = 5 if form == "bbox" else 10
    assert (top, left, bottom, right) == (40 - down, 30 - across, 60 + down, 70 + across)
    assert grown[top, 50]
    assert grown[top, left] == (form == "bbox")  # round corners but for a box


def test_a_grown_mask_stays_in_the_picture():
    mask = np.zeros((20, 20), np.uint8)
    mask[0:10, 15:20] = 255
    for form in FORMS:
        assert bounding_box(shape_mask(mask, form, 3.0) > 127) == (0, 0, 20, 20)


def test_shades_are_left_alone_until_a_shape_is_asked_for():
    mask = np.array([[0, 100, 127, 128, 255]], np.uint8)
    assert shape_mask(mask) is mask
    assert shape_mask(mask, "bbox").tolist() == [[0, 0, 0, 255, 255]]


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_mask_stays_empty(form):
    assert not shape_mask(np.zeros((8, 8), np.uint8), form, 0.5).any()


def test_a_grey_picture_is_a_mask_and_a_coloured_one_is_not():
    grey = np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8)
    assert (grey_mask(grey, "m.png") == grey).all()
    three = np.repeat(grey[..., None], 3, axis=2)
    three[..., 1] = np.clip(three[..., 1].astype(int) + 9, 0, 255)  # as a codec leaves it
    assert (grey_mask(three, "m.mp4") == grey).all()
    three[:4, :4] = (200, 30, 30)
    with pytest.raises(UserError, match=r"mask: m\.mp4: .* 3 colour channels; a mask is grey"):
        grey_mask(three, "m.mp4")


def clip(frames, height, width, channels=()) -> SourceVideo:
    pictures = [np.zeros((height, width, *channels), np.uint8)] * frames
    edges = np.arange(frames + 1) / 16
    return SourceVideo(pictures, edges[:-1], edges[1:], "m.png", (height, width))


def test_a_mask_is_of_the_size_and_length_of_its_video_and_grey():
    video = clip(5, 10, 20, (3,))
    check_mask(clip(1, 10, 20), video)
    check_mask(clip(5, 10, 20, (3,)), video)
    with pytest.raises(UserError, match=r"mask: m\.png: is 21x10 and the video 20x10; .* one size"):
        check_mask(clip(5, 10, 21), video)
    for frames in (4, 6):
        with pytest.raises(UserError, match=rf"m\.png: has {frames} frames and the video 5; need"):
            check_mask(clip(frames, 10, 20), video)
    coloured = clip(5, 10, 20, (3,))
    coloured.pictures[0][:5] = (200, 30, 30)
    with pytest.raises(UserError, match=r"mask: m\.png: is a picture in 3 colour channels"):
        check_mask(coloured, video)
