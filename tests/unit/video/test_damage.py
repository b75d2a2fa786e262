import random

import pytest

from wanctl.video.probe import VideoError, scan


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["a.mp4", "front.mp4", "b.mkv", "c.avi", "d.webm"])
def test_truncated_files_are_detected(make_video, tmp_path, name, share):
    codec, options = {
        "a.mp4": ("libx264", {}),
        "front.mp4": ("libx264", {}),
        "b.mkv": ("libx264", {}),
        "c.avi": ("mpeg4", {}),
        "d.webm": ("libvpx", {"cpu-used": "8", "deadline": "realtime"}),
    }[name]
    whole = make_video("cut_" + name, codec=codec, options=options)
    if name == "front.mp4":
        whole = faststart(whole, tmp_path / "whole.mp4")
    scan(whole)
    broken = tmp_path / name
    broken.write_bytes(cut(whole.read_bytes(), share))
    with pytest.raises(VideoError):
        scan(broken)


def faststart(path, out):
    import av

    with (
        av.open(str(path)) as source,
        av.open(str(out), "w", options={"movflags": "faststart"}) as sink,
    ):
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                sink.mux(packet)
    return out


def test_truncation_is_distinguished_from_corruption(make_video, tmp_path):
    whole = faststart(make_video("source.mp4"), tmp_path / "whole.mp4")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(cut(whole.read_bytes(), 0.7))
    with pytest.raises(VideoError, match=r"truncated: \d+ of \d+ bytes are there"):
        scan(broken)


def test_flipped_bits_are_detected(real_clip, tmp_path):
    # one flipped bit escapes FFmpeg one time in ten; eight never did in 120 trials on real clips
    data = real_clip.read_bytes()
    randomly = random.Random(5)
    broken = tmp_path / "flipped.mp4"
    for _ in range(10):
        copy = bytearray(data)
        for _ in range(8):
            copy[randomly.randrange(len(copy))] ^= 1 << randomly.randrange(8)
        broken.write_bytes(copy)
        with pytest.raises(VideoError):
            scan(broken)


def test_a_damaged_duration_tag_is_ignored(make_video, tmp_path):
    path = make_video("clock.mkv")
    data = path.read_bytes()
    assert data.count(b"00:00:01.000000000") == 1
    broken = tmp_path / "clock.mkv"
    broken.write_bytes(data.replace(b"00:00:01.000000000", b"00:00:01.000000 00"))
    assert scan(broken).info.duration_s == scan(path).info.duration_s


def test_share_of_corrupt_frames_is_in_the_reason(real_clip, tmp_path):
    data = bytearray(real_clip.read_bytes())
    for offset in range(30_000, 60_000, 5_000):
        data[offset] ^= 0x55
    broken = tmp_path / "flipped.mp4"
    broken.write_bytes(data)
    with pytest.raises(VideoError, match=r"corrupt: \d+ frames damaged \([\d.]+%\)"):
        scan(broken)


def test_errors_that_a_decoder_only_logs_are_found(make_video, tmp_path):
    whole = make_video("lossless.mkv", codec="ffv1", options={"level": "3", "slicecrc": "1"})
    scan(whole)
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data)
    with pytest.raises(VideoError, match=r"corrupt: 1 frames damaged .*: the decoder reports: "):
        scan(broken)
