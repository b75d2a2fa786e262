"""`train-dit`: learn the velocity from video to noise (flow matching).

    x = (1 - sigma) * x0 + sigma * noise;  target = noise - x0;  timestep = 1000 * sigma

Latents and text embeddings are computed before (inputs/encode.py): neither the VAE's encoder nor
the text encoder runs while training.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wanctl.checkpoint.find import saved_step
from wanctl.checkpoint.save import save_dit
from wanctl.device import to_device
from wanctl.diffusion.conditions import Conditions, predict
from wanctl.diffusion.flow import add_noise, timesteps, velocity
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.diffusion.timesteps import sample_sigmas
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder
from wanctl.tasks.api import Task
from wanctl.train.inputs.windows import ClipWindow, Footage
from wanctl.train.objective import Losses, Network, per_sample_mean
from wanctl.train.previews import to_uint8_frames, write_preview
from wanctl.train.rng import MicrobatchIndex, keyed_generator

MODEL = "model"
# Middle of each quarter of the noise levels; held-out losses are measured there.
EVAL_SIGMAS = (0.125, 0.375, 0.625, 0.875)


@dataclass(frozen=True)
class NoiseLaw:
    """Distribution of noise levels; the fields are those of `train_dit.timesteps`."""

    law: str
    mean: float
    std: float
    shift: float


@dataclass(frozen=True)
class PreviewOptions:
    """Settings of the videos that are sampled while training.

    Attributes:
        prompts: one video each.
        negative_prompt: of classifier-free guidance.
        latent_shape: (C, T, Y, X) of one preview.
        steps: solver steps.
        shift: of the sampling schedule.
        guide_scale: of classifier-free guidance.
        solver: a row of SOLVERS.
        fps: frame rate of the mp4 files.
    """

    prompts: tuple[str, ...]
    negative_prompt: str
    latent_shape: tuple[int, int, int, int]
    steps: int
    shift: float
    guide_scale: float
    solver: str
    fps: float


@dataclass(frozen=True)
class DiTOptions:
    """Settings of the objective.

    Attributes:
        noise: distribution of noise levels.
        text_dropout: share of captions that is replaced by the empty prompt.
        preview: videos that are sampled while training.
        seed: of the noise in evaluations and previews.
    """

    noise: NoiseLaw
    text_dropout: float
    preview: PreviewOptions
    seed: int


@dataclass(frozen=True)
class EncodedData:
    """Access to latents, embeddings and captions that were computed before training.

    Attributes:
        latents: normalised latents (C, T, Y, X) fp32 of a window.
        texts: embedding (tokens, E) fp32 of a caption.
        captions: clip id -> its captions; one of them is sampled each time.
    """

    latents: Callable[[ClipWindow], Tensor]
    texts: Callable[[str], Tensor]
    captions: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class DiTBatch:
    """Clean latents (B, C, T, Y, X) fp32 and the conditions of the model; on the CPU."""

    latents: Tensor
    conditions: Conditions


class DiTObjective:
    """Flow matching on latents; an `Objective`.

    Args:
        model: trained in place.
        vae: decodes previews, or the tiny decoder that does it in its place.
        footage: source of windows.
        encoded: their latents and embeddings.
        task: builds the model's conditions.
        options: noise levels, text dropout, previews, seed.
        metadata: strings saved in the header of the weights.
    """

    name = "train-dit"

    def __init__(
        self,
        model: WanModel,
        vae: WanVAE | TinyDecoder,
        footage: Footage,
        encoded: EncodedData,
        task: Task,
        options: DiTOptions,
        *,
        metadata: Mapping[str, str],
    ) -> None:
        self.module = model
        self.vae = vae.requires_grad_(False).eval()
        self.footage = footage
        self.encoded = encoded
        self.task = task
        self.options = options
        self.metadata = dict(metadata)
        self.eval_split = "held-out" if footage.held_out else "training"

    @property
    def networks(self) -> dict[str, Network]:
        """The transformer."""
        return {MODEL: Network(self.module, None, averaged=True, skips_parameters=False)}

    def turns(self, step: int) -> tuple[str, ...]:  # noqa: ARG002
        """The transformer learns in every step."""
        return (MODEL,)

    def batch(self, microbatch: MicrobatchIndex) -> DiTBatch:
        """Latents of windows, each with one of its captions or the empty prompt."""
        windows = self.footage.sample_windows(microbatch)
        generator = keyed_generator(microbatch.seed, "captions", microbatch.step, microbatch.micro)
        dropped = torch.rand(len(windows), generator=generator) < self.options.text_dropout
        chosen = torch.rand(len(windows), generator=generator)
        texts = []
        for window, drop, share in zip(windows, dropped.tolist(), chosen.tolist(), strict=True):
            captions = self.encoded.captions[window.clip]
            text = "" if drop else captions[int(share * len(captions))]
            texts.append(self.encoded.texts(text))
        latents = torch.stack([self.encoded.latents(window) for window in windows])
        return DiTBatch(latents, self._conditions(texts))

    def losses(
        self,
        turn: str,
        models: Mapping[str, nn.Module],
        batch: DiTBatch,
        microbatch: MicrobatchIndex,
        device: torch.device,
    ) -> Iterator[Losses]:
        """Squared error of the velocity at one noise level per sample."""
        where = (microbatch.step, microbatch.micro)
        sigma = sample_sigmas(
            self.options.noise.law,
            len(batch.latents),
            shift=self.options.noise.shift,
            mean=self.options.noise.mean,
            std=self.options.noise.std,
            generator=keyed_generator(microbatch.seed, "sigma", *where),
        )
        generator = keyed_generator(microbatch.seed, "noise", *where)
        noise = torch.randn(batch.latents.shape, generator=generator)
        error = self._error(models[turn], batch.latents, noise, sigma, batch.conditions, device)
        yield Losses(error, {"sigma": sigma})

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Loss at four fixed noise levels with fixed noise, and their mean."""
        windows = self.footage.eval_windows()
        sigma = torch.tensor(EVAL_SIGMAS)
        errors = torch.zeros(len(EVAL_SIGMAS))
        for window in windows:
            x0 = self.encoded.latents(window).expand(len(EVAL_SIGMAS), -1, -1, -1, -1)
            noise = torch.randn(
                x0.shape, generator=keyed_generator(self.options.seed, "eval", window.key)
            )
            text = self.encoded.texts(self.encoded.captions[window.clip][0])
            conditions = self._conditions([text] * len(EVAL_SIGMAS))
            errors += self._error(self.module, x0, noise, sigma, conditions, device).cpu()
        errors /= len(windows)
        by_level = zip(EVAL_SIGMAS, errors.tolist(), strict=True)
        levels = {f"loss_sigma_{level}": error for level, error in by_level}
        return {"loss": errors.mean().item(), **levels}

    def preview(self, folder: Path, step: int, device: torch.device) -> list[Path]:
        """Sample every preview prompt from its own fixed noise."""
        options = self.options.preview
        schedule = make_schedule(options.solver, options.steps, options.shift)
        negative = self._conditions([self.encoded.texts(options.negative_prompt)])
        negative_context = negative.context.to(device)
        vae = self.vae.to(device)
        videos = []
        for index, prompt in enumerate(options.prompts):
            # Keyed by the prompt's index alone: all previews of a run start from the same noise.
            generator = keyed_generator(self.options.seed, "preview", index)
            noise = torch.randn((1, *options.latent_shape), generator=generator)
            latents = generate(
                self.module,
                noise=noise.to(device),
                conditions=self._conditions([self.encoded.texts(prompt)]).to(device),
                negative_context=negative_context,
                guide_scale=options.guide_scale,
                schedule=schedule,
                solver=options.solver,
            )
            video = torch.cat(list(vae.decode_frames(latents)), dim=2)
            videos.append(to_uint8_frames(video[0]))
        self.vae.to("cpu")  # training needs the memory
        return write_preview(folder, step, videos, options.fps, options.prompts)

    def save(self, folder: Path, step: int, device: torch.device) -> None:  # noqa: ARG002
        """Write the transformer."""
        (folder / "config.json").unlink(missing_ok=True)  # written last: marks a complete folder
        save_dit(self.module, folder, metadata={**self.metadata, "step": str(step)})

    def saved_step(self, folder: Path) -> int | None:
        """Step of the transformer in `folder`."""
        return saved_step(folder)

    def _conditions(self, texts: Sequence[Tensor]) -> Conditions:
        return self.task.conditions(texts, self.module.shape.text_len)

    def _error(
        self,
        model: nn.Module,
        x0: Tensor,
        noise: Tensor,
        sigma: Tensor,
        conditions: Conditions,
        device: torch.device,
    ) -> Tensor:
        """(B,) squared error of the model's velocity on the path from `x0` to `noise`."""
        x0, noise, sigma = (to_device(tensor, device) for tensor in (x0, noise, sigma))
        noisy = add_noise(x0, noise, sigma)
        conditions = _conditions_to_device(conditions, device)
        predicted = predict(model, noisy, timesteps(sigma), conditions)
        return velocity_error(predicted, velocity(x0, noise))


def _conditions_to_device(conditions: Conditions, device: torch.device) -> Conditions:
    """Copy the conditions without waiting for what the device still computes."""
    values = {field.name: getattr(conditions, field.name) for field in fields(conditions)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return replace(conditions, **{name: to_device(t, device) for name, t in tensors.items()})


def velocity_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the predicted velocity."""
    return per_sample_mean((predicted.float() - target.float()).square())
