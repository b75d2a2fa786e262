"""Damage costs the frames that it spoils, and no others; what is left out is told."""

import re
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.reading import BOUNDS, read
from tests.unit.video.synthetic.recipes import FRAMES, Recipe, numbered
from wanctl.video.probe import ScanBounds, VideoError, scan


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return FootageMaker(tmp_path_factory.mktemp("damaged"))


def kinds(found):
    return [kind for kind, _ in found.notes]


@pytest.mark.parametrize(
    ("codec", "b_frames"),
    [("h264", 0), ("h264", 2), ("hevc", 0), ("hevc", 3), ("mpeg2video", 2), ("mpeg2video", 3)],
)
def test_a_recording_begins_with_its_first_key_frame(maker, codec, b_frames):
    found = read(maker.make(Recipe("ts", codec, b_frames, damage="begins late")))
    assert "no key frame" in kinds(found.scan)
    # groups have 12 frames; with open groups, two or three lead the first key frame
    assert len(found.numbers) >= 9
    assert found.numbers == list(range(FRAMES - len(found.numbers), FRAMES))


def test_such_a_recording_is_no_damage_for_sampling_either(maker):
    path = maker.make(Recipe("ts", "h264", 2, damage="begins late"))
    assert scan(path).info.corrupt_share == 0


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("ts", "h264"),
        ("ts", "mpeg2video"),
        ("ts", "hevc"),
        ("m2ts", "h264"),
        ("m2ts", "mpeg2video"),
    ],
)
def test_lost_packets_cost_a_part_of_one_group(maker, container, codec):
    path = maker.make(Recipe(container, codec, 1, damage="loses packets"))
    found = read(path)
    assert FRAMES / 2 <= len(found.numbers) < FRAMES
    assert found.numbers == sorted(set(found.numbers))
    assert found.numbers[0] == 0
    assert found.numbers[-1] == FRAMES - 1
    assert 0 < found.scan.info.corrupt_share < 0.5
    (note,) = (text for kind, text in found.scan.notes if kind == "damaged stretches")
    assert re.search(r"\d+ frames and \d+ packets \(\d+\.\d%\) .* \d+\.\d\d-\d+\.\d\d s", note)


def test_more_damage_than_the_bound_refuses_the_file(maker):
    path = maker.make(Recipe("ts", "mpeg2video", 1, damage="loses packets"))
    share = scan(path, 30, BOUNDS).info.corrupt_share
    scan(path, 30, ScanBounds(max_damaged=share + 0.001))
    refused = r"corrupt: \d+ frames damaged .* allowed .*the first fault"
    with pytest.raises(VideoError, match=refused):
        scan(path, 30, ScanBounds(max_damaged=share - 0.001))
    with pytest.raises(VideoError, match=r"allowed 0\.0%"):
        scan(path)


def test_frames_of_intra_codecs_are_lost_one_by_one(make_video, tmp_path):
    whole = make_video("lossless2.mkv", codec="ffv1", options={"level": "3", "slicecrc": "1"})
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data)
    found = scan(broken, 30, BOUNDS)
    assert np.flatnonzero(found.unfit).tolist() == [11]


def test_a_stream_that_ends_in_the_middle_of_a_packet_loses_its_last_frame(maker):
    path = maker.make(Recipe("ts", "h264"))
    broken = path.with_name("ends.ts")
    broken.write_bytes(path.read_bytes()[:-100])
    found = scan(broken, 30, BOUNDS)
    assert np.flatnonzero(found.unfit).tolist() == [found.info.num_frames - 1]
    assert found.info.num_frames >= FRAMES - 1
    with pytest.raises(VideoError, match="ends in the middle of a packet"):
        scan(broken)


def test_undamaged_footage_has_nothing_left_out(real_clip):
    found = scan(real_clip, 30, BOUNDS)
    assert found.notes == ()
    assert not found.unfit.any()
    assert not found.breaks.any()


@pytest.mark.parametrize("codec", ["h264", "vp8", "mjpeg"])
def test_a_clip_ends_where_the_container_lost_a_part(tmp_path, codec):
    """Two of the clusters of an mkv are gone, and no decoder notices."""
    whole = with_clusters(tmp_path / f"{codec}.mkv", codec)
    assert scan(whole, 30, BOUNDS).notes == ()
    data = bytearray(whole.read_bytes())
    clusters = [found.start() for found in re.finditer(rb"\x1f\x43\xb6\x75", data)]
    assert len(clusters) >= 5
    data[clusters[2] : clusters[2] + 40] = bytes(40)
    broken = tmp_path / f"broken-{codec}.mkv"
    broken.write_bytes(data)
    found = scan(broken, 30, BOUNDS)
    assert found.info.num_frames < 60
    assert "holes" in kinds(found)
    steps = np.diff(found.pts)
    (behind,) = np.flatnonzero(steps > 1.5 * np.median(steps))
    assert found.breaks[behind + 1]


def with_clusters(path, codec):
    encoder, options = {
        "h264": ("libx264", {"g": "10", "bf": "0", "crf": "12"}),
        "vp8": ("libvpx", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
        "mjpeg": ("mjpeg", {}),
    }[codec]
    with av.open(str(path), "w", options={"cluster_time_limit": "400"}) as out:
        stream = out.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(numbered(number))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
