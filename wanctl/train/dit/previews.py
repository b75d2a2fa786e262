"""Videos that are sampled while the transformer is trained."""

from collections.abc import Callable

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import make_schedule
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder
from wanctl.train.dit.options import PreviewOptions
from wanctl.train.objective import Preview
from wanctl.train.previews import to_uint8_frames
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

    def sample(self, model: Model, index: int, prompt: str, device: torch.device) -> Preview:
        """Sample one prompt with the model as it is.

        Args:
            model: the transformer, on `device`.
            index: number of the prompt, which alone keys the noise: all previews of a run start
                from the same one.
            prompt: its text.
            device: where to sample and decode.
        """
        options = self.options
        generator = keyed_generator(self.seed, "preview", index)
        noise: Tensor = torch.randn((1, *options.latent_shape), generator=generator)
        latents = generate(
            model,
            noise=noise.to(device),
            conditions=self.conditions(prompt).to(device),
            negative_context=self.conditions(options.negative_prompt).context.to(device),
            guide_scale=options.guide_scale,
            schedule=make_schedule(options.solver, options.steps, options.shift),
            solver=options.solver,
        )
        vae = self.vae.to(device)
        video = torch.cat(list(vae.decode_frames(latents)), dim=2)
        self.vae.to("cpu")  # training needs the memory
        return Preview(to_uint8_frames(video[0]), prompt, options.fps)
