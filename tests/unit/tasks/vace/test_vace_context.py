"""The 96 channels that VACE's control blocks read."""

import pytest
import torch
import torch.nn.functional as F

from wanctl.tasks.vace.context import mask_frames, regroup, vace_context

PUBLISHED = {
    81: [1, 5, 9, 13, 17, 21, 25, 28, 32, 36, 40, 44, 48, 52, 55, 59, 63, 67, 71, 75, 79],
    5: [1, 3],
    1: [0],
}


@pytest.mark.parametrize("frames", PUBLISHED)
def test_mask_frames_are_the_published_ones(frames):
    assert mask_frames(frames) == PUBLISHED[frames]


def test_mask_frames_are_those_of_nearest_exact():
    for frames in range(1, 260, 4):
        numbers = torch.arange(frames, dtype=torch.float32)[None, None]
        count = (frames + 3) // 4
        picked = F.interpolate(numbers, size=count, mode="nearest-exact")[0, 0]
        assert mask_frames(frames) == picked.int().tolist()


def test_regrouping_keeps_every_pixel_of_the_frames_it_takes():
    mask = torch.rand(5, 32, 48)
    channels = regroup(mask)
    assert channels.shape == (64, 2, 4, 6)
    for row, column, y, x in ((0, 0, 0, 0), (3, 5, 1, 2), (7, 7, 3, 5), (0, 6, 2, 4)):
        assert channels[8 * row + column, 1, y, x] == mask[3, 8 * y + row, 8 * x + column]
    assert torch.equal(F.pixel_shuffle(channels.transpose(0, 1), 8)[:, 0], mask[[1, 3]])


def encode(video):
    """A stand-in that lets pixels be recognised: means of 8x8 blocks of each 4th frame."""
    return F.avg_pool2d(video[:, ::4], 8).repeat(2, 1, 1, 1)[:4]


def source(frames=5):
    video = torch.rand(3, frames, 32, 48) * 2 - 1
    mask = torch.zeros(1, frames, 32, 48)
    mask[..., 24:] = 1
    return video, mask


def test_what_is_kept_and_what_is_made_are_apart():
    video, mask = source()
    context = vace_context(video, mask, [], encode)
    assert context.shape == (4 + 4 + 64, 2, 4, 6)
    whole = encode(video)
    assert torch.equal(context[:4, ..., :3], whole[..., :3])
    assert (context[:4, ..., 3:] == 0).all()
    assert torch.equal(context[4:8, ..., 3:], whole[..., 3:])
    assert (context[4:8, ..., :3] == 0).all()
    assert torch.equal(context[8:], regroup(mask[0]))


def test_shades_decide_at_one_half_and_still_reach_the_mask_channels():
    video, mask = source()
    shaded = torch.where(mask > 0, 0.51, 0.5)
    context, hard = (vace_context(video, m, [], encode) for m in (shaded, mask))
    assert torch.equal(context[:8], hard[:8])
    assert context[8:].unique().tolist() == pytest.approx([0.5, 0.51])


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_reference_is_one_frame_in_front_in_order(frames, count):
    video, mask = source(frames)
    references = [torch.full((3, 32, 48), 0.1 * (i + 1)) for i in range(count)]
    context = vace_context(video, mask, references, encode)
    assert context.shape[1] == count + (frames + 3) // 4
    for i in range(count):
        torch.testing.assert_close(context[:4, i], torch.full((4, 4, 6), 0.1 * (i + 1)))
        assert (context[4:, i] == 0).all()
    assert torch.equal(context[:, count:], vace_context(video, mask, [], encode))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, m: (v, m.repeat(3, 1, 1, 1), []), r"mask: got \(3, 5, 32, 48\); need one"),
        (lambda v, m: (v, m[..., :-1], []), r"mask: got \(1, 5, 32, 47\)"),
        (lambda v, m: (v, m[:, :1], []), r"mask: got \(1, 1, 32, 48\)"),
        (lambda v, m: (v[:, :4], m[:, :4], []), "video: got 4 frames"),
        (lambda v, m: (v, m, [v[:, 0, :16]]), r"references: got \(3, 16, 48\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        vace_context(*change(*source()), encode)
