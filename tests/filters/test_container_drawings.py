"""Drawings on twos and threes against footage that was brought to a higher frame rate."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.video.interlace import moving_share, repeats
from wanctl.video.probe import scan
from wanctl_filters.container import Container

RULES = SplitRules(0, 0.1, None)
SIZE = (640, 360)
FRAMES = 48


def background(seed: int, width: int = 1400, contrast: float = 60.0) -> np.ndarray:
    """A painted, soft backdrop, wider than the frame, so that it can be panned over."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(130, contrast, (9, 30, 3)).clip(0, 255).astype(np.float32)
    return cv2.resize(coarse, (width, SIZE[1]), interpolation=cv2.INTER_CUBIC)


def figure(frame: np.ndarray, pose: float) -> None:
    """A flat figure with outlines, whose place and limbs depend on `pose`."""
    x, y = int(200 + 60 * np.sin(pose)), int(190 + 20 * np.cos(1.7 * pose))
    hand = (int(x + 60 * np.cos(2 * pose)), int(y + 50 * np.sin(2 * pose)))
    for colour, thick in (((20, 20, 30), 16), ((230, 180, 150), 10)):
        cv2.line(frame, (x, y), hand, colour, thick, cv2.LINE_AA)
    cv2.ellipse(frame, (x, y), (34, 46), 0, 0, 360, (60, 90, 200), -1, cv2.LINE_AA)
    cv2.ellipse(frame, (x, y), (34, 46), 0, 0, 360, (20, 20, 30), 3, cv2.LINE_AA)
    cv2.circle(frame, (x, y - 60), 26, (240, 200, 170), -1, cv2.LINE_AA)


def drawing(timing, pan_px: float = 0.0, pan_every: int = 1, seed: int = 0, contrast=60.0):
    """A figure that holds each pose for `timing` frames, before a backdrop that pans."""
    wide = background(seed, contrast=contrast)
    holds = [timing[index % len(timing)] for index in range(FRAMES)]
    poses = np.repeat(np.arange(FRAMES), holds)[:FRAMES]
    for index in range(FRAMES):
        shift = pan_px * (index // pan_every * pan_every)
        move = np.array([[1, 0, -shift], [0, 1, 0]], dtype=np.float32)
        frame = cv2.warpAffine(wide, move, SIZE, borderMode=cv2.BORDER_REFLECT)
        frame = frame.clip(0, 255).astype(np.uint8)
        figure(frame, poses[index] * 0.35)
        yield frame


def filmed(times: int, seed: int = 0, noise: float = 3.0, step: float = 5.0):
    """Camera over a detailed scene with grain; every frame is shown `times` times."""
    rng = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(rng.normal(128, 200, (500, 2000, 3)).astype(np.float32), (0, 0), 3)
    scene = (scene - 128) * 3 + 128
    for index in range(FRAMES // times):
        move = np.array([[1, 0, -step * index], [0, 1, -1.5 * index]], dtype=np.float32)
        frame = cv2.warpAffine(scene, move, SIZE, borderMode=cv2.BORDER_REFLECT)
        frame = (frame + rng.normal(0, noise, frame.shape)).clip(0, 255).astype(np.uint8)
        for _ in range(times):
            yield frame


def tripod(times: int, seed: int = 0):
    """A camera that stands, with grain everywhere and somebody moving in a third of the frame."""
    rng = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(rng.normal(128, 200, (*SIZE[::-1], 3)).astype(np.float32), (0, 0), 3)
    coat = cv2.GaussianBlur(rng.normal(90, 260, (300, 220, 3)).astype(np.float32), (0, 0), 2)
    for index in range(FRAMES // times):
        frame = scene + 0.0
        x = int(180 + 90 * np.sin(index * 0.4))
        frame[40:340, x : x + 220] = coat
        frame = (frame + rng.normal(0, 2, frame.shape)).clip(0, 255).astype(np.uint8)
        for _ in range(times):
            yield frame


def row_of(path, frames, crf: int, rate: int = 24):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"}
        )
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (clip,) = make_clips(scan(path), str(path), [], RULES).rows
    return clip


@pytest.fixture
def verdict(row):
    """verdict(row of the clips table, filter) -> Verdict, by its repeats alone."""

    def judge(clip, filter_=None):
        filter_ = filter_ or Container()
        names = ("repeat_share", "frozen_share", "moving_share")
        blank = row(np.zeros((FRAMES, *SIZE[::-1], 3)), **{name: clip[name] for name in names})
        return filter_.decide(blank, filter_.measure(blank, None))

    return judge


DRAWINGS = {
    "on twos": ((2,), {}),
    "on threes": ((3,), {}),
    "on twos and threes, holds": ((2, 2, 3, 3, 2, 5, 1, 1, 3), {}),
    "on fours": ((4,), {}),
    "on twos, pan on ones": ((2,), {"pan_px": 3.0}),
    "on threes, pan on ones": ((3,), {"pan_px": 3.0}),
    "on threes, slow pan": ((3,), {"pan_px": 0.8}),
    "on threes, pan over a soft backdrop": ((3,), {"pan_px": 1.5, "contrast": 25.0}),
    "on twos, fast pan": ((2,), {"pan_px": 9.0}),
}


@pytest.mark.parametrize("crf", [16, 26])
@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings_are_kept(tmp_path, verdict, name, crf):
    timing, how = DRAWINGS[name]
    clip = row_of(tmp_path / "drawn.mp4", drawing(timing, **how), crf)
    assert verdict(clip).keep, clip
    if "pan" in name:  # nothing is repeated while the backdrop moves
        assert clip["repeat_share"] < 0.4


CONVERSIONS = {
    "12 to 24": (filmed, 2),
    "8 to 24": (filmed, 3),
    "6 to 24": (filmed, 4),
    "12 to 24, camera stands": (tripod, 2),
    "8 to 24, camera stands": (tripod, 3),
}


@pytest.mark.parametrize("crf", [16, 26])
@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_are_dropped(tmp_path, verdict, name, crf):
    make, times = CONVERSIONS[name]
    clip = row_of(tmp_path / "filmed.mp4", make(times), crf)
    assert clip["repeat_share"] == pytest.approx(1 - 1 / times, abs=0.12)
    assert verdict(clip).label == "repeats"
    assert verdict(clip, Container(max_repeats=None)).keep


def test_the_exception_has_a_switch_and_old_rows_have_none(tmp_path, verdict):
    clip = row_of(tmp_path / "drawn.mp4", drawing((3,)), 20)
    assert verdict(clip).keep
    assert verdict(clip, Container(drawn_below=None)).label == "repeats"
    assert verdict({**clip, "moving_share": None}).label == "repeats"


def test_how_much_moves_is_measured_between_frames_that_differ():
    moving = np.array([1.0, 0.5, 0.0, 0.4, 0.0, 0.6, 0.0])
    same = np.array([False, False, True, False, True, False, True])
    assert moving_share(moving, same) == 0.5
    assert moving_share(np.ones(1), np.zeros(1, dtype=bool)) == 1.0
    change = np.array([255.0, 40, 1, 40, 1, 40, 1])
    assert repeats(change, moving).tolist() == same.tolist()
    assert not repeats(change, np.full(7, 0.5)).any()
