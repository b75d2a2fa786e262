"""The sampling pipeline without models: decoding beside encoding, and the step cache."""

import threading
from pathlib import Path
from types import SimpleNamespace

import torch

from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.phases import step_rules
from wanctl.diffusion.schedules import make_schedule
from wanctl.sample import pipeline


def test_the_next_frames_are_decoded_while_the_first_are_encoded(monkeypatch):
    second_piece, taken = threading.Event(), []

    class Vae:
        def decode_frames(self, latents):
            yield torch.zeros(1, 3, 1, 8, 8)
            second_piece.set()
            yield torch.zeros(1, 3, 4, 8, 8)

    def write_video(path, frames, fps, *, crf, metadata):
        taken.append(next(frames))
        assert second_piece.wait(30), "the decoder waits for the encoder"
        taken.extend(frames)

    monkeypatch.setattr(pipeline, "write_video", write_video)
    this = SimpleNamespace(
        shared_vae=lambda _: Vae(),
        distributed=SimpleNamespace(is_main_process=True),
        outputs=SimpleNamespace(path=lambda _: Path("x.mp4"), header=lambda _: {}),
    )
    request = SimpleNamespace(frames=5, fps=16, crf=16)
    pipeline.SamplingPipeline.write(this, request, torch.zeros(1))
    assert [frame.shape for frame in taken] == [(8, 8, 3)] * 5


def test_the_step_cache_is_reset_where_guidance_ends():
    """The velocity without guidance is another function: no guided one is reused for it."""
    schedule = make_schedule("euler", 10, 1.0)
    request = SimpleNamespace(
        prompt="", solver="euler", schedule=schedule, guided=True, negative_prompt="",
        step_rules=step_rules(schedule.timesteps, 4.0, guide_until=0.5), step_cache=0.1,
    )  # fmt: skip
    this = SimpleNamespace(
        device=torch.device("cpu"),
        _conditions=lambda _: Conditions(torch.zeros(1, 2, 4)),
        _context=torch.stack,
        _noise=lambda _: SimpleNamespace(draw=lambda: torch.ones(1, 4, 1, 2, 2)),
    )
    [segment] = pipeline.SamplingPipeline._segments(this, [request], {"": torch.zeros(2, 4)})
    steps = []

    def constant(x, timesteps, context):
        steps.append(round(10 - timesteps[0].item() / 100))
        return torch.ones_like(x)

    segment.denoising.run_until(constant)
    assert steps == [0, 1, 5, 6, 9]
