"""Prompts to latents to files, with one large network in memory at a time."""

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wanctl.data.beside import use_beside
from wanctl.data.encode import write_png, write_video
from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.experts import HIGH, LOW, Experts, guide_scales
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import Schedule, make_schedule
from wanctl.diffusion.step_cache import with_step_cache
from wanctl.errors import UserError
from wanctl.log import log, progress
from wanctl.model.components import Components
from wanctl.model.dit import WanModel
from wanctl.model.lora import Expert, Loras, parameter_shapes
from wanctl.model.shapes import PATCH
from wanctl.model.tensors import WeightsError
from wanctl.model.text import encoder_key, load_text_encoder
from wanctl.model.tiling import TiledVAE
from wanctl.model.variants import Variant
from wanctl.model.weights import load_dit, load_vae, read_dit_shape
from wanctl.parallel.layout import Asked, choose_layout
from wanctl.parallel.team import Team
from wanctl.sample.batches import batches
from wanctl.sample.encoders import SampleEncoders
from wanctl.sample.forecast import check_memory
from wanctl.sample.job import Job, words_of
from wanctl.sample.pixels import to_frames, to_picture
from wanctl.sample.prompt_cache import PromptCache
from wanctl.sample.settings import Settings
from wanctl.sample.weights import SampleWeights, text_files
from wanctl.tasks.api import pad_texts, trim_text
from wanctl.tasks.table import get_task

if TYPE_CHECKING:
    from wanctl.model.vae import WanVAE
    from wanctl.parallel.rows import DividedRows

