"""Video values to bytes."""

import torch

from wanctl.tasks.pixels import to_frames, to_image

VALUES = torch.tensor([-1.2, -1.0, -0.998, 0.0, 0.998, 1.0, 1.2])


def test_frames_are_cut_off_and_a_picture_is_rounded():
    video = VALUES.view(1, 1, 1, 7).expand(3, 1, 1, 7)
    assert to_frames(video)[0, 0, :, 0].tolist() == [0, 0, 0, 127, 254, 255, 255]
    assert to_image(video)[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255, 255]


def test_frames_keep_time_rows_columns_and_colours_apart():
    video = torch.full((3, 2, 4, 6), -1.0)
    video[1, 1, 2, 3] = 1.0
    frames = to_frames(video)
    assert frames.shape == (2, 4, 6, 3)
    assert frames.nonzero() == ([1], [2], [3], [1])
