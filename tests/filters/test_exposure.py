"""Blown-out and dark pictures, with bars and bright texture as decoys."""

import numpy as np
import pytest

from wanctl_filters.exposure import Exposure


def test_an_even_picture_passes(judge, texture):
    _, verdict = judge(Exposure(), texture)
    assert verdict.keep
    assert verdict.score < 1


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_measures_the_blown_share(judge, texture, share):
    frames = texture.copy()
    side = share**0.5
    frames[:, : int(180 * side), 20 : 20 + int(320 * side)] = 255
    evidence, verdict = judge(Exposure(), frames)
    # The outermost pixels of a blown area are not flat.
    assert np.median(evidence["blown"]) == pytest.approx(share, abs=0.02)
    assert verdict.keep == (share < 0.25)


def test_gain_blows_out_and_darkens(judge, texture):
    bright = np.clip(texture.astype(float) * 3 + 60, 0, 255).astype(np.uint8)
    dark = (texture * 0.06).astype(np.uint8)
    assert "blown out" in judge(Exposure(), bright)[1].reason
    assert "dark" in judge(Exposure(), dark)[1].reason


def test_saturated_colour_and_bright_noise_are_not_blown(judge):
    red = np.full((8, 90, 160, 3), (255, 40, 40), np.uint8)
    snow = np.random.default_rng(0).integers(235, 256, (8, 90, 160, 3), dtype=np.uint8)
    for frames in (red, snow):
        assert judge(Exposure(), frames)[1].keep


def test_bars_do_not_count(judge, texture):
    for level in (0, 255):
        frames = texture.copy()
        frames[:, :60] = frames[:, -60:] = level
        evidence, verdict = judge(Exposure(max_dark=0.5), frames)
        assert verdict.keep
        assert max(evidence["dark"]) < 0.2


def test_real_clips_pass(real):
    _, clip, batches = real
    filter_ = Exposure()
    assert filter_.decide(clip, filter_.measure(clip, batches["exposure"])).keep
