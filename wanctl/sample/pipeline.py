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
from wanctl.diffusion.experts import HIGH, LOW, guide_scales, high_steps
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.schedules import Schedule, make_schedule
from wanctl.diffusion.step_cache import with_step_cache
from wanctl.distributed.context import Team
from wanctl.distributed.layout import Asked, choose_layout
from wanctl.errors import UserError
from wanctl.estimate.report import check_memory
from wanctl.log import progress
from wanctl.model.shapes import PATCH
from wanctl.model.variants import Variant
from wanctl.runtime.vae_tiling import TiledVAE
from wanctl.sample.batches import batches
from wanctl.sample.encoders import SampleEncoders
from wanctl.sample.experts import Transformers
from wanctl.sample.job import Job, words_of
from wanctl.sample.pixels import to_frames, to_picture
from wanctl.sample.reader import PromptReader
from wanctl.sample.settings import Settings
from wanctl.tasks.api import pad_texts
from wanctl.tasks.table import get_task
from wanctl.video.encode import write_png, write_video

if TYPE_CHECKING:
    from wanctl.distributed.vae_rows import DividedRows
    from wanctl.model.vae.autoencoder import WanVAE

NOTE_LENGTH = 40
PARKED = 8  # batches that wait half done for the other expert; each some copies of its latents
FRAMES_AHEAD = 8  # of the encoder: those of the next piece find room while it works on the last
CROWDED = 0.6  # share of a GPU's memory; the rest is for activations and the VAE


@dataclass(frozen=True)
class Turn:
    """Steps of a batch that one transformer does."""

    jobs: Sequence[Job]
    denoising: Denoising
    expert: str  # empty where there is one
    steps: range


