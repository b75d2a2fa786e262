"""Prompts to latents to files, with one large network in memory at a time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wanctl.background import run_in_background
from wanctl.checkpoint.load import load_vae, read_dit_shape
from wanctl.checkpoint.resolve import ResolvedWeights
from wanctl.checkpoint.tensor_files import WeightsError
from wanctl.diffusion.conditions import Conditions
from wanctl.diffusion.experts import guide_scales, high_steps
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.schedules import Schedule, make_schedule
from wanctl.diffusion.step_cache import velocity_changes, with_step_cache
from wanctl.distributed.context import DistributedContext
from wanctl.distributed.layout import ParallelOptions, choose_layout
from wanctl.errors import UserError
from wanctl.estimate.report import check_memory
from wanctl.log import progress
from wanctl.model.shapes import PATCH
from wanctl.model.variants import HIGH, LOW, Expert, Variant
from wanctl.runtime.vae_tiling import TiledVAE
from wanctl.sample.batches import batches
from wanctl.sample.expert_loader import ExpertLoader
from wanctl.sample.input_encoders import SampleEncoders
from wanctl.sample.job import SampleJob, words_of
from wanctl.sample.params import SamplingParams
from wanctl.sample.pixels import to_frames, to_picture
from wanctl.sample.reader import PromptReader
from wanctl.tasks.api import pad_texts
from wanctl.tasks.table import get_task
from wanctl.video.encode import write_png, write_video

if TYPE_CHECKING:
    from wanctl.distributed.vae_rows import VAERowParallel
    from wanctl.model.vae.autoencoder import WanVAE

TITLE_LENGTH = 40
# Batches that wait half done for the other expert; each holds some copies of its latents.
MAX_PENDING = 8
MAX_QUEUED_FRAMES = (
    8  # of the encoder: those of the next piece find room while it works on the last
)
FSDP_MEMORY_SHARE = 0.6  # share of a GPU's memory; the rest is for activations and the VAE


@dataclass(frozen=True)
class DenoiseSegment:
    """Steps of a batch that one transformer does."""

    jobs: Sequence[SampleJob]
    denoising: Denoising
    expert: Expert | None  # None where the model has one transformer
    steps: range


class SamplingPipeline:
    """Makes outputs of one model, those of one kind together where that pays.

    Args:
        jobs: what is to be made.
        weights: with what.
        variant: what they are weights of.
        dtype: of the transformer's large matrices.
        distributed: the processes that work on it, and their device.
        parallel: how they divide the work.
        batch: outputs that are made together; None: as many as pay.

    Raises:
        UserError: weights that do not go together.
        ProblemsError: the work cannot be divided like this.
    """

    def __init__(
        self,
        jobs: Sequence[SampleJob],
        weights: ResolvedWeights,
        variant: Variant,
        dtype: torch.dtype,
        distributed: DistributedContext,
        parallel: ParallelOptions | None = None,
        batch: int | None = None,
    ) -> None:
        self.jobs = jobs
        self.batch = batch
        self.distributed = distributed
        self.weights = weights
        self.device = device = distributed.device
        self.vae = load_vae(weights.vae, device=device)
        shape = read_dit_shape(weights.dit)
        if shape.out_channels != self.vae.shape.z_dim:
            raise WeightsError(
                f"the transformer ({weights.dit.root}) makes {shape.out_channels} channels and the "
                f"VAE ({weights.vae.root}) takes {self.vae.shape.z_dim}; they are not of one model"
            )
        for task in dict.fromkeys(job.params.task for job in jobs):
            if reason := get_task(task).refusal(shape):
                raise WeightsError(
                    f"the transformer ({weights.dit.root}) cannot do task {task}: {reason}"
                )
        self.dit_shape = shape
        self._cached_conditions: tuple[str, Conditions] | None = None
        params = jobs[0].params
        self._transformers = ExpertLoader(weights, params, dtype, distributed)
        if distributed.num_processes > 1:
            _check_single_process_options(params)
        if distributed.num_processes == 1:
            found = replace(variant, dit=shape, vae=self.vae.shape)
            for params in {job.params.kind: job.params for job in jobs}.values():
                check_memory(params, found, device)
                self._shared_vae(params)  # refuses tiles that cannot be
        self.distributed.set_layout(
            choose_layout(
                parallel or ParallelOptions(),
                self.distributed.num_processes,
                heads=shape.num_heads,
                guided=any(job.params.guided for job in jobs),
                fsdp_by_default=_exceeds_memory_share(device, weights.dit.dit or ()),
            )
        )

    @torch.inference_mode()
    def latents(self) -> Iterator[tuple[SampleJob, Tensor]]:
        """Denoise batch after batch; yields (1, C, T, Y, X) fp32 of each job.

        Two experts take turns over some batches at a time, so that each loads once for all.
        """
        self._conditions(self.jobs[0])  # before there is anything else in memory
        folder = self.jobs[0].path.parent.parent / "prompts"
        reader = PromptReader(self.weights, self.dit_shape, self.device, folder)
        texts = self.distributed.broadcast_from_main(lambda: reader.embed(words_of(self.jobs)))
        plan = list(self._batches())
        together = MAX_PENDING if self.weights.dit.dit_low else 1
        for start in range(0, len(plan), together):
            if together > 1:
                self._transformers.release()  # the low-noise expert of the batches before
            segments = [
                segment
                for batch in plan[start : start + together]
                for segment in self._segments(batch, texts)
            ]
            segments.sort(key=lambda segment: segment.expert == LOW)
            for segment in segments:
                latents = self._run_segment(segment)
                if segment is segments[-1] and start + together >= len(plan):
                    self._transformers.release()  # the VAE has the device to itself
                if latents is not None:
                    first = segment.jobs[0]
                    latents = get_task(first.params.task).output_latents(latents, first.read())
                    yield from zip(segment.jobs, latents.split(1), strict=True)

    def _segments(
        self, batch: Sequence[SampleJob], texts: Mapping[str, Tensor]
    ) -> list[DenoiseSegment]:
        """Which transformer does which steps of a batch."""
        params = batch[0].params
        schedule = make_schedule(params.solver, params.steps, params.shift)
        change = None
        if params.boundary is not None:
            change = high_steps(schedule.timesteps, params.boundary)
        conditions = self._conditions(batch[0]).to(self.device).repeated(len(batch))
        negative = [texts[job.params.negative_prompt] for job in batch if params.guided]
        scales = _scales(params, schedule)
        denoising = Denoising(
            noise=torch.cat([self._noise(job) for job in batch]),
            conditions=conditions.with_context(self._context([texts[j.prompt] for j in batch])),
            negative_context=self._context(negative) if negative else None,
            guide_scale=scales,
            schedule=schedule,
            solver=with_step_cache(
                params.solver, params.step_cache, velocity_changes(scales, change)
            ),
        )
        if change is None:
            return [DenoiseSegment(batch, denoising, None, range(denoising.steps))]
        both: dict[Expert, range] = {HIGH: range(change), LOW: range(change, denoising.steps)}
        return [
            DenoiseSegment(batch, denoising, expert, steps)
            for expert, steps in both.items()
            if steps
        ]

    def _run_segment(self, segment: DenoiseSegment) -> Tensor | None:
        """Do the steps of a turn; the latents, if they are the last."""
        more = len(segment.jobs) - 1
        title = segment.jobs[0].prompt[:TITLE_LENGTH] + (f" and {more} more" if more else "")
        model = self._transformers.get(segment.expert)
        expert = f"{segment.expert}-noise" if segment.expert else ""
        with progress(len(segment.steps), f"{expert} {title}".strip()) as bar:
            done = segment.steps.start

            def on_step(step: int, _: Tensor) -> None:
                nonlocal done
                bar.advance(step - done)
                done = step

            return segment.denoising.run_until(model, segment.steps.stop, on_step)

    @torch.inference_mode()
    def write(self, job: SampleJob, latents: Tensor) -> None:
        """Decode piece by piece, so that memory does not grow with the video; encode meanwhile."""
        pieces = self._shared_vae(job.params).decode_frames(latents)
        if not self.distributed.is_main_process:
            for _ in pieces:
                pass
            return
        metadata = {"prompt": job.prompt, **job.metadata}
        if job.path.suffix == ".png":
            write_png(job.path, to_picture(next(pieces)[0]), metadata)
            return
        params = job.params
        with progress(params.frames, "decoding") as bar:

            def frames() -> Iterator[np.ndarray]:
                for piece in pieces:
                    for frame in to_frames(piece[0]):
                        yield frame
                        bar.advance()

            def encode(pictures: Iterator[np.ndarray]) -> None:
                write_video(job.path, pictures, params.fps, crf=params.crf, metadata=metadata)

            run_in_background(frames(), encode, MAX_QUEUED_FRAMES)

    def _batches(self) -> Iterator[list[SampleJob]]:
        """Jobs that differ in words and noise alone, as many together as pay.

        In a batch products are rounded otherwise than alone, so `reference` makes none; several
        processes divide one output better than two.
        """
        alone = self.distributed.num_processes > 1 or self.jobs[0].params.precision == "reference"
        most = self.batch or (1 if alone else None)
        return batches(self.jobs, lambda job: job.params.kind, self._tokens, most)

    def _tokens(self, job: SampleJob) -> int:
        return math.prod(self._noise_shape(job)[1:]) // math.prod(PATCH)

    def _context(self, texts: Sequence[Tensor]) -> Tensor:
        return pad_texts(texts, self.dit_shape.text_len).to(self.device)

    def _conditions(self, job: SampleJob) -> Conditions:
        """What the model is told besides words, on the CPU; kept for the next of its kind."""
        params = job.params
        if self._cached_conditions is None or self._cached_conditions[0] != params.kind:
            shape, vae = self.dit_shape, self._shared_vae(params)
            encode = SampleEncoders(vae, shape, self.weights.image, self.device)
            nothing = torch.zeros(0, shape.text_dim)
            task = get_task(params.task)
            conditions = task.conditions([nothing], shape.text_len, job.read(), params.size, encode)
            self._cached_conditions = params.kind, conditions
        return self._cached_conditions[1]

    def _noise(self, job: SampleJob) -> Tensor:
        """(1, C, T, Y, X); drawn without the batch dimension, as the official code does."""
        params = job.params

        def drawn() -> Tensor:
            device = params.noise_device
            generator = torch.Generator(device).manual_seed(params.seed)
            shape = self._noise_shape(job)
            noise = torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
            return noise[None].cpu()

        return self.distributed.broadcast_from_main(drawn).to(self.device)

    def _noise_shape(self, job: SampleJob) -> tuple[int, int, int, int]:
        params = job.params
        task = get_task(params.task)
        return task.latent_shape(self.vae.shape, *params.size, job.read())

    def _shared_vae(self, params: SamplingParams) -> "WanVAE | VAERowParallel | TiledVAE":
        """The VAE as it works here: divided between processes, else in tiles or whole."""
        if params.vae_tile:
            return TiledVAE(self.vae, params.vae_tile)
        return self.distributed.parallelize_vae(self.vae)


def _check_single_process_options(params: SamplingParams) -> None:
    """Refuse what saves memory in one process and has no part in several.

    Raises:
        UserError: names the key and what several do instead.
    """
    placement = params.placement
    if placement.stream_blocks or placement.quantize:
        raise UserError(
            "model.stream_blocks and model.quantize are for one process; several divide the "
            "weights (parallel.fsdp)"
        )
    if params.vae_tile:
        raise UserError(
            f"model.vae_tile: got {params.vae_tile} for several processes, which divide the "
            "picture's rows and save memory so; leave it out"
        )


def _scales(params: SamplingParams, schedule: Schedule) -> list[float]:
    """The guide scale of each step; 1 asks for the prompt alone."""
    scales = guide_scales(schedule.timesteps, params.guide_scale, params.boundary)
    guided = round(params.guide_until * len(scales))
    return scales[:guided] + [1.0] * (len(scales) - guided)


def _exceeds_memory_share(device: torch.device, files: Sequence[Path]) -> bool:
    """Whether a transformer of these files would leave too little of the device's memory."""
    if device.type != "cuda":
        return False
    size_bytes = sum(path.stat().st_size for path in files)
    return size_bytes > FSDP_MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory
