"""Sizes of videos made from pictures: the official tables, to the last floor of a float."""

import numpy as np
import pytest
import torch
from PIL import Image

from wanctl.errors import UserError
from wanctl.tasks.pixels import to_array, to_float
from wanctl.tasks.sizing import (
    resize_bicubic,
    resize_crop_lanczos,
    shape_of_area,
    shape_of_sides,
)

P480, P720, TI2V = 480 * 832, 720 * 1280, 704 * 1280


@pytest.mark.parametrize(
    ("picture", "at_480p", "at_720p"),
    [
        ((720, 1280), (464, 832), (720, 1280)),
        ((1024, 1024), (624, 624), (960, 960)),
        ((1920, 1080), (832, 464), (1280, 720)),
        ((1365, 2048), (512, 768), (768, 1168)),
        ((480, 832), (464, 832), (720, 1248)),
    ],
)
def test_image_to_video_takes_the_pictures_shape(picture, at_480p, at_720p):
    assert shape_of_area("image", picture, P480, 8) == at_480p
    assert shape_of_area("image", picture, P720, 8) == at_720p


def test_the_expression_is_the_official_one_for_every_shape():
    for height in range(200, 2200, 57):
        for width in range(200, 2200, 61):
            for area in (P480, P720):
                ratio = height / width
                rows = round(np.sqrt(area * ratio) // 8 // 2 * 2)
                columns = round(np.sqrt(area / ratio) // 8 // 2 * 2)
                got = shape_of_area("image", (height, width), area, 8)
                assert got == (8 * rows, 8 * columns)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1280, 720, (1248, 704)),
        (832, 480, (1248, 704)),
        (1024, 1024, (960, 928)),
        (2048, 1365, (1152, 768)),
        (1080, 1920, (704, 1248)),
    ],
)
def test_text_and_image_to_video_rounds_one_side_first(width, height, expected):
    assert shape_of_sides("image", (height, width), TI2V, 32) == expected[::-1]


@pytest.mark.parametrize("rule", [shape_of_area, shape_of_sides])
@pytest.mark.parametrize("size", [(4, 40_000), (40_000, 4)])
def test_a_strip_makes_no_video(rule, size):
    message = f"^video: got a picture of {size[1]}x{size[0]}; too narrow"
    with pytest.raises(UserError, match=message):
        rule("video", size, P480, 32)


def test_bytes_and_values_turn_into_each_other_without_loss():
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    values = to_float(picture)
    assert (values.min(), values.max(), values.shape) == (-1, 1, (3, 16, 16))
    assert (to_array(values) == picture).all()


def test_a_picture_of_the_right_size_is_untouched():
    picture = torch.rand(3, 32, 48) * 2 - 1
    assert torch.equal(resize_bicubic(picture, (32, 48)), picture)
    assert resize_crop_lanczos(picture, (32, 48)) is picture


def test_stretching_does_not_smooth():
    """As `F.interpolate` without antialiasing: every fourth column is looked at, no more."""
    stripes = torch.ones(3, 16, 64)
    stripes[:, :, 1::4] = stripes[:, :, 2::4] = -1  # what lies in the middle of four columns
    assert resize_bicubic(stripes, (16, 16))[:, 4:-4, 4:-4].mean() < -0.9


def test_covering_is_lanczos_and_a_centred_cut():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (90, 200, 3), dtype=np.uint8)
    got = to_array(resize_crop_lanczos(to_float(picture), (64, 96)))
    large = Image.fromarray(picture).resize((142, 64), Image.Resampling.LANCZOS)
    assert (got == np.asarray(large)[:, 23 : 23 + 96]).all()
