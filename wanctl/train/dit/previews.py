"""Videos that are sampled while the transformer is trained."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder
from wanctl.train.dit.options import PreviewOptions
from wanctl.train.previews import to_uint8_frames, write_preview
from wanctl.train.rng import keyed_generator


class Previews:
    """Samples every preview prompt from its own fixed noise.

    Args:
        options: prompts, size, solver.
        vae: decodes, or the tiny decoder that does it in its place.
        conditions: those of a prompt, (1, ...).
        seed: of the noise.
    """

    def __init__(
        self,
        options: PreviewOptions,
        vae: WanVAE | TinyDecoder,
        conditions: Callable[[str], Conditions],
        seed: int,
    ) -> None:
        self.options = options
        self.vae = vae.requires_grad_(False).eval()
        self.conditions = conditions
        self.seed = seed

    def write(self, model: Model, folder: Path, step: int, device: torch.device) -> list[Path]:
        """Sample all prompts with the model as it is and write them."""
        options = self.options
        schedule = make_schedule(options.solver, options.steps, options.shift)
        negative_context = self.conditions(options.negative_prompt).context.to(device)
        vae = self.vae.to(device)
        videos = []
        for index, prompt in enumerate(options.prompts):
            # Keyed by the prompt's index alone: all previews of a run start from the same noise.
            generator = keyed_generator(self.seed, "preview", index)
            noise: Tensor = torch.randn((1, *options.latent_shape), generator=generator)
            latents = generate(
                model,
                noise=noise.to(device),
                conditions=self.conditions(prompt).to(device),
                negative_context=negative_context,
                guide_scale=options.guide_scale,
                schedule=schedule,
                solver=options.solver,
            )
            video = torch.cat(list(vae.decode_frames(latents)), dim=2)
            videos.append(to_uint8_frames(video[0]))
        self.vae.to("cpu")  # training needs the memory
        return write_preview(folder, step, videos, options.fps, options.prompts)
