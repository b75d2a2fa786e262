"""What is missing in the middle or behind a file is told, and no clip goes across it."""

import av
import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.recipes import FRAMES, Recipe
from wanctl.video.frames import FrameRange
from wanctl.video.probe import ScanBounds, VideoError, scan
from wanctl.video.scanning.steps import find_steps
from wanctl.video.seek import open_span

TICK_S = 0.001


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return FootageMaker(tmp_path_factory.mktemp("missing"))


def times(steps):
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)


def keys(count, every=12):
    return np.arange(count) % every == 0


def found(steps, is_key=None):
    pts = times(steps)
    is_key = keys(len(pts)) if is_key is None else is_key
    return np.flatnonzero(find_steps(pts, is_key, TICK_S)).tolist()


def test_a_step_in_front_of_a_key_frame_is_found():
    assert found([40] * 11 + [120] + [40] * 40) == [12]


def test_a_frame_that_the_camera_dropped_is_no_step():
    assert found([40] * 14 + [80] + [40] * 40) == []


def test_a_long_step_is_found_in_front_of_any_frame():
    assert found([40] * 14 + [400] + [40] * 40) == [15]


def test_coarse_clocks_and_jitter_are_no_steps():
    assert found([4, 4, 5] * 60) == []
    random = np.random.default_rng(1)
    assert found(random.integers(28, 39, 300)) == []


def test_footage_with_a_variable_rate_has_no_steps():
    random = np.random.default_rng(2)
    assert found(random.choice([33, 66, 100], 300, p=[0.8, 0.15, 0.05])) == []


def test_where_every_frame_is_a_key_frame_only_long_steps_count():
    steps = [40] * 14 + [80] + [40] * 40
    assert found(steps, np.ones(56, dtype=bool)) == []


