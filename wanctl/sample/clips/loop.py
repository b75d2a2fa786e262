"""The loop over the clips of a long video: condition, denoise, decode, pass the last frames on.

Shapes: F frames, H/W pixels, C channels, T latent frames, Y/X latent rows/columns.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wanctl.atomic import write_bytes
from wanctl.background import run_in_background
from wanctl.diffusion.conditions import Conditions
from wanctl.log import log
from wanctl.sample.clips.finished import FinishedClips
from wanctl.sample.clips.seams import SeamMeter, match_colors
from wanctl.sample.finite import check_conditions, finite_pieces
from wanctl.sample.outputs import OutputFolder
from wanctl.sample.request import SampleRequest
from wanctl.tasks.clips.api import ClipTask
from wanctl.tasks.inputs import Encoders, Inputs
from wanctl.tasks.pixels import to_frames
from wanctl.tasks.table import get_task
from wanctl.video.encode import write_video

MAX_QUEUED_FRAMES = 8


def is_clip_task(request: SampleRequest) -> bool:
    """Whether an output is made clip by clip."""
    return isinstance(get_task(request.task), ClipTask)


class VideoDecoder(Protocol):
    """A VAE in any form: plain, in tiles, or divided between processes."""

    def decode_frames(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode (B, C, T, Y, X) latents to pieces (B, 3, F, H, W) in [-1, 1]."""
        ...


class ClipNetworks(Protocol):
    """What the loop needs of `SamplingPipeline`."""

    device: torch.device

    def inputs_of(self, request: SampleRequest) -> Inputs:
        """The images and videos of a request."""
        ...

    def encoders(self, request: SampleRequest) -> Encoders:
        """The networks that encode them."""
        ...

    def shared_vae(self, request: SampleRequest) -> VideoDecoder:
        """The VAE that decodes the clips."""
        ...

    def denoise(
        self,
        request: SampleRequest,
        conditions: Conditions,
        texts: Mapping[str, Tensor],
        clip: int,
        label: str,
    ) -> Tensor:
        """Latents (1, C, T, Y, X) of a clip."""
        ...

    def release_transformers(self) -> None:
        """Free the transformer's memory."""
        ...


class ClipLoop:
    """Samples one output clip by clip and writes it as clips are finished.

    Args:
        pipeline: runs the networks.
        outputs: names the files.
        request: the output.
        texts: embeddings of its prompts.

    Attributes:
        request: the output.
    """

    def __init__(
        self,
        pipeline: ClipNetworks,
        outputs: OutputFolder,
        request: SampleRequest,
        texts: Mapping[str, Tensor],
    ) -> None:
        task = get_task(request.task)
        assert isinstance(task, ClipTask)
        self._pipeline, self._outputs = pipeline, outputs
        self.request, self._texts = request, texts
        self._inputs = pipeline.inputs_of(request)
        self._source = task.source(self._inputs, request.size, pipeline.encoders(request))
        self._task = task
        self._clips = task.clips(request.size, self._inputs)
        options = task.clip_options(self._inputs)
        self._overlap, self._matches_colors = options.overlap or 0, options.match_colors
        self._finished = FinishedClips(outputs.path(request), outputs.header(request))
        self._seams = SeamMeter()

    @torch.inference_mode()
    def write(self, *, save_latents: bool) -> None:
        """Sample and decode clip after clip, and encode the video meanwhile."""
        request, path = self.request, self._outputs.path(self.request)

        def encode(frames: Iterator[np.ndarray]) -> None:
            header = self._outputs.header(request)
            track = self._inputs.audio.track if self._inputs.audio else None
            write_video(path, frames, request.fps, crf=request.crf, metadata=header, sound=track)

        run_in_background(self._frames(), encode, MAX_QUEUED_FRAMES)
        if save_latents:
            self._outputs.write_latents(request, self._finished.all_latents(len(self._clips)))
        self._finished.remove()

    def _frames(self) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 of the whole output."""
        left = self.request.frames
        previous = self._source.start()
        rows, columns = self._task.output_region(self.request.size, self._inputs)
        for number in range(len(self._clips)):
            video = self._decoded(self._latents(number, previous), self._source.lead(previous))
            if previous is None:  # before it, the video is grey
                new = video[:, self._task.dropped_frames :]
                previous = new.new_zeros(len(new), self._overlap, *new.shape[2:])
            else:
                if number and self._matches_colors:
                    video = match_colors(video, previous)
                new = video[:, self._overlap :]
            previous = torch.cat((previous, new), dim=1)[:, -self._overlap :]
            shown = new[:, :left, rows, columns]
            left -= shown.shape[1]
            self._seams.add(shown)
            for frame in shown.unbind(1):
                yield to_frames(frame[:, None])[0]
        self._report()

    def _latents(self, number: int, previous: Tensor | None) -> Tensor:
        """(1, C, T, Y, X) latents of a clip, sampled now or by an earlier run."""
        request, pipeline = self.request, self._pipeline
        stored = self._finished.read(number)
        if stored is not None:
            log.info("clip %d of %d is there already", number + 1, len(self._clips))
            return stored
        conditions = self._source.conditions(self._clips[number], previous)
        conditions = replace(conditions, first_frame_log_scale=request.first_frame_log_scale or 0.0)
        check_conditions(conditions, request)
        label = f"clip {number + 1} of {len(self._clips)}" if len(self._clips) > 1 else ""
        latents = pipeline.denoise(request, conditions, self._texts, number, label)
        if number == len(self._clips) - 1:
            pipeline.release_transformers()  # the VAE has the device to itself
        latents = self._task.output_latents(latents, self._inputs).cpu()
        self._finished.write(number, latents)
        return latents

    def _decoded(self, latents: Tensor, lead: Tensor | None) -> Tensor:
        """(3, F, H, W) fp32 pixels in [-1, 1] of a clip, on the CPU; those of the lead first."""
        pipeline, request = self._pipeline, self.request
        if lead is not None:
            latents = torch.cat((lead[None].to(latents), latents), dim=2)
        pieces = pipeline.shared_vae(request).decode_frames(latents.to(pipeline.device))
        found = [piece[0].float().cpu() for piece in finite_pieces(pieces, request)]
        return torch.cat(found, dim=1).clamp(-1, 1)

    def _report(self) -> None:
        """Log what the seams do and write it beside the output."""
        if len(self._clips) == 1:
            return
        log.info("%s", self._seams.summary())
        record = self._seams.record(matched=self._matches_colors)
        text = json.dumps(record, indent=1) + "\n"
        path = self._outputs.path(self.request).with_suffix(".json")
        write_bytes(path, text.encode())
