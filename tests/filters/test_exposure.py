"""Blown-out and dark pictures, with bars and bright texture as decoys."""

import numpy as np
import pytest

from wanctl_filters.exposure import Exposure, _blown, _Levels


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
    assert verdict.keep == (share < 0.2)


def _gain(frames, stops):
    """Exposure by `stops` in linear light, clipped."""
    linear = np.where(
        (code := np.arange(256) / 255) <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4
    )
    linear = np.clip(linear * 2.0**stops, 0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * coded).astype(np.uint8)[frames]


def test_gain_blows_out_and_darkens(judge, texture):
    verdicts = [judge(Exposure(), _gain(texture, stops))[1] for stops in (-5, -4, -1, 0, 1, 3, 4)]
    scores = [verdict.score for verdict in verdicts]
    assert scores == sorted(scores)
    assert [verdict.label for verdict in verdicts] == ["under"] * 2 + [None] * 3 + ["over"] * 2
    assert "blown out" in verdicts[-1].reason
    assert "too dark" in verdicts[0].reason
    low, high = Exposure().bounds()
    assert [low <= score <= high for score in scores] == [verdict.keep for verdict in verdicts]


def test_a_night_with_lamps_is_not_under_exposed(judge, texture):
    night = _gain(texture, -4)
    for column in range(10, 310, 30):
        night[:, 60:70, column : column + 10] = (255, 240, 200)
    assert judge(Exposure(), night)[1].keep
    assert not judge(Exposure(), _gain(texture, -4))[1].keep


def test_crushed_shadows_are_dark_and_a_drawn_black_is_not(judge, texture):
    """A subject in dim light that falls off to black; the same subject on a black page."""
    distance = np.abs(np.arange(320) - 160)[None, :, None] / 160
    page = np.where(distance < 0.4, texture * 0.6, 0)
    cave = texture * 0.6 * np.clip(1 - 1.5 * distance, 0, 1) ** 2
    assert judge(Exposure(), page.astype(np.uint8))[1].keep
    assert judge(Exposure(), cave.astype(np.uint8))[1].label == "under"


def test_a_white_studio_is_not_over_exposed(judge, texture):
    yy, xx = np.mgrid[:180, :320]
    subject = ((xx - 160) / 90) ** 2 + ((yy - 95) / 70) ** 2 < 1
    studio = np.full_like(texture, 255)
    studio[:, subject] = texture[:, subject]
    assert judge(Exposure(), studio)[1].keep
    # the same wall behind a subject that is itself blown
    studio[:, subject] = _gain(texture, 4)[:, subject]
    assert not judge(Exposure(), studio)[1].keep


def test_saturated_colour_and_bright_noise_are_not_blown(judge):
    red = np.full((8, 90, 160, 3), (255, 40, 40), np.uint8)
    snow = np.random.default_rng(0).integers(235, 256, (8, 90, 160, 3), dtype=np.uint8)
    for frames in (red, snow):
        assert judge(Exposure(), frames)[1].keep


def test_bars_do_not_count(judge, texture):
    for level in (0, 255):
        frames = texture.copy()
        frames[:, :60] = frames[:, -60:] = level
        evidence, verdict = judge(Exposure(), frames)
        assert verdict.keep
        assert max(evidence["blown"]) < 0.05
        assert max(evidence["crushed"]) < 0.05


def test_real_clips_pass(real):
    _, clip, batches = real
    filter_ = Exposure()
    assert filter_.decide(clip, filter_.measure(clip, batches["exposure"])).keep


def test_the_histogram_gives_what_passes_over_the_frame_give():
    random = np.random.default_rng(0)
    for size, top in ((1, 256), (7, 3), (999, 90), (57_600, 256)):
        luma = random.integers(0, top, (1, size)).astype(np.uint8)
        levels = _Levels(luma)
        assert levels.percentile(99) == int(np.percentile(luma, 99))
        assert levels.mean() == pytest.approx(float(luma.mean()), abs=1e-9)
        assert levels.share(4, 24) == pytest.approx(float(((luma >= 4) & (luma < 24)).mean()))


def test_a_frame_without_a_bright_pixel_has_no_blown_share(texture):
    frame = np.minimum(texture[0], 249)
    assert _blown(frame, frame[..., 0].copy(), 250) == 0
    frame[20:40, 20:40] = 255
    assert _blown(frame, frame[..., 0].copy(), 250) == pytest.approx(
        18 * 18 / frame[..., 0].size, rel=0.3
    )
