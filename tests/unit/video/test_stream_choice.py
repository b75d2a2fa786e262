"""Which of several video streams is the film."""

from fractions import Fraction

import av
import numpy as np
import pytest

from wanctl.video.probe import scan
from wanctl.video.stream import open_video

FILM = (120, 160, 25, 25)  # height, width, frames, frames per second


def written(path, *streams, default=None, options=None):
    """A file with (height, width, frames, frames per second) streams; mjpeg where one frame."""
    with av.open(str(path), "w", options=options or {}) as out:
        packets = []
        for number, (height, width, frames, fps) in enumerate(streams):
            codec = "mjpeg" if frames == 1 and path.suffix != ".ts" else "mpeg4"
            stream = out.add_stream(codec, rate=Fraction(fps))
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if default is not None:
                kinds = type(stream.disposition)
                stream.disposition = kinds.default if number == default else kinds(0)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 3 * index, np.uint8))
                frame.pts, frame.time_base = index, 1 / Fraction(fps)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            out.mux(packet)
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.nut"])
@pytest.mark.parametrize("film_first", [True, False])
def test_a_wide_image_is_not_the_film(tmp_path, name, film_first):
    cover = (480, 640, 1, 25)
    streams = (FILM, cover) if film_first else (cover, FILM)
    info = scan(written(tmp_path / name, *streams)).info
    assert (info.width, info.height, info.num_frames) == (160, 120, 25)


@pytest.mark.parametrize(
    ("other", "chosen"),
    [
        ((1080, 1920, 3, Fraction(1, 10)), (160, 120)),  # a track of thumbnails, as long as 30 s
        ((64, 96, 25, 25), (160, 120)),  # a preview
        ((240, 320, 75, 25), (320, 240)),  # a proxy came first
        ((120, 160, 75, 25), (160, 120)),
    ],
)
@pytest.mark.parametrize("name", ["b.mkv", "b.mp4", "b.ts"])
def test_the_film_is_the_stream_that_shows_most(tmp_path, name, other, chosen):
    film = (120, 160, 75, 25)
    path = written(tmp_path / name, film, other)
    with open_video(path) as (_, stream):
        assert (stream.codec_context.width, stream.codec_context.height) == chosen


def test_of_equals_the_default_is_the_film_and_else_the_first(tmp_path):
    with open_video(written(tmp_path / "a.mkv", FILM, FILM, default=1)) as (_, stream):
        assert stream.index == 1
    with open_video(written(tmp_path / "b.ts", FILM, FILM)) as (_, stream):
        assert stream.index == 0


def test_the_same_stream_is_chosen_at_every_opening(tmp_path):
    path = written(tmp_path / "a.ts", (64, 96, 50, 25), (120, 160, 50, 25))
    found = scan(path)
    for _ in range(3):
        with open_video(path) as (_, stream):
            assert stream.codec_context.width == found.info.width == 160
