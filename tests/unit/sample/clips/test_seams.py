"""Seams and drift of colours between clips: put in by hand, they are measured and removed."""

import pytest
import torch

from wanctl.sample.clips.seams import SeamMeter, match_colors

CLIPS, FRAMES, OVERLAP = 4, 9, 1
DRIFT = (0.03, -0.02, 0.05)  # of each channel's mean per clip, in [-1, 1]
CONTRAST = 0.9  # of each clip against the one before


def scene() -> torch.Tensor:
    """(3, F, 16, 16) in [-1, 1]: a pattern that moves by a column per frame."""
    pattern = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    pattern -= pattern.mean(dim=(1, 2), keepdim=True)
    frames = CLIPS * (FRAMES - OVERLAP) + OVERLAP
    return torch.stack([pattern.roll(frame, 2) for frame in range(frames)], dim=1)


def drifting_clips() -> list[torch.Tensor]:
    """The scene in clips, each with other colours."""
    whole, step = scene(), FRAMES - OVERLAP
    clips = (whole[:, n * step : n * step + FRAMES] for n in range(CLIPS))
    drift = torch.tensor(DRIFT)[:, None, None, None]
    return [clip * CONTRAST**n + n * drift for n, clip in enumerate(clips)]


def measured(clips, *, matched):
    meter, shown = SeamMeter(), []
    for clip in clips:
        if shown and matched:
            clip = match_colors(clip, shown[-1][:, -OVERLAP:])
        shown.append(clip)
        meter.add(clip[:, OVERLAP:] if len(shown) > 1 else clip)
    return meter, torch.cat([shown[0], *(clip[:, OVERLAP:] for clip in shown[1:])], dim=1)


def test_drift_that_was_put_in_is_measured():
    meter, _ = measured(drifting_clips(), matched=False)
    clips = meter.clips()
    assert [clip.frames for clip in clips] == [(0, 8), (9, 16), (17, 24), (25, 32)]
    base = clips[0].std
    for number, clip in enumerate(clips):
        expected = [127.5 * number * each for each in DRIFT]
        assert clip.mean_shift == pytest.approx(expected, abs=0.5)
        expected = [each * (CONTRAST**number - 1) for each in base]
        assert clip.std_shift == pytest.approx(expected, abs=0.2)
    assert "4 clips" in meter.summary()
    assert "mean +11.5 -7.7 +19.1" in meter.summary()
    assert len(meter.record(matched=False)["clips"]) == CLIPS


def test_matching_removes_it_and_leaves_what_moves():
    meter, video = measured(drifting_clips(), matched=True)
    assert torch.allclose(video, scene(), atol=1e-5)
    for clip in meter.clips():
        assert clip.mean_shift == pytest.approx([0, 0, 0], abs=0.05)
        assert clip.std_shift == pytest.approx([0, 0, 0], abs=0.05)
    assert [clip.seam for clip in meter.clips()[1:]] == pytest.approx([1, 1, 1], abs=0.01)


def test_a_seam_shows_as_a_larger_difference():
    slow = torch.linspace(0, 0.1, 2 * FRAMES)[None, :, None, None].expand(3, -1, 4, 4)
    meter = SeamMeter()
    meter.add(slow[:, :FRAMES])
    meter.add(slow[:, FRAMES:] + 0.05)
    step = 0.1 / (2 * FRAMES - 1)
    assert meter.clips()[1].seam == pytest.approx((step + 0.05) / step, rel=1e-3)
    still = SeamMeter()
    for level in (0.0, 0.1):
        still.add(torch.full((3, FRAMES, 4, 4), level))
    assert still.clips()[1].seam is None  # nothing moves inside the clips


def test_flat_colours_are_shifted_and_not_scaled():
    flat = torch.full((3, FRAMES, 4, 4), 0.2)
    matched = match_colors(flat, torch.full((3, OVERLAP, 4, 4), -0.1))
    assert torch.allclose(matched, torch.full_like(flat, -0.1))