class Maker:
    """Makes outputs of one model, those of one kind together where that pays.

    Args:
        jobs: what is to be made.
        weights: with what.
        variant: what they are weights of.
        dtype: of the transformer's large matrices.
        team: the processes that work on it, and their device.
        parallel: how they divide the work.
        batch: outputs that are made together; None: as many as pay.

    Raises:
        UserError: weights that do not go together.
        ProblemsError: the work cannot be divided like this.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        weights: ResolvedWeights,
        variant: Variant,
        dtype: torch.dtype,
        team: Team,
        parallel: Asked | None = None,
        batch: int | None = None,
    ) -> None:
        self.jobs = jobs
        self.batch = batch
        self.team = team
        self.weights = weights
        self.device = device = team.device
        self.vae = load_vae(weights.vae, device=device)
        shape = read_dit_shape(weights.dit)
        if shape.out_channels != self.vae.shape.z_dim:
            raise WeightsError(
                f"the transformer ({weights.dit.root}) makes {shape.out_channels} channels and the "
                f"VAE ({weights.vae.root}) takes {self.vae.shape.z_dim}; they are not of one model"
            )
        for task in dict.fromkeys(job.settings.task for job in jobs):
            if reason := get_task(task).refusal(shape):
                raise WeightsError(
                    f"the transformer ({weights.dit.root}) cannot do task {task}: {reason}"
                )
        self.dit_shape = shape
        self._told: tuple[str, Conditions] | None = None
        settings = jobs[0].settings
        self._transformers = Transformers(weights, settings, dtype, team)
        if team.size > 1:
            _check_alone(settings)
        if team.size == 1:
            found = replace(variant, dit=shape, vae=self.vae.shape)
            for settings in {job.settings.kind: job.settings for job in jobs}.values():
                check_memory(settings, found, device)
                self._shared_vae(settings)  # refuses tiles that cannot be
        self.team.arrange(
            choose_layout(
                parallel or Asked(),
                self.team.size,
                heads=shape.num_heads,
                guided=any(job.settings.guided for job in jobs),
                fsdp_pays=_fills(device, weights.dit.dit or ()),
            )
        )

    @torch.inference_mode()
    def latents(self) -> Iterator[tuple[Job, Tensor]]:
        """Denoise batch after batch; yields (1, C, T, Y, X) fp32 of each job.

        Two experts take turns over some batches at a time, so that each loads once for all.
        """
        self._conditions(self.jobs[0])  # before there is anything else in memory
        folder = self.jobs[0].path.parent.parent / "prompts"
        reader = PromptReader(self.weights, self.dit_shape, self.device, folder)
        texts = self.team.share(lambda: reader.embed(words_of(self.jobs)))
        plan = list(self._batches())
        together = PARKED if self.weights.dit.dit_low else 1
        for start in range(0, len(plan), together):
            if together > 1:
                self._transformers.let_go()  # the low-noise expert of the batches before
            turns = [
                turn
                for batch in plan[start : start + together]
                for turn in self._turns(batch, texts)
            ]
            turns.sort(key=lambda turn: turn.expert == LOW)
            for turn in turns:
                latents = self._follow(turn)
                if turn is turns[-1] and start + together >= len(plan):
                    self._transformers.let_go()  # the VAE has the device to itself
                if latents is not None:
                    first = turn.jobs[0]
                    latents = get_task(first.settings.task).finish(latents, first.read())
                    yield from zip(turn.jobs, latents.split(1), strict=True)

    def _turns(self, batch: Sequence[Job], texts: Mapping[str, Tensor]) -> list["Turn"]:
        """Which transformer does which steps of a batch."""
        settings = batch[0].settings
        schedule = make_schedule(settings.solver, settings.steps, settings.shift)
        change = None
        if settings.boundary is not None:
            change = high_steps(schedule.timesteps, settings.boundary)
        told = self._conditions(batch[0]).to(self.device).repeated(len(batch))
        negative = [texts[job.settings.negative_prompt] for job in batch if settings.guided]
        denoising = Denoising(
            noise=torch.cat([self._noise(job) for job in batch]),
            conditions=told.with_context(self._context([texts[j.prompt] for j in batch])),
            negative_context=self._context(negative) if negative else None,
            guide_scale=_scales(settings, schedule),
            schedule=schedule,
            solver=with_step_cache(settings.solver, settings.step_cache, change),
        )
        if change is None:
            return [Turn(batch, denoising, "", range(denoising.steps))]
        both = {HIGH: range(change), LOW: range(change, denoising.steps)}
        return [Turn(batch, denoising, name, steps) for name, steps in both.items() if steps]

    def _follow(self, turn: "Turn") -> Tensor | None:
        """Do the steps of a turn; the latents, if they are the last."""
        more = len(turn.jobs) - 1
        title = turn.jobs[0].prompt[:NOTE_LENGTH] + (f" and {more} more" if more else "")
        model = self._transformers.get(turn.expert)
        with progress(len(turn.steps), f"{turn.expert} {title}".strip()) as bar:
            done = turn.steps.start

            def on_step(step: int, _: Tensor) -> None:
                nonlocal done
                bar.advance(step - done)
                done = step

            return turn.denoising.follow(model, turn.steps.stop, on_step)

    @torch.inference_mode()
    def write(self, job: Job, latents: Tensor) -> None:
        """Decode piece by piece, so that memory does not grow with the video; encode meanwhile."""
        pieces = self._shared_vae(job.settings).decode_frames(latents)
        if not self.team.first:
            for _ in pieces:
                pass
            return
        metadata = {"prompt": job.prompt, **job.metadata}
        if job.path.suffix == ".png":
            write_png(job.path, to_picture(next(pieces)[0]), metadata)
            return
        settings = job.settings
        with progress(settings.frames, "decoding") as bar:

            def frames() -> Iterator[np.ndarray]:
                for piece in pieces:
                    for frame in to_frames(piece[0]):
                        yield frame
                        bar.advance()

            def encode(pictures: Iterator[np.ndarray]) -> None:
                write_video(job.path, pictures, settings.fps, crf=settings.crf, metadata=metadata)

            run_in_background(frames(), encode, FRAMES_AHEAD)

    def _batches(self) -> Iterator[list[Job]]:
        """Jobs that differ in words and noise alone, as many together as pay.

        In a batch products are rounded otherwise than alone, so `reference` makes none; several
        processes divide one output better than two.
        """
        alone = self.team.size > 1 or self.jobs[0].settings.precision == "reference"
        most = self.batch or (1 if alone else None)
        return batches(self.jobs, lambda job: job.settings.kind, self._tokens, most)

    def _tokens(self, job: Job) -> int:
        return math.prod(self._noise_shape(job)[1:]) // math.prod(PATCH)

    def _context(self, texts: Sequence[Tensor]) -> Tensor:
        return pad_texts(texts, self.dit_shape.text_len).to(self.device)

    def _conditions(self, job: Job) -> Conditions:
        """What the model is told besides words, on the CPU; kept for the next of its kind."""
        settings = job.settings
        if self._told is None or self._told[0] != settings.kind:
            shape, vae = self.dit_shape, self._shared_vae(settings)
            encode = SampleEncoders(vae, shape, self.weights.image, self.device)
            nothing = torch.zeros(0, shape.text_dim)
            task = get_task(settings.task)
            told = task.conditions([nothing], shape.text_len, job.read(), settings.size, encode)
            self._told = settings.kind, told
        return self._told[1]

    def _noise(self, job: Job) -> Tensor:
        """(1, C, T, Y, X); drawn without the batch dimension, as the official code does."""
        settings = job.settings

        def drawn() -> Tensor:
            device = settings.noise_device
            generator = torch.Generator(device).manual_seed(settings.seed)
            shape = self._noise_shape(job)
            noise = torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
            return noise[None].cpu()

        return self.team.share(drawn).to(self.device)

    def _noise_shape(self, job: Job) -> tuple[int, int, int, int]:
        settings = job.settings
        task = get_task(settings.task)
        return task.latent_shape(self.vae.shape, *settings.size, job.read())

    def _shared_vae(self, settings: Settings) -> "WanVAE | DividedRows | TiledVAE":
        """The VAE as it works here: divided between processes, else in tiles or whole."""
        if settings.vae_tile:
            return TiledVAE(self.vae, settings.vae_tile)
        return self.team.divide_rows(self.vae)


def _check_alone(settings: Settings) -> None:
    """Refuse what saves memory in one process and has no part in several.

    Raises:
        UserError: names the key and what several do instead.
    """
    placement = settings.placement
    if placement.stream_blocks or placement.quantize:
        raise UserError(
            "model.stream_blocks and model.quantize are for one process; several divide the "
            "weights (parallel.fsdp)"
        )
    if settings.vae_tile:
        raise UserError(
            f"model.vae_tile: got {settings.vae_tile} for several processes, which divide the "
            "picture's rows and save memory so; leave it out"
        )


def _scales(settings: Settings, schedule: Schedule) -> list[float]:
    """The guide scale of each step; 1 asks for the prompt alone."""
    scales = guide_scales(schedule.timesteps, settings.guide_scale, settings.boundary)
    guided = round(settings.guide_until * len(scales))
    return scales[:guided] + [1.0] * (len(scales) - guided)


def _fills(device: torch.device, files: Sequence[Path]) -> bool:
    """Whether a transformer of these files would leave too little of the device's memory."""
    if device.type != "cuda":
        return False
    size_bytes = sum(path.stat().st_size for path in files)
    return size_bytes > CROWDED * torch.cuda.get_device_properties(device).total_memory
