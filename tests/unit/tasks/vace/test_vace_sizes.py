"""Size, length and pictures of VACE's sources."""

import numpy as np
import pytest
import torch

from wanctl.errors import UserError
from wanctl.tasks.vace.sizes import frame_ids, letterbox_white, resize_crop_uint8, source_shape
from wanctl.video.encode import write_video

LOW, HIGH = (480, 832), (720, 1280)


@pytest.mark.parametrize(
    ("source", "frames", "canvas", "expected"),
    [
        # height x width of the source, its frames, the canvas, what comes out
        ((1280, 720), 81, LOW, (81, 848, 464)),  # the published example
        ((720, 1280), 81, LOW, (81, 480, 832)),
        ((720, 1280), 81, HIGH, (81, 720, 1280)),
        ((1280, 720), 81, HIGH, (81, 1280, 720)),
        ((480, 832), 81, LOW, (81, 480, 832)),
        ((832, 480), 81, (832, 480), (81, 832, 480)),
        ((1024, 1024), 81, LOW, (81, 624, 640)),
        ((1024, 1024), 81, HIGH, (81, 960, 960)),
        ((1080, 1920), 300, LOW, (81, 480, 832)),
        ((1080, 1920), 84, HIGH, (81, 720, 1280)),
        ((1080, 1920), 80, HIGH, (77, 720, 1280)),
        ((1080, 1920), 1, HIGH, (1, 720, 1280)),
        ((1080, 1920), 4, HIGH, (1, 720, 1280)),
        ((1080, 1920), 5, HIGH, (5, 720, 1280)),
        ((256, 256), 81, LOW, (81, 256, 256)),  # never enlarged
        ((256, 256), 1000, LOW, (505, 256, 256)),  # small and long
        ((250, 250), 81, HIGH, (81, 240, 240)),
        ((31, 31), 9, LOW, (9, 16, 16)),
        ((400, 2000), 81, LOW, (81, 288, 1376)),
        ((16, 3000), 81, LOW, (81, 16, 2992)),
        ((720, 1280), 9, (48, 80), (9, 48, 80)),  # a canvas of neither size
    ],
)
def test_a_source_enters_at_the_size_and_length_of_the_official_loader(
    source, frames, canvas, expected
):
    assert source_shape(*source, frames, canvas) == expected


@pytest.mark.parametrize("canvas", [LOW, HIGH])
def test_no_source_is_enlarged_or_takes_more_tokens_than_81_frames_of_the_canvas(canvas):
    for height in range(16, 1400, 173):
        for width in range(16, 2200, 211):
            for frames in (1, 5, 50, 81, 400):
                shape = source_shape(height, width, frames, canvas)
                tokens = shape.height * shape.width / 256
                assert tokens <= (height // 16) * (width // 16)
                assert tokens * ((shape.frames - 1) // 4 + 1) <= 21 * canvas[0] * canvas[1] / 256
                assert shape.frames % 4 == 1
                assert shape.frames <= frames


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((15, 900, 81), "video: got 900x15 .* each side needs 16 pixels"),
        ((16, 200_000, 81), "video: got 200000x16; too narrow"),
        ((480, 832, 0), "video: holds no picture"),
    ],
)
def test_sources_of_which_nothing_would_be_left_are_refused(source, message):
    with pytest.raises(UserError, match=message) as caught:
        source_shape(*source, LOW)
    assert "\n" not in str(caught.value)


def spans(count, fps):
    edges = np.arange(count + 1) / fps
    return edges[:-1], edges[1:]


@pytest.mark.parametrize(
    ("count", "frames", "expected"),
    [
        (1, 1, [0]),
        (4, 1, [0]),
        (5, 5, [0, 1, 2, 3, 4]),
        (9, 5, [0, 2, 4, 6, 8]),
        (10, 5, [0, 2, 4, 7, 9]),
        (12, 9, [0, 1, 2, 4, 5, 7, 8, 10, 11]),
    ],
)
def test_pictures_are_spread_from_the_first_to_the_last(count, frames, expected):
    assert frame_ids(*spans(count, 16), frames) == expected


