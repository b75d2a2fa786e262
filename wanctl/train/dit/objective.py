"""`train-dit`: learn the velocity from video to noise (flow matching; the formula is in loss.py).

Latents and text embeddings are computed before (inputs/encode.py): neither the VAE's encoder nor
the text encoder runs while training.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from wanctl.device import to_device
from wanctl.model.dit.transformer import WanModel
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder
from wanctl.train.adapters.prepare import WHOLE, TrainedPart
from wanctl.train.dit.data import DiTBatch, EncodedData
from wanctl.train.dit.experts.transformers import Transformers, one_transformer
from wanctl.train.dit.loss import flow_error, trained_share, training_work
from wanctl.train.dit.noise.levels import NoiseLevels, losses_by_level
from wanctl.train.dit.options import DiTOptions
from wanctl.train.dit.previews import Previews
from wanctl.train.dit.tasks.api import TrainingTask
from wanctl.train.dit.tasks.mixture import TaskMixture
from wanctl.train.inputs.windows import ClipWindow, Footage
from wanctl.train.objective import Losses, Network, Preview
from wanctl.train.rng import MicrobatchIndex, keyed_generator, keyed_seed


class DiTObjective:
    """Flow matching on latents; an `Objective`.

    Args:
        model: trained in place: the transformer, or two experts.
        vae: decodes previews, or the tiny decoder that does it in its place.
        footage: source of windows.
        encoded: their latents and embeddings.
        tasks: draws what the model is given, and builds its conditions.
        options: noise levels, text dropout, previews, seed.
        metadata: strings saved in the header of the weights.
        part: what of the model is trained, and saved.
    """

    name = "train-dit"
    judged = "loss"

    def __init__(
        self,
        model: WanModel | Transformers,
        vae: WanVAE | TinyDecoder,
        footage: Footage,
        encoded: EncodedData,
        tasks: TaskMixture,
        options: DiTOptions,
        *,
        metadata: Mapping[str, str],
        part: TrainedPart = WHOLE,
    ) -> None:
        one = isinstance(model, WanModel)
        self.transformers = one_transformer(model, part) if one else model
        self.module = self.transformers.main
        self.previews = Previews(options.preview, vae, tasks, encoded.texts, options.seed)
        self.footage = footage
        self.encoded = encoded
        self.tasks = tasks
        self.options = options
        self.levels = NoiseLevels(options.noise)
        self.trained_shares = {n: trained_share(m) for n, m in self.transformers.models.items()}
        self.metadata = dict(metadata)
        self.eval_split = "held-out" if footage.held_out else "training"

    @property
    def networks(self) -> dict[str, Network]:
        """The transformer, or the experts that are trained."""
        models, parts = self.transformers.models, self.transformers.parts
        return {
            name: Network(
                model,
                saves_frozen=parts[name].is_whole,
                alternates=len(models) > 1,
                offloads_optimizer=self.options.offload_optimizer,
            )
            for name, model in models.items()
        }

    @property
    def saves_with_checkpoints(self) -> bool:
        """Adapters are small, and people want to try them while training goes on."""
        return self.transformers.has_adapters

    def turns(self, step: int) -> tuple[str, ...]:
        """The transformer learns in every step; of two experts one does."""
        return (self.transformers.routing.turn(step),)

    def batch(self, microbatch: MicrobatchIndex) -> DiTBatch:
        """Latents of windows, each with one of its captions or the dropped text, and a task."""
        return self._batch(self.footage.sample_windows(microbatch), microbatch)

    @property
    def memory_advice(self) -> str:
        """Settings that take less memory, the cheapest first."""
        return (
            "set train_dit.memory.checkpointing: full, then memory.offload_optimizer, "
            "memory.offload_activations or (with an adapter) memory.stream_blocks to true; or use "
            "smaller train_dit.buckets, train_dit.mixed_precision: bf16, train_dit.adapter"
        )

    def largest_batch(self, seed: int) -> tuple[str, DiTBatch, MicrobatchIndex]:
        """A batch of the largest bucket, at the position of the first step."""
        microbatch = MicrobatchIndex(seed, 0, 0)
        windows = self.footage.largest_windows()
        size = "x".join(map(str, windows[0].shape))
        name = f"{size}, batch size {len(windows)}"
        return name, self._batch(windows, microbatch), microbatch

    def _batch(self, windows: Sequence[ClipWindow], microbatch: MicrobatchIndex) -> DiTBatch:
        generator = keyed_generator(microbatch.seed, "captions", microbatch.step, microbatch.micro)
        dropped = torch.rand(len(windows), generator=generator) < self.options.text_dropout
        chosen = torch.rand(len(windows), generator=generator)
        texts = []
        drawn, _ = self.tasks.draw(microbatch, windows[0].shape.frames)
        for window, drop, share in zip(windows, dropped.tolist(), chosen.tolist(), strict=True):
            caption = self.encoded.caption(window.clip, share, drawn.name)
            text = self.options.dropped_text if drop else caption
            texts.append(self.encoded.texts(text))
        latents = torch.stack([self.encoded.latents(window) for window in windows])
        task, conditions = self.tasks.batch(microbatch, windows, texts)
        frames, rows, columns = latents.shape[2:]
        targets = task.targets(latents, conditions)
        return DiTBatch(targets, (frames, rows, columns), conditions, task.name)

    def losses(
        self,
        turn: str,
        models: Mapping[str, nn.Module],
        batch: DiTBatch,
        microbatch: MicrobatchIndex,
        device: torch.device,
    ) -> Iterator[Losses]:
        """Squared error of the velocity at one noise level per sample, weighted by the level."""
        where = (microbatch.step, microbatch.micro)
        if self.transformers.parts[turn].dropout:  # by torch's global generator
            torch.manual_seed(keyed_seed(microbatch.seed, "dropout", *where))
        sigma = self.levels.draw(
            len(batch.latents),
            batch.window_shape,
            microbatch,
            self.transformers.routing.levels[turn],
        )
        generator = keyed_generator(microbatch.seed, "noise", *where)
        noise = torch.randn(batch.latents.shape, generator=generator)
        error = flow_error(
            models[turn], batch.latents, noise, sigma, batch.conditions, device,
            self.options.known_frames_weight,
        )  # fmt: skip
        work = training_work(self.module.shape, batch.latents.shape, self.trained_shares[turn])
        weight = to_device(self.levels.weight(sigma.double()).to(error.dtype), error.device)
        yield Losses(
            error * weight, {"sigma": sigma}, ratios=losses_by_level(error, sigma), work=work
        )

    def eval_items(self) -> list[tuple[str, TrainingTask, ClipWindow]]:
        """A few fixed windows with each task that they serve, for one network after the other."""
        served = [
            (task, window)
            for window in self.footage.eval_windows()
            for task in self.tasks.serving(window.shape.frames)
        ]
        return [(network, *each) for network in self.transformers.models for each in served]

    def measure(
        self, item: tuple[str, TrainingTask, ClipWindow], device: torch.device
    ) -> dict[str, float]:
        """Loss of a window at four fixed noise levels with fixed noise, and their mean.

        The model is given what the first draw of the window's inputs gives.
        """
        network, task, window = item
        sigma = self.transformers.routing.eval_sigmas(network)
        count = len(sigma)
        text = self.encoded.texts(self.encoded.caption(window.clip, 0.0, task.name))
        conditions = self.tasks.conditions(task, [window], [text]).repeated(count)
        x0 = task.targets(self.encoded.latents(window).expand(count, -1, -1, -1, -1), conditions)
        noise = torch.randn(
            x0.shape, generator=keyed_generator(self.options.seed, "eval", window.key)
        )
        model, weight = self.transformers.use(network, device), self.options.known_frames_weight
        errors = flow_error(model, x0, noise, sigma, conditions, device, weight).tolist()
        figures = self.transformers.routing.figures(network, errors)
        if len({each.name for _, each, _ in self.eval_items()}) > 1:
            figures[f"loss_{task.name}"] = figures["loss"]
        return figures

    def preview_items(self) -> list[tuple[TrainingTask, int]]:
        """The numbers of the preview prompts, from 0, with each task of their length."""
        return self.previews.items()

    def preview(self, item: tuple[TrainingTask, int], device: torch.device) -> Preview:
        """Sample a prompt from its own fixed noise."""
        return self.previews.sample(self.transformers, *item, device)

    def save(self, folder: Path, step: int, device: torch.device) -> None:  # noqa: ARG002
        """Write the transformer or both experts, or their adapters."""
        self.transformers.save(folder, {**self.metadata, "step": str(step)})

    def saved_step(self, folder: Path) -> int | None:
        """Step of the finished transformers or adapters of a run."""
        return self.transformers.saved_step(folder)
