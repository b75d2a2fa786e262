"""Videos that a user names for sampling: every frame that players show, in order and upright."""

import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.recipes import FRAMES, Recipe, number_of
from wanctl.sample import source_video
from wanctl.sample.source_video import VideoReader, open_source_video


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return FootageMaker(tmp_path_factory.mktemp("named"))


@pytest.fixture(scope="module")
def reader():
    return VideoReader(60, 4 << 30)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("mp4", "h264", 2, matrix="upside-down"),
        Recipe("mov", "h264", 2, matrix="transversed"),
        Recipe("avi", "h264", 2),
        Recipe("ts", "h264", 2, clock="joined"),
        Recipe("m2v", "mpeg2video", 2),
        Recipe("mp4", "mpeg4", 2, streams="cover first", trailer="maker"),
        Recipe("mkv", "h264", 2, clock="hour"),
    ],
    ids=str,
)
def test_every_frame_is_read_block_by_block(maker, reader, recipe, monkeypatch):
    monkeypatch.setattr(source_video, "BLOCK_BYTES", 7 * 3 * 64 * 96)
    video = open_source_video(str(maker.make(recipe)), reader)
    assert video.size == (64, 96)
    assert [number_of(frame) for frame in video.pictures] == list(range(FRAMES))
    assert number_of(video.pictures[3]) == 3  # back again
    assert np.allclose(video.starts_s[1:], video.ends_s[:-1])
    assert np.all(video.ends_s > video.starts_s)