NOTE_LENGTH = 40
EXPERTS: dict[str, Expert] = {HIGH: "high", LOW: "low"}
FRAMES_AHEAD = 8  # of the encoder: those of the next piece find room while it works on the last
READ_TOGETHER = 64  # prompts, 8 MB each, for which the text encoder is read from its files once
CROWDED = 0.6  # share of a GPU's memory; the rest is for activations and the VAE


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
        weights: SampleWeights,
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
        self.dtype = dtype
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
        self._loaded: tuple[float | None, Model | Experts] | None = None
        self.placement = jobs[0].settings.placement
        if team.size > 1 and (self.placement.stream_blocks or self.placement.quantize):
            raise UserError(
                "model.stream_blocks and model.quantize are for one process; several divide the "
                "weights (parallel.fsdp)"
            )
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
        """Denoise one batch after another; yields (1, C, T, Y, X) fp32 of each job."""
        self._conditions(self.jobs[0])  # before there is anything else in memory
        texts = self.team.share(lambda: self._embed(words_of(self.jobs)))
        plan = list(self._batches())
        for batch in plan:
            first, settings = batch[0], batch[0].settings
            schedule = make_schedule(settings.solver, settings.steps, settings.shift)
            told = self._conditions(first).to(self.device).repeated(len(batch))
            negative = [texts[job.settings.negative_prompt] for job in batch if settings.guided]
            others = f" and {len(batch) - 1} more" if len(batch) > 1 else ""
            model = self._model(settings)
            with progress(settings.steps, first.prompt[:NOTE_LENGTH] + others) as bar:
                latents = generate(
                    model,
                    noise=torch.cat([self._noise(job) for job in batch]),
                    conditions=told.with_context(self._context([texts[j.prompt] for j in batch])),
                    negative_context=self._context(negative) if negative else None,
                    guide_scale=_scales(settings, schedule),
                    schedule=schedule,
                    solver=with_step_cache(settings.solver, settings.step_cache),
                    on_step=lambda step, x, bar=bar: bar.advance(),  # noqa: ARG005
                )
            del model
            if batch is plan[-1]:  # the VAE has the device to itself
                self._loaded = None
                _let_go(self.device)
            latents = get_task(settings.task).finish(latents, first.read())
            yield from zip(batch, latents.split(1), strict=True)

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

            use_beside(frames(), encode, FRAMES_AHEAD)

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

    def _embed(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Embeddings (tokens, E) on the CPU; the encoder is gone afterwards."""
        # Official: bf16, however the transformer runs; fp32 where bf16 is slow.
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        cache = self._prompt_cache(dtype)
        known = {prompt: cache.get(prompt) if cache else None for prompt in prompts}
        texts = {prompt: text for prompt, text in known.items() if text is not None}
        unread = [prompt for prompt in prompts if prompt not in texts]
        if unread:
            read = self._read(unread, dtype)
            if cache:
                for prompt, text in read.items():
                    cache.put(prompt, text)
            texts |= read
        return texts

    def _prompt_cache(self, dtype: torch.dtype) -> PromptCache | None:
        """Beside the samples; None where the encoder is small and comes with a package."""
        if self.weights.text is None:
            return None
        text_len = self.dit_shape.text_len
        name = encoder_key(self.weights.text_kind, text_files(self.weights.text), text_len, dtype)
        folder = self.jobs[0].path.parent.parent / "prompts"
        return PromptCache(folder, f"{name} {self.dit_shape.text_dim}")

    def _read(self, prompts: Sequence[str], dtype: torch.dtype) -> dict[str, Tensor]:
        encoder = load_text_encoder(
            self.weights.text_kind,
            self.weights.text,
            text_len=self.dit_shape.text_len,
            device=self.device,
            dtype=dtype,
            keep=False,
        )
        if encoder.dim != self.dit_shape.text_dim:
            raise WeightsError(
                f"the transformer ({self.weights.dit.root}) takes text of width "
                f"{self.dit_shape.text_dim} and the text encoder ({self.weights.text_kind}) makes "
                f"{encoder.dim}; set model.text_weights to the one it was trained with"
            )
        texts = {}
        parts = [prompts[i : i + READ_TOGETHER] for i in range(0, len(prompts), READ_TOGETHER)]
        with progress(len(parts) * encoder.blocks, "reading prompts") as bar:
            for part in parts:
                rows = encoder.encode(part, on_block=bar.advance)
                for prompt, row in zip(part, rows, strict=True):
                    texts[prompt] = trim_text(row).to("cpu", copy=True)
        del encoder
        _let_go(self.device)
        return texts

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

    def _model(self, settings: Settings) -> Model | Experts:
        """The transformer, loaded once; of two experts the one that its turn comes for."""
        if self._loaded is None or self._loaded[0] != settings.boundary:
            self._loaded = None
            self._loaded = settings.boundary, self._load(settings.boundary)
        return self._loaded[1]

    def _load(self, boundary: float | None) -> Model | Experts:
        dit = self.weights.dit
        if boundary is None:
            return self.team.divide(self._load_dit(dit))
        parts = {HIGH: dit, LOW: dit.low_expert}

        def load(name: str) -> Model:
            log.info("loading the %s expert", name)
            return self.team.divide(self._load_dit(parts[name], EXPERTS[name]))

        return Experts(load, boundary)

    def _load_dit(self, parts: Components, expert: Expert | None = None) -> WanModel:
        device, loras = self.team.loading_device, self.weights.loras
        beside = loras if self.placement.quantize else ()  # 8 bits cannot take a small change
        model = load_dit(
            parts,
            device=self.placement.loading_device(device),
            dtype=self.dtype,
            precision=self.jobs[0].settings.precision,
            loras=() if beside else loras,
            expert=expert,
            quantize_to=self.placement.quantize,
        )
        changes = Loras(beside, parameter_shapes(model), expert) if beside else None
        model = self.placement.place(model, device, self.device, self.dtype)
        if changes:
            changes.attach(model, self.device)
        return model

    def _shared_vae(self, settings: Settings) -> "WanVAE | DividedRows | TiledVAE":
        """The VAE as it works here: divided between processes, else in tiles or whole."""
        if settings.vae_tile and self.team.size == 1:
            return TiledVAE(self.vae, settings.vae_tile)
        return self.team.divide_rows(self.vae)


def _let_go(device: torch.device) -> None:
    """Give the memory of networks that are no longer held back."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


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
