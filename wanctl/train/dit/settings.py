"""Options of a transformer's training run, unpacked from the recipe."""

from collections.abc import Mapping, Sequence

from wanctl.data.buckets import bucket_name
from wanctl.errors import ProblemsError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import Variant
from wanctl.recipe.load import LoadedRecipe
from wanctl.recipe.train.dit import TrainDiTSection
from wanctl.recipe.train.section import Bucket
from wanctl.tasks.api import noise_shape
from wanctl.train.dit.experts.plan import LatentShape
from wanctl.train.dit.noise.options import NoiseOptions
from wanctl.train.dit.options import PreviewOptions
from wanctl.train.dit.tasks.api import TaskOptions
from wanctl.train.dit.tasks.build import MixtureOptions
from wanctl.train.dit.tasks.choice import make_tasks, task_problems, task_weights
from wanctl.train.dit.vace.options import control_options
from wanctl.train.inputs.clipset import ClipSet

PREVIEW_PROMPTS = 4


def latent_shapes(section: TrainDiTSection, vae: WanVAE) -> list[tuple[Bucket, LatentShape]]:
    """Each bucket with (T, Y, X) of its latents."""
    return [
        (each, noise_shape(vae.shape, each.frames, each.height, each.width)[1:])
        for each in section.buckets
    ]


def noise_options(section: TrainDiTSection, vae: WanVAE, processes: int) -> NoiseOptions:
    """The recipe's noise levels, with the shifts that it states by the latents' shape."""
    keys = section.timesteps.model_dump(exclude={"bucket_shifts"})
    shapes = {bucket_name(each): shape for each, shape in latent_shapes(section, vae)}
    stated = {shapes[name]: shift for name, shift in section.timesteps.bucket_shifts.items()}
    return NoiseOptions(**keys, latent_shifts=stated, microbatches=section.accumulate * processes)


def mixture_options(loaded: LoadedRecipe, variant: Variant) -> MixtureOptions:
    """The tasks of the run, checked against the variant and the buckets.

    Raises:
        RecipeError: every problem, at its line.
    """
    section = loaded.recipe.train_dit
    how = section.conditions
    options = TaskOptions(
        how.continuation_s, how.interpolation_frames, control_options(section.vace.model_dump())
    )
    problems = task_problems(section.tasks, variant, how.clip_branch, section.buckets, options)
    if located := [(f"train_dit.{path}", message) for path, message in problems]:
        raise loaded.locate(ProblemsError(located))
    return MixtureOptions(
        tasks=make_tasks(task_weights(section.tasks, variant), options),
        fps=section.clip_fps,
        draws_per_window=how.draws_per_window,
        dropout=how.dropout,
    )


def preview_options(
    loaded: LoadedRecipe,
    variant: Variant,
    clips: ClipSet,
    captions: Mapping[str, Sequence[str]],
    mixture: MixtureOptions,
) -> PreviewOptions:
    """The recipe's preview prompts, or captions of measured clips; sampled as `sample` would.

    Each prompt is sampled for each task: of several tasks fewer captions are taken.
    """
    section, sample = loaded.recipe.train_dit, loaded.recipe.sample
    shape = max(window.shape for window in clips.eval_windows())
    windows = [window for window in clips.eval_windows() if window.shape == shape]
    own = dict.fromkeys(captions[window.clip][0] for window in clips.eval_windows())
    tasks = sum(task.serves(shape.frames) for task in mixture.tasks)
    prompts = section.preview_prompts or tuple(own)[: max(1, PREVIEW_PROMPTS // max(1, tasks))]
    first = {captions[window.clip][0]: window for window in reversed(windows)}
    negative = sample.negative_prompt
    defaults = variant.defaults
    guide_scale = defaults.guide_scale if sample.guide_scale is None else sample.guide_scale
    return PreviewOptions(
        prompts=prompts,
        windows=tuple(
            first.get(prompt, windows[number % len(windows)])
            for number, prompt in enumerate(prompts)
        ),
        negative_prompt=defaults.negative_prompt if negative is None else negative,
        latent_shape=noise_shape(variant.vae, *shape),
        steps=section.preview_steps,
        shift=sample.shift or defaults.shift,
        guide_scale=guide_scale,
        solver=sample.solver or defaults.solver,
        fps=section.clip_fps,
    )


def dropped_text(loaded: LoadedRecipe, negative_prompt: str) -> str:
    """The text that replaces dropped captions.

    The sampler subtracts what a model makes of its negative prompt. A model from nothing has to
    learn that; a trained one would unlearn what the prompt lists if it saw good footage under it.
    """
    chosen = loaded.recipe.train_dit.text_dropout_to
    if chosen is None:
        chosen = "negative" if loaded.recipe.model.weights is None else "empty"
    return negative_prompt if chosen == "negative" else ""
