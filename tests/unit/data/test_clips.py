"""Exported clips are read at every size, from any name, and only as what they are."""

import numpy as np
import pytest

from wanctl.data.clips import ClipReader, read_video
from wanctl.data.export import ClipFile
from wanctl.video.encode import write_video
from wanctl.video.opening import VideoError

DECORD_FAILS = (2, 4, 6, 8, 12, 16, 24, 48, 72)  # measured at decord 0.6.0
OTHERS = (10, 14, 18, 32, 40, 64, 80, 96, 144)


def ramp(width, height, frames=9):
    """Each frame of one grey, so that a frame can be told by its mean."""
    return np.repeat(np.arange(frames, dtype=np.uint8) * 20 + 40, height * width * 3).reshape(
        frames, height, width, 3
    )


@pytest.mark.parametrize("height", [16, 48, 80])
@pytest.mark.parametrize("width", [*DECORD_FAILS, *OTHERS])
def test_a_clip_of_any_width_is_read(tmp_path, width, height):
    path = tmp_path / "clip.mp4"
    frames = ramp(width, height)
    write_video(path, frames, 12)
    reader = ClipReader([ClipFile("a", path, 9, height, width, 12)])
    for start, count in ((0, 9), (3, 2), (8, 1), (0, 1)):
        got = reader.read(0, start, count)
        assert (got.shape, got.dtype) == ((count, height, width, 3), np.uint8)
        assert np.abs(got.astype(int) - frames[start : start + count]).max() <= 3
    assert read_video(path).shape == frames.shape


def test_both_decoders_give_the_same_colours(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (5, 8, 10, 3), dtype=np.uint8)
    path = tmp_path / "clip.mp4"
    write_video(path, coarse.repeat(8, axis=1).repeat(8, axis=2), 12)
    by_decord = read_video(path)
    monkeypatch.setattr("decord.VideoReader.get_batch", lambda *_: 1 / 0)
    monkeypatch.setattr("decord.DECORDError", ZeroDivisionError)
    by_pyav = read_video(path)
    assert np.abs(by_decord.astype(int) - by_pyav).mean() < 2


@pytest.mark.parametrize("name", ["12:30.mp4", "-x.mp4", "%03d.mp4", "http:/a.mp4", "data:b.mp4"])
def test_a_clip_of_any_name_is_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    write_video(path, ramp(64, 48), 12)
    relative = path.relative_to(tmp_path)
    for place in (path, relative):
        assert read_video(place).shape == (9, 48, 64, 3)


def test_a_list_that_is_called_mp4_is_no_clip(tmp_path):
    write_video(tmp_path / "secret.mp4", ramp(64, 48), 12)
    path = tmp_path / "clip.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(VideoError, match="no mp4 that this program wrote"):
        ClipReader([ClipFile("a", path, 9, 48, 64, 12)]).read(0, 0, 1)


@pytest.mark.parametrize("width", [48, 64])
def test_a_damaged_clip_is_one_line(tmp_path, width):
    path = tmp_path / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (9, 48, width, 3), np.uint8), 12)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(VideoError, match="delete it and run the same command again"):
        ClipReader([ClipFile("a", path, 9, 48, width, 12)]).read(0, 0, 9)
