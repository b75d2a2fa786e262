"""Bars of any colour are found to the pixel; pictures without bars are left alone."""

import cv2
import numpy as np
import pytest

from wanctl.curate.api import Box
from wanctl_filters.border import Border

BLACK, WHITE, GREEN = (0, 0, 0), (255, 255, 255), (20, 160, 60)


def _bars(frames, left=0, top=0, right=0, bottom=0, colour=BLACK, noise=0.0):
    """Paint bars over frames, with compression-like noise (standard deviation `noise`)."""
    out = frames.copy()
    height, width = frames.shape[1:3]
    mask = np.ones((height, width), bool)
    mask[top : height - bottom, left : width - right] = False
    grain = np.random.default_rng(1).normal(0, noise, (*out.shape[:3], 1))
    out[:, mask] = np.clip(np.array(colour) + grain[:, mask], 0, 255).astype(np.uint8)
    return out


@pytest.mark.parametrize(
    ("bars", "colour"),
    [
        ({"top": 22, "bottom": 22}, BLACK),
        ({"left": 40, "right": 40}, BLACK),
        ({"top": 12, "bottom": 20, "left": 30, "right": 6}, BLACK),
        ({"top": 22, "bottom": 22}, WHITE),
        ({"left": 64, "right": 64}, GREEN),
        ({"bottom": 30}, GREEN),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_finds_bars_of_any_colour(judge, texture, bars, colour, noise):
    height, width = texture.shape[1:3]
    side = {"left": 0, "top": 0, "right": 0, "bottom": 0, **bars}
    _, verdict = judge(Border(), _bars(texture, **side, colour=colour, noise=noise))
    inset = {name: value + 2 if value else 0 for name, value in side.items()}
    expected = Box(
        inset["left"],
        inset["top"],
        width - inset["left"] - inset["right"],
        height - inset["top"] - inset["bottom"],
    )
    assert verdict.keep
    assert verdict.crop is not None
    # One pixel for the row that noise may spoil, one for even sizes.
    np.testing.assert_allclose(verdict.crop, expected, atol=2)
    assert verdict.crop.width % 2 == 0
    assert verdict.crop.height % 2 == 0


def test_bars_of_two_colours(judge, texture):
    frames = _bars(_bars(texture, left=40, right=40, colour=WHITE), top=20, bottom=20)
    _, verdict = judge(Border(), frames)
    np.testing.assert_allclose(verdict.crop, (42, 22, 236, 136), atol=2)


def test_leaves_pictures_without_bars_alone(judge, texture):
    _, verdict = judge(Border(), texture)
    assert verdict.crop is None
    assert verdict.score == 0


def test_sky_backdrop_and_vignette_are_no_bars(judge, texture):
    height, width = texture.shape[1:3]
    sky = texture.copy()
    ridge = (60 + 30 * np.sin(np.arange(width) / 25)).astype(int)
    for column, row in enumerate(ridge):
        sky[:, :row, column] = 252
    product = np.full_like(texture, 245)
    disc = np.zeros((height, width), np.uint8)
    cv2.circle(disc, (160, 90), 50, 1, -1)
    product[:, disc == 1] = texture[:, disc == 1]
    yy, xx = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    dim = np.clip(1.3 - (xx**2 + yy**2), 0, 1)[None, :, :, None]
    vignette = (texture * dim).astype(np.uint8)
    for frames in (sky, product, vignette):
        _, verdict = judge(Border(), frames)
        assert verdict.crop is None


def test_dark_frames_are_left_out(judge, texture):
    frames = _bars(texture, top=20, bottom=20)
    faded = frames.copy()
    faded[:12] = 0
    _, verdict = judge(Border(), faded)
    np.testing.assert_allclose(verdict.crop, (0, 22, 320, 136), atol=2)
    evidence, verdict = judge(Border(), np.zeros_like(frames))
    assert evidence["bright_frames"] == 0
    assert verdict.crop is None


def test_drops_what_is_mostly_bars(judge, texture):
    _, verdict = judge(Border(), _bars(texture, left=130, right=130))
    assert not verdict.keep
    assert verdict.reason.startswith("bars leave")


def test_real_clips(real):
    """Labels: only `letterbox_multishot` has bars, at 0,58,854,364."""
    name, clip, batches = real
    filter_ = Border()
    verdict = filter_.decide(clip, filter_.measure(clip, batches["border"]))
    assert verdict.keep
    if name == "letterbox_multishot":
        np.testing.assert_allclose(verdict.crop, (0, 58, 854, 364), atol=4)
    else:
        assert verdict.crop is None
