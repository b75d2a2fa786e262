"""Videos that are sampled while the transformer is trained."""

from collections.abc import Callable

import torch
from torch import Tensor

from wanctl.diffusion.schedules import make_schedule
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder
from wanctl.train.dit.experts.transformers import Transformers
from wanctl.train.dit.options import PreviewOptions
from wanctl.train.dit.tasks.api import TrainingTask
from wanctl.train.dit.tasks.mixture import TaskMixture
from wanctl.train.objective import Preview
from wanctl.train.previews import to_uint8_frames
from wanctl.train.rng import keyed_generator


class Previews:
    """Samples every preview prompt from its own fixed noise, for each task.

    Args:
        options: prompts, size, solver.
        vae: decodes, or the tiny decoder that does it in its place.
        tasks: those of the run; a task is given what the first draw of the prompt's window gives.
        texts: embedding (tokens, E) of a prompt.
        seed: of the noise.
    """

    def __init__(
        self,
        options: PreviewOptions,
        vae: WanVAE | TinyDecoder,
        tasks: TaskMixture,
        texts: Callable[[str], Tensor],
        seed: int,
    ) -> None:
        self.options = options
        self.vae = vae.requires_grad_(False).eval()
        self.tasks = tasks
        self.texts = texts
        self.seed = seed

    def items(self) -> list[tuple[TrainingTask, int]]:
        """Each task that serves the length of the previews, with the number of each prompt."""
        prompts = range(len(self.options.prompts))
        return [(task, prompt) for task in self._tasks for prompt in prompts]

    def sample(
        self, transformers: Transformers, task: TrainingTask, index: int, device: torch.device
    ) -> Preview:
        """Sample one prompt with the transformers as they are.

        Args:
            transformers: of the run; those that are needed are moved to `device`.
            task: what the model is given beside the prompt.
            index: number of the prompt, which alone keys the noise: all previews of a run start
                from the same one.
            device: where to sample and decode.
        """
        options, window = self.options, [self.options.windows[index]]
        prompt, negative = options.prompts[index], options.negative_prompt
        conditions = self.tasks.conditions(task, window, [self.texts(prompt)])
        shape = task.targets(torch.zeros(1, *options.latent_shape), conditions).shape
        generator = keyed_generator(self.seed, "preview", index)

        def draw() -> Tensor:
            return torch.randn(shape, generator=generator).to(device)

        latents = transformers.generate(
            noise=draw(),
            conditions=conditions.to(device),
            negative_context=self.tasks.context([self.texts(negative)]).to(device),
            guide_scale=options.guide_scale,
            schedule=make_schedule(options.solver, options.steps, options.shift),
            solver=options.solver,
            step_noise=draw,
        )
        latents = task.outputs(latents, options.latent_shape[1])
        vae = self.vae.to(device)
        video = torch.cat(list(vae.decode_frames(latents)), dim=2)
        self.vae.to("cpu")  # training needs the memory
        caption = f"{task.name}: {prompt}" if len(self._tasks) > 1 else prompt
        return Preview(to_uint8_frames(video[0]), caption, options.fps)

    @property
    def _tasks(self) -> list[TrainingTask]:
        return self.tasks.serving(self.options.windows[0].shape.frames)
