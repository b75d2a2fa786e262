"""Intact footage at which a decoder or a binding stumbles is read whole."""

import io

import av
import numpy as np
import pytest
from PIL import Image

from wanctl.video.probe import scan

FRAMES = 12


def picture(number):
    array = np.full((128, 160, 3), 60, dtype=np.uint8)
    array[:32, : 8 + 4 * number] = (200, 40, 40)
    return array


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("ts", "mpeg2video"), ("mpg", "mpeg2video"), ("mxf", "mpeg2video"), ("mpg", "mpeg1video")],
)
def test_padding_to_a_constant_bit_rate_is_no_damage(tmp_path, ending, codec):
    path = tmp_path / f"padded.{ending}"
    muxer = {"ts": "mpegts", "mpg": "mpeg"}.get(ending, ending)
    rate = {"b": "6M", "minrate": "6M", "maxrate": "6M", "bufsize": "600k"}
    with av.open(str(path), "w", format=muxer) as out:
        stream = out.add_stream(codec, rate=25, options=rate)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for number in range(FRAMES):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        out.mux(stream.encode(None))
    assert bytes(2000) in path.read_bytes() or ending in ("ts", "mpg")
    found = scan(path)
    assert found.info.num_frames == FRAMES
    assert found.info.bit_rate > 3e6  # it is padded
    assert found.info.corrupt_share == 0


def test_motion_jpeg_with_exif_is_read_and_turned(tmp_path):
    path = tmp_path / "camera.mjpeg"
    with path.open("wb") as file:
        for number in range(FRAMES):
            exif = Image.Exif()
            exif[0x0112] = 5  # mirrored, then turned by 270 degrees clockwise
            exif[0x010F] = "maker"
            data = io.BytesIO()
            Image.fromarray(picture(number)).save(data, "JPEG", exif=exif, quality=95)
            file.write(data.getvalue())
    found = scan(path)
    assert found.info.num_frames == FRAMES
    assert (found.info.width, found.info.height) == (128, 160)
    assert found.info.mirrored
    # transposed: what grew along the first row grows along the first column
    red = (found.strip[:, :, 0, 0] > 120).sum(axis=1)
    assert np.all(np.diff(red.astype(int)) >= 0)
    assert red[-1] > red[0]


@pytest.mark.parametrize(("muxer", "codec"), [("mp4", "libx264"), ("h264", "libx264")])
def test_a_single_frame_is_displayed_as_long_as_the_rate_says(tmp_path, muxer, codec):
    path = tmp_path / f"one.{muxer}"
    with av.open(str(path), "w", format=muxer) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(3), format="rgb24")))
        out.mux(stream.encode(None))
    info = scan(path).info
    assert (info.num_frames, info.fps) == (1, 25)
    assert info.duration_s == pytest.approx(0.04)
