"""A file is truncated where its structure says so, and only there."""

import struct

import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.recipes import FRAMES, Recipe
from wanctl.video.probe import VideoError, scan


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return FootageMaker(tmp_path_factory.mktemp("cut"))


def changed(path, data):
    other = path.with_name(f"changed-{len(data)}-{path.name}")
    other.write_bytes(data)
    return other


TRAILERS = {
    "an unknown box past the end": struct.pack(">I4s", 10**7, b"beam") + bytes(99),
    "a large box of the maker": struct.pack(">I4sQ", 1, b"uuid", 10**12) + bytes(99),
    "free space past the end": struct.pack(">I4s", 10**6, b"free"),
    "text": b"maker's notes, not a box at all " * 9,
    "zeros": bytes(5000),
    "three bytes": b"abc",
}


@pytest.mark.parametrize("trailer", TRAILERS.values(), ids=TRAILERS)
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "avi", "flv", "wmv", "ts"])
def test_what_stands_behind_the_last_frame_truncates_nothing(maker, container, trailer):
    codec = "wmv2" if container == "wmv" else "h264"
    path = maker.make(Recipe(container, codec))
    found = scan(changed(path, path.read_bytes() + trailer))
    assert found.info.num_frames == FRAMES


@pytest.mark.parametrize("container", ["mkv", "webm", "avi", "flv"])
def test_stale_durations_and_counts_truncate_nothing(maker, container):
    codec = {"webm": "vp8", "avi": "mpeg4"}.get(container, "h264")
    path = maker.make(Recipe(container, codec, tags="stale"))
    assert scan(path).info.num_frames == FRAMES


@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("container", ["mkv", "avi", "flv", "wmv"])
def test_a_container_that_reaches_past_the_end_is_truncated(maker, container, share):
    path = maker.make(Recipe(container, "wmv2" if container == "wmv" else "h264"))
    data = path.read_bytes()
    with pytest.raises(VideoError, match=r"truncated: \d+ of \d+ bytes are there"):
        scan(changed(path, data[: int(len(data) * share)]))


def test_a_live_recording_is_cut_by_its_last_cluster(maker):
    path = maker.make(Recipe("mkv", "h264"))
    data = path.read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 4
    length = 9 - data[at].bit_length()
    unknown = bytes([(1 << (8 - length)) | ((1 << (8 - length)) - 1)]) + b"\xff" * (length - 1)
    live = data[:at] + unknown + data[at + length :]
    assert scan(changed(path, live)).info.num_frames == FRAMES
    with pytest.raises(VideoError, match="truncated"):
        scan(changed(path, live[: live.rindex(b"\x1c\x53\xbb\x6b") - 2000]))
