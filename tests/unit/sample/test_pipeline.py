"""What a maker does with latents."""

import threading
from pathlib import Path
from types import SimpleNamespace

import torch

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
        _shared_vae=lambda _: Vae(), distributed=SimpleNamespace(is_main_process=True)
    )
    params = SimpleNamespace(frames=5, fps=16, crf=16)
    job = SimpleNamespace(path=Path("x.mp4"), prompt="", metadata={}, params=params)
    pipeline.SamplingPipeline.write(this, job, torch.zeros(1))
    assert [frame.shape for frame in taken] == [(8, 8, 3)] * 5
