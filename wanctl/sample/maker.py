"""Prompts to latents to files, with one large network in memory at a time."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from wanctl.data.atomic import replacing
from wanctl.data.encode import write_png, write_video
from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.experts import HIGH, LOW, Experts, guide_scales
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.log import log, progress
from wanctl.model.components import Components
from wanctl.model.dit import WanModel
from wanctl.model.shapes import PixelShape
from wanctl.model.tensors import WeightsError
from wanctl.model.text import load_text_encoder
from wanctl.model.variants import DiTShape, Variant
from wanctl.model.weights import load_dit, load_vae, read_dit_shape
from wanctl.parallel.layout import Asked, choose_layout
from wanctl.parallel.team import Team
from wanctl.sample.encoders import SampleEncoders
from wanctl.sample.pixels import to_frames, to_picture
from wanctl.sample.settings import Settings
from wanctl.sample.weights import SampleWeights
from wanctl.tasks.api import pad_texts, trim_text
from wanctl.tasks.inputs import Inputs
from wanctl.tasks.table import get_task

NOTE_LENGTH = 40
CROWDED = 0.6  # share of a GPU's memory; the rest is for activations and the VAE


@dataclass(frozen=True)
class Job:
    """One output that is still to be made."""

    prompt: str
    path: Path
    metadata: Mapping[str, str]

    @property
    def latents_path(self) -> Path:
        """Where the latents go if they are wanted."""
        return self.path.with_suffix(".safetensors")


class Maker:
    """Makes outputs of one kind.

    Args:
        settings: how.
        weights: with what.
        variant: what they are weights of.
        inputs: what is given besides words.
        dtype: of the transformer's large matrices.
        team: the processes that work on it, and their device.
        parallel: how they divide the work.

    Raises:
        UserError: weights that do not go together.
        ProblemsError: the work cannot be divided like this.
    """

    def __init__(
        self,
        settings: Settings,
        weights: SampleWeights,
        variant: Variant,
        inputs: Inputs,
        dtype: torch.dtype,
        team: Team,
        parallel: Asked | None = None,
    ) -> None:
        self.settings = settings
        self.inputs = inputs
        self.team = team
        self.weights = weights
        self.device = device = team.device
        self.dtype = dtype
        self.task = get_task(settings.task)
        self.vae = load_vae(weights.vae, device=device)
        shape = self._dit_shape(variant)
        if shape.out_channels != self.vae.shape.z_dim:
            raise WeightsError(
                f"the transformer ({weights.dit.root}) makes {shape.out_channels} channels and the "
                f"VAE ({weights.vae.root}) takes {self.vae.shape.z_dim}; they are not of one model"
            )
        if reason := self.task.refusal(shape):
            raise WeightsError(
                f"the transformer ({weights.dit.root}) cannot do task {self.task.name}: {reason}"
            )
        self.dit_shape = shape
        self.team.arrange(
            choose_layout(
                parallel or Asked(),
                self.team.size,
                heads=shape.num_heads,
                guided=settings.guided,
                fsdp_pays=_fills(device, weights.dit.dit or ()),
            )
        )

    @torch.inference_mode()
    def latents(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Tensor]]:
        """Denoise one prompt after another; yields (1, C, T, Y, X) fp32."""
        settings = self.settings
        guided = settings.guided
        negative = [settings.negative_prompt] if guided else []
        conditions = self._conditions().to(self.device)
        texts = self.team.share(lambda: self._embed([job.prompt for job in jobs] + negative))
        negative_context = self._context(texts[-1]) if guided else None
        schedule = make_schedule(settings.solver, settings.steps, settings.shift)
        noise = self.team.share(lambda: self._noise().cpu()).to(self.device)
        scales = guide_scales(schedule.timesteps, settings.guide_scale, settings.boundary)
        model = self._model()
        for job, text in zip(jobs, texts, strict=False):
            with progress(settings.steps, job.prompt[:NOTE_LENGTH]) as bar:
                latents = generate(
                    model,
                    noise=noise,
                    conditions=conditions.with_context(self._context(text)),
                    negative_context=negative_context,
                    guide_scale=scales,
                    schedule=schedule,
                    solver=settings.solver,
                    on_step=lambda step, x, bar=bar: bar.advance(),  # noqa: ARG005
                )
            yield job, self.task.finish(latents, self.inputs)

    @torch.inference_mode()
    def write(self, job: Job, latents: Tensor) -> None:
        """Decode piece by piece into the file, so that memory does not grow with the video."""
        pieces = self.team.divide_rows(self.vae).decode_frames(latents)
        if not self.team.first:
            for _ in pieces:
                pass
            return
        metadata = {"prompt": job.prompt, **job.metadata}
        if job.path.suffix == ".png":
            write_png(job.path, to_picture(next(pieces)[0]), metadata)
            return
        settings = self.settings
        with progress(settings.frames, "decoding") as bar:

            def frames() -> Iterator[np.ndarray]:
                for piece in pieces:
                    for frame in to_frames(piece[0]):
                        yield frame
                        bar.advance()

            write_video(job.path, frames(), settings.fps, crf=settings.crf, metadata=metadata)

    def _embed(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embeddings (tokens, E) on the CPU; the encoder is gone afterwards."""
        encoder = load_text_encoder(
            self.weights.text_kind,
            self.weights.text,
            text_len=self.dit_shape.text_len,
            device=self.device,
            # Official: bf16, however the transformer runs; fp32 where bf16 is slow.
            dtype=torch.bfloat16 if self.device.type == "cuda" else torch.float32,
        )
        if encoder.dim != self.dit_shape.text_dim:
            raise WeightsError(
                f"the transformer ({self.weights.dit.root}) takes text of width "
                f"{self.dit_shape.text_dim} and the text encoder ({self.weights.text_kind}) makes "
                f"{encoder.dim}; set model.text_weights to the one it was trained with"
            )
        with progress(len(prompts), "reading prompts") as bar:
            texts = []
            for prompt in prompts:
                texts.append(trim_text(encoder.encode([prompt])[0]).cpu())
                bar.advance()
        del encoder
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return texts

    def _context(self, text: Tensor) -> Tensor:
        return pad_texts([text], self.dit_shape.text_len).to(self.device)

    def _conditions(self) -> Conditions:
        """What the model is told besides words, on the CPU; the same for all prompts."""
        shape, vae = self.dit_shape, self.team.divide_rows(self.vae)
        encode = SampleEncoders(vae, shape, self.weights.image, self.device)
        nothing = torch.zeros(0, shape.text_dim)
        return self.task.conditions([nothing], shape.text_len, self.inputs, self._size, encode)

    @property
    def _size(self) -> PixelShape:
        settings = self.settings
        return PixelShape(settings.frames, settings.height, settings.width)

    def _noise(self) -> Tensor:
        """(1, C, T, Y, X); drawn without the batch dimension, as the official code does."""
        settings = self.settings
        shape = self.task.latent_shape(self.vae.shape, *self._size, self.inputs)
        generator = torch.Generator(settings.noise_device).manual_seed(settings.seed)
        noise = torch.randn(
            shape, generator=generator, device=settings.noise_device, dtype=torch.float32
        )
        return noise[None]

    def _dit_shape(self, variant: Variant) -> DiTShape:
        """Sizes of the weights; of the variant where they do not tell."""
        dit = self.weights.dit
        return read_dit_shape(dit) if dit.dit_config else variant.dit

    def _model(self) -> Model | Experts:
        """The transformer; of two experts the one that its turn comes for."""
        dit, boundary = self.weights.dit, self.settings.boundary
        if boundary is None:
            return self.team.divide(self._load_dit(dit))
        parts = {HIGH: dit, LOW: dit.low_expert}

        def load(name: str) -> Model:
            log.info("loading the %s expert", name)
            return self.team.divide(self._load_dit(parts[name]))

        return Experts(load, boundary)

    def _load_dit(self, parts: Components) -> WanModel:
        return load_dit(
            parts,
            device=self.team.loading_device,
            dtype=self.dtype,
            precision=self.settings.precision,
        )


def _fills(device: torch.device, files: Sequence[Path]) -> bool:
    """Whether a transformer of these files would leave too little of the device's memory."""
    if device.type != "cuda":
        return False
    size_bytes = sum(path.stat().st_size for path in files)
    return size_bytes > CROWDED * torch.cuda.get_device_properties(device).total_memory


def write_latents(job: Job, latents: Tensor) -> None:
    """Save (1, C, T, Y, X) normalised latents under the key `latents`."""
    with replacing(job.latents_path) as temp:
        save_file(
            {"latents": latents.cpu().contiguous()},
            temp,
            metadata={"prompt": job.prompt, **job.metadata},
        )
