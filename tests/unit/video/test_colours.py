"""Colours of footage that does not name its matrix, its primaries or its curve."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.video.decode import read_frames
from wanctl.video.probe import scan

# colours on which BT.601 and BT.709 differ most
PATCHES = np.array([(200, 40, 30), (30, 180, 40), (40, 60, 200), (190, 190, 40)], dtype=np.uint8)
BT709, UNNAMED, BT601, BT2020 = 1, 2, 6, 9


def write(path: Path, size, *, encoded: Colorspace, named: int, codec="libx264", **tags: int):
    """Patches of known colours, encoded with one matrix and tagged with any."""
    width, height = size
    picture = np.repeat(PATCHES, width // 4, axis=0)[None].repeat(height, axis=0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = named, 1
        context.color_primaries = tags.get("primaries", 2)
        context.color_trc = tags.get("curve", 2)
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=encoded, dst_color_range=ColorRange.MPEG
            )
            frame.colorspace = named
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def colours(path: Path) -> np.ndarray:
    """(4, 3) the colour in the middle of each patch, as read."""
    frame = read_frames(path, [int(scan(path).pts[1])])[0]
    width = frame.shape[1] // 4
    return np.stack([frame[frame.shape[0] // 2, width * n + width // 2] for n in range(4)])


def off(path: Path) -> int:
    """Largest error of a colour, in levels."""
    return int(np.abs(colours(path).astype(int) - PATCHES).max())


# (size, matrix of a file that names none), by mpv: BT.709 from 1280 across or above 576 down
SIZES = {
    (1280, 720): Colorspace.ITU709,
    (1920, 1080): Colorspace.ITU709,
    (1280, 544): Colorspace.ITU709,
    (960, 578): Colorspace.ITU709,
    (720, 1280): Colorspace.ITU709,
    (720, 576): Colorspace.ITU601,
    (1024, 576): Colorspace.ITU601,
    (640, 480): Colorspace.ITU601,
    (640, 360): Colorspace.ITU601,
}


@pytest.mark.parametrize("size", SIZES)
def test_a_file_without_a_matrix_is_read_by_its_size(tmp_path, size):
    right = SIZES[size]
    wrong = Colorspace.ITU601 if right is Colorspace.ITU709 else Colorspace.ITU709
    assert off(write(tmp_path / "right.mp4", size, encoded=right, named=UNNAMED)) <= 4
    assert off(write(tmp_path / "wrong.mp4", size, encoded=wrong, named=UNNAMED)) > 12


@pytest.mark.parametrize(("named", "matrix"), [(BT709, "ITU709"), (BT601, "ITU601")])
@pytest.mark.parametrize("size", [(1280, 720), (640, 360)])
def test_a_named_matrix_is_honoured_at_every_size(tmp_path, size, named, matrix):
    assert off(write(tmp_path / "a.mp4", size, encoded=Colorspace[matrix], named=named)) <= 4


def row(path):
    (clip,) = make_clips(scan(path), str(path), [], SplitRules(0, 0.1, None)).rows
    return clip


@pytest.mark.parametrize(
    ("named", "tags", "expected"),
    [
        (BT2020, {"primaries": 9}, ("bt2020", "")),
        (BT2020, {}, ("bt2020", "")),  # the matrix alone says so
        (BT2020, {"primaries": 9, "curve": 16}, ("bt2020", "smpte2084")),
        (BT709, {"primaries": 1, "curve": 1}, ("bt709", "bt709")),
        (UNNAMED, {}, ("", "")),
    ],
)
def test_wide_gamut_without_a_curve_is_marked(tmp_path, named, tags, expected):
    path = write(tmp_path / "a.mp4", (640, 360), encoded=Colorspace.ITU709, named=named, **tags)
    clip = row(path)
    assert (clip["primaries"], clip["transfer"]) == expected


def test_wide_gamut_primaries_without_a_matrix_are_read_by_their_matrix(tmp_path):
    size = (1280, 720)
    path = write(tmp_path / "a.mp4", size, encoded=Colorspace.BT2020, named=UNNAMED, primaries=9)
    assert off(path) <= 4