def test_no_clip_goes_across_a_cluster_that_was_cut_out(maker):
    path = maker.make(Recipe("mkv", "h264")).with_name("short clusters.mkv")
    with (
        av.open(str(maker.make(Recipe("mkv", "h264")))) as source,
        av.open(str(path), "w", options={"cluster_time_limit": "400"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = path.read_bytes()
    starts = _all(data, b"\x1f\x43\xb6\x75")
    segment = data.index(b"\x18\x53\x80\x67") + 4
    length = 9 - data[segment].bit_length()
    unknown = bytes([(1 << (8 - length)) | ((1 << (8 - length)) - 1)]) + b"\xff" * (length - 1)
    live = data[:segment] + unknown + data[segment + length :]
    cut = path.with_name("cut.mkv")
    cut.write_bytes(live[: starts[1]] + live[starts[2] :])
    scanned = scan(cut)
    assert scanned.info.num_frames < FRAMES
    (behind,) = np.flatnonzero(scanned.breaks)
    assert scanned.pts[behind] - scanned.pts[behind - 1] > 2 * np.median(scanned.durations)
    assert [kind for kind, _ in scanned.notes] == ["steps"]
    assert scan(path).notes == ()


def _all(data, name):
    starts, at = [], data.find(name)
    while at >= 0:
        starts.append(at)
        at = data.find(name, at + 1)
    return starts


def test_a_second_mp4_behind_the_first_is_told(maker):
    path = maker.make(Recipe("mp4", "h264"))
    joined = path.with_name("joined.mp4")
    joined.write_bytes(2 * path.read_bytes())
    scanned = scan(joined)
    assert scanned.info.num_frames == FRAMES
    (note,) = scanned.notes
    assert note[0] == "second file"
    assert f"begins at byte {path.stat().st_size}" in note[1]


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.parametrize(("ending", "codec"), [("mxf", "mpeg2video"), ("ogv", "libvpx")])
def test_elements_and_pages_that_reach_past_the_end_are_truncated(tmp_path, ending, codec, share):
    path = _encoded(tmp_path / f"whole.{ending}", codec)
    assert scan(path).info.num_frames == FRAMES
    padded = tmp_path / f"padded.{ending}"
    padded.write_bytes(path.read_bytes() + bytes(3000))
    assert scan(padded).info.num_frames == FRAMES
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(VideoError, match=r"truncated: \d+ of \d+ bytes are there"):
        scan(cut)


def test_a_part_of_a_frame_at_the_end_is_told(tmp_path):
    path = _encoded(tmp_path / "whole.y4m", "rawvideo")
    assert scan(path).notes == ()
    cut = tmp_path / "cut.y4m"
    cut.write_bytes(path.read_bytes()[:-99])
    scanned = scan(cut, bounds=ScanBounds(max_damaged=0.2))
    assert scanned.info.num_frames == FRAMES - 1
    assert "ends in the middle of a frame" in scanned.notes[0][1]


def test_the_last_frame_of_a_cut_dv_file_is_damaged(tmp_path):
    path = _encoded(tmp_path / "whole.dv", "dvvideo", (720, 576))
    assert scan(path).notes == ()
    cut = tmp_path / "cut.dv"
    cut.write_bytes(path.read_bytes()[:-120_000])
    scanned = scan(cut, bounds=ScanBounds(max_damaged=0.2))
    assert np.flatnonzero(scanned.unfit).tolist() == [FRAMES - 1]


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_frames_behind_a_damaged_place_of_an_avi_are_read_as_they_were_scanned(tmp_path, codec):
    path = _encoded(tmp_path / "whole.avi", codec, noise=60)
    data = path.read_bytes()
    begin = data.index(b"00dc", data.index(b"movi")) + 8
    zeros = bytes(len(data) // 8)  # two chunks or more, with their headers
    middle = begin + (len(data) - begin) // 3
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(data[:middle] + zeros + data[middle + len(zeros) :])
    found = scan(damaged, 1000, ScanBounds(max_damaged=0.9))
    assert found.info.num_frames < FRAMES - 1
    first, count = found.info.num_frames - 8, 8
    assert not found.unfit[first:].any()
    times = found.pts[[first, first + count - 1]]
    end = int(times[1] + found.durations[first + count - 1])
    span = FrameRange(found.info.clock, first, count)
    with open_span(damaged, int(times[0]), end, span) as reader:
        frames = [reader.converter(f).convert(f, 48, 27) for f, _, _ in reader.frames()]
    assert np.array_equal(frames, found.strip[first : first + count])


@pytest.mark.parametrize("trailer", [b"", bytes(3000)])
def test_what_a_damaged_cluster_hides_is_told(tmp_path, trailer):
    path = _encoded(tmp_path / "whole.webm", "libvpx", noise=60)
    data = path.read_bytes()
    assert len(_all(data, b"\x1f\x43\xb6\x75")) == 1  # nowhere to go on
    whole = tmp_path / "with trailer.webm"
    whole.write_bytes(data + trailer)
    assert scan(whole).info.num_frames == FRAMES
    begin = data.index(b"\x1f\x43\xb6\x75")
    middle = begin + (len(data) - begin) // 2
    damaged = tmp_path / "damaged.webm"
    zeros = bytes(len(data) // 6)  # more than a frame
    damaged.write_bytes(data[:middle] + zeros + data[middle + len(zeros) :] + trailer)
    with pytest.raises(VideoError, match=r"cannot be read behind frame \d+, .* of an EBML number"):
        scan(damaged, bounds=ScanBounds(max_damaged=0.1))
    found = scan(damaged, bounds=ScanBounds(max_damaged=0.9))
    assert found.info.num_frames < FRAMES
    assert "unread end" in [kind for kind, _ in found.notes]


def _encoded(path, codec, size=(160, 128), noise=0):
    shape = (size[1], size[0], 3)
    grain = np.random.default_rng(4).integers(0, noise + 1, shape, dtype=np.uint8)
    muxer = {".y4m": "yuv4mpegpipe", ".ogv": "ogg"}.get(path.suffix, path.suffix[1:])
    with av.open(str(path), "w", format=muxer) as out:
        group = "100" if codec == "libvpx" else "6"
        options = {"g": group, "sc_threshold": "0", "crf": "10", "b": "4M"} if noise else {}
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(FRAMES):
            array = np.full((size[1], size[0], 3), 40 + 5 * number, dtype=np.uint8)
            array[:, : 8 + 2 * number] = 200
            if noise:
                array[:] = np.roll(grain, number, axis=1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        out.mux(stream.encode(None))
    return path
