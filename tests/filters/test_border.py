"""Bars of any colour are found to the pixel; frames without bars are not cropped."""

import io

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import Box, ClipBatch
from wanctl.data.schemas import evidence_columns
from wanctl_filters.border.filter import Border

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
        ({"bottom": 30}, BLACK),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_finds_bars_of_any_colour(judge, texture, bars, colour, noise):
    height, width = texture.shape[1:3]
    side = {"left": 0, "top": 0, "right": 0, "bottom": 0, **bars}
    _, verdict = judge(Border(), _bars(texture, **side, colour=colour, noise=noise))
    inset = {name: value + 1 if value else 0 for name, value in side.items()}
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
    np.testing.assert_allclose(verdict.crop, (41, 21, 238, 138), atol=2)


def _blurred_bars(frames, left=0, top=0, right=0, bottom=0):
    """The frames, scaled down, on a larger, darker, blurred copy of themselves."""
    height, width = frames.shape[1:3]
    out = []
    for frame in frames:
        large = cv2.resize(frame, (width * 3 // 2, height * 3 // 2))
        part = large[height // 4 : height // 4 + height, width // 4 : width // 4 + width]
        canvas = (cv2.GaussianBlur(part, (0, 0), 14) * 0.8).astype(np.uint8)
        size = (width - left - right, height - top - bottom)
        canvas[top : height - bottom, left : width - right] = cv2.resize(
            frame, size, interpolation=cv2.INTER_AREA
        )
        out.append(canvas)
    return np.stack(out)


def _compressed(frames, crf):
    """The frames, encoded with x264 and decoded again."""
    file = io.BytesIO()
    _, height, width, _ = frames.shape
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", 24, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        encoded = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
        for frame in [*encoded, None]:
            for packet in stream.encode(frame):
                container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def _iou(one, other):
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, wide) * max(0, high)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


@pytest.mark.parametrize("crf", [18, 35])
@pytest.mark.parametrize(
    ("left", "top", "right", "bottom"),
    [(8, 0, 8, 0), (0, 14, 0, 14), (80, 0, 80, 0), (58, 32, 58, 32)],
)
@pytest.mark.parametrize("fill", ["black", "grain", "blurred copy"])
def test_compressed_bars(judge, large_texture, left, top, right, bottom, crf, fill):
    frames = large_texture
    sides = {"left": left, "top": top, "right": right, "bottom": bottom}
    if fill == "blurred copy":
        frames = _blurred_bars(frames, **sides)
    else:
        frames = _bars(frames, **sides, noise=6.0 if fill == "grain" else 0.0)
    _, verdict = judge(Border(), _compressed(frames, crf))
    truth = (left, top, 640 - left - right, 360 - top - bottom)
    assert verdict.crop is not None
    assert _iou(verdict.crop, truth) >= 0.98


def _evidence(bars=(0, 0, 0, 0), change=(0.0,) * 4, bright=8, soft=(0,) * 4, contrast=0.0):
    return {
        "width": 320,
        "height": 180,
        "bars": list(bars),
        "change": list(change),
        "luma": [0.0] * 4,
        "uneven": [0.0] * 4,
        "drift": [0.0] * 4,
        "written": [0] * 4,
        "soft": list(soft),
        "soft_contrast": [contrast] * 4,
        "soft_change": [1.0] * 4,
        "bright_frames": bright,
    }


def _decide(rows, sources):
    clips = {"source": sources, "width": [320] * len(rows), "height": [180] * len(rows)}
    batch = ClipBatch(
        clips=pa.table(clips),
        evidence=pa.Table.from_pylist(rows, schema=evidence_columns(Border.evidence)),
        views=np.zeros((len(rows), 4), np.int32),
    )
    verdicts = Border().decide_many(batch)
    return [verdicts[index].crop for index in range(len(rows))]


def test_a_dark_clip_gets_the_crop_of_its_source():
    letterbox = _evidence((0, 20, 0, 20), (0.0, 1.0, 0.0, 1.0))
    dark = _evidence(bright=0)
    gloomy = _evidence((4, 31, 0, 36), (0.1, 0.3, 0.0, 0.1))
    unboxed = _evidence()
    boxed = Box(0, 21, 320, 138)
    rows = [letterbox, dark, letterbox, gloomy, unboxed, dark, unboxed, letterbox, unboxed]
    sources = ["a", "a", "a", "a", "b", "b", "b", "c", "c"]
    assert _decide(rows, sources) == [boxed, boxed, boxed, boxed, None, None, None, boxed, None]


def test_blurred_bars_come_in_pairs_and_are_shared_by_a_source():
    certain = _evidence(soft=(60, 0, 61, 0), contrast=30.0)
    uncertain = _evidence(soft=(61, 0, 60, 0), contrast=5.0)
    assert _decide([certain, uncertain, certain], ["a"] * 3)[1] is not None
    assert _decide([certain, uncertain, certain], ["a", "b", "a"])[1] is None


def test_frames_without_bars_are_not_cropped(judge, texture):
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


def test_pictured_margins_with_a_straight_edge_are_no_bars(judge, texture):
    """Ground, a bezel on one side, a coloured banner."""
    width = texture.shape[2]
    shade = np.linspace(86, 96, width).astype(np.uint8)[:, None]
    ground, bezel, banner = (texture.copy() for _ in range(3))
    ground[:, -24:] = shade
    bezel[:, :, -30:], bezel[:, :60, -24:] = 1, 4
    banner[:, -24:] = (150, 20, 30)
    for frames in (ground, bezel, banner):
        assert judge(Border(), frames)[1].crop is None


def test_bars_that_carry_words_are_cropped(judge, texture):
    """Subtitles in the lower bar and a title in the upper one."""
    frames = np.zeros((len(texture), 240, 320, 3), np.uint8)
    frames[:, 30:210] = texture
    for index, frame in enumerate(frames):
        words = f"line {index} of the song"
        cv2.putText(frame, words, (40, 230), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,) * 3, 1)
    one = judge(Border(), frames)[1].crop
    for frame in frames:
        cv2.putText(frame, "TITLE", (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (200,) * 3, 1)
    for crop in (one, judge(Border(), frames)[1].crop):
        np.testing.assert_allclose(crop, (0, 31, 320, 178), atol=2)


def test_a_window_in_black_is_cropped_on_all_sides(judge, texture):
    frames = np.zeros((len(texture), 240, 480, 3), np.uint8)
    frames[:, 10:190, 80:400] = texture
    np.testing.assert_allclose(judge(Border(), frames)[1].crop, (81, 11, 318, 178), atol=2)


def test_dark_frames_are_ignored(judge, texture):
    frames = _bars(texture, top=20, bottom=20)
    faded = frames.copy()
    faded[:12] = 0
    _, verdict = judge(Border(), faded)
    np.testing.assert_allclose(verdict.crop, (0, 21, 320, 138), atol=2)
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