def test_every_picture_of_81_is_taken():
    for fps in (16, 24, 25, 30, 60, 30000 / 1001):
        assert frame_ids(*spans(81, fps), 81) == list(range(81))


def official_ids(starts, ends, frames):
    """The rule as it is written down, on a table of all pairs."""
    table = np.stack([starts, ends], axis=1).astype(np.float32)
    times = np.linspace(0.0, table[-1].mean(), frames)
    inside = (times[:, None] >= table[None, :, 0]) & (times[:, None] <= table[None, :, 1])
    return np.argmax(inside, axis=1).tolist()


def test_pictures_are_those_of_the_official_rule_at_real_time_stamps(tmp_path):
    decord = pytest.importorskip("decord")
    rng = np.random.default_rng(0)
    for count, fps in ((83, 30), (51, 24), (33, 12.5)):
        path = tmp_path / f"{count}.mp4"
        write_video(path, rng.integers(0, 255, (count, 32, 32, 3), np.uint8), fps)
        reader = decord.VideoReader(str(path))
        stamps = np.stack([reader.get_frame_timestamp(i) for i in range(len(reader))])
        ours = np.arange(count + 1) / fps
        for frames in range(1, count + 1, 4):
            expected = official_ids(stamps[:, 0], stamps[:, 1], frames)
            assert frame_ids(stamps[:, 0], stamps[:, 1], frames) == expected
            assert frame_ids(ours[:-1], ours[1:], frames) == expected


def test_a_moment_in_a_gap_takes_the_next_picture_and_not_the_first():
    starts, ends = np.array([0.0, 0.1, 1.0]), np.array([0.1, 0.2, 1.1])
    assert official_ids(starts, ends, 5) == [0, 0, 0, 0, 2]
    assert frame_ids(starts, ends, 5) == [0, 2, 2, 2, 2]


def test_frames_are_cut_out_of_the_middle_and_not_squeezed():
    frames = torch.zeros(2, 3, 20, 60, dtype=torch.uint8)
    frames[1, :, :, 20:40] = 255
    video = resize_crop_uint8(frames, 20, 20)
    assert video.shape == (3, 2, 20, 20)
    assert (video[:, 0] == -1).all()
    assert (video[:, 1] == 1).all()
    half = resize_crop_uint8(frames, 10, 16)
    assert half.shape == (3, 2, 10, 16)
    assert (half[:, 1, :, 4:12] == 1).all()
    assert half[:, 1, :, 0].max() < -0.9


def test_resized_values_are_bytes_as_in_the_official_loader():
    frames = torch.randint(0, 256, (3, 3, 37, 53), dtype=torch.uint8)
    video = (resize_crop_uint8(frames, 16, 32) + 1) * 127.5
    assert (video - video.round()).abs().max() < 1e-4
    assert video.std() > 10


def test_a_reference_is_whole_and_centred_on_white():
    picture = torch.full((3, 10, 30), -1.0)
    canvas = letterbox_white(picture, 48, 64)
    assert canvas.shape == (3, 48, 64)
    # 64 / 30 fits the width: 21 rows, 13 white above and 14 below
    assert (canvas[:, 13:34] < -0.999).all()
    assert (canvas[:, :13] == 1).all()
    assert (canvas[:, 34:] == 1).all()
    tall = letterbox_white(picture.transpose(1, 2), 48, 64)
    assert (tall[:, :, 24:40] < -0.999).all()
    assert (tall[:, :, :24] == 1).all()


def test_a_reference_of_the_canvas_size_is_taken_as_it_is():
    picture = torch.rand(3, 48, 64)
    assert torch.equal(letterbox_white(picture, 48, 64), picture)
    with pytest.raises(UserError, match="references: got a picture of 9000x1; nothing is left"):
        letterbox_white(torch.zeros(3, 1, 9000), 48, 64)
