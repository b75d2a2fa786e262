"""VARIANTS: every supported model, by name. Torch-free.

A row holds the frozen shapes of the networks and the run defaults of the official command line.
To add a model, add a row; tests run over the table.
"""

from dataclasses import replace

from wanctl.errors import UserError, unknown
from wanctl.model.animate_variants import ANIMATE_VARIANTS
from wanctl.model.fun_variants import FUN_VARIANTS
from wanctl.model.speech_variants import SPEECH_VARIANTS
from wanctl.model.subject_variants import SUBJECT_VARIANTS
from wanctl.model.variants import (
    DIT_1_3B,
    DIT_5B,
    DIT_14B,
    RUN_480P,
    RUN_720P,
    WAN22_VAE,
    WAN_FLF2V_NEGATIVE_PROMPT,
    WAN_I2V_NEGATIVE_PROMPT,
    DiTShape,
    RunDefaults,
    VAEShape,
    Variant,
    resized_vae,
)

_I2V = replace(DIT_14B, in_channels=36)
_I2V_CLIP = replace(_I2V, image_dim=1280)
_IMAGE_TASKS = ("i2v", "continuation", "interpolation")
_ALL_IMAGE_TASKS = ("i2v", "flf2v", "continuation", "interpolation")
_I2V_RUN = replace(RUN_720P, steps=40, small_shift=3.0, negative_prompt=WAN_I2V_NEGATIVE_PROMPT)
_TINY = Variant(
    name="tiny",
    dit=DiTShape(dim=192, ffn_dim=768, num_layers=6, num_heads=6, text_dim=384, text_len=64),
    vae=VAEShape(dim=16, latent_mean=(0.0,) * 16, latent_std=(1.0,) * 16),
    text_encoder="minilm",
    defaults=RunDefaults(
        steps=20, shift=3.0, guide_scale=3.0, frames=17, fps=12.0, height=64, width=64,
        negative_prompt="",
    ),
    tasks=("t2v", "t2i", "ti2v", "continuation"),
)  # fmt: skip

VARIANTS: dict[str, Variant] = {
    v.name: v
    for v in (
        _TINY,
        replace(
            _TINY, name="tiny-i2v", dit=replace(_TINY.dit, in_channels=36), tasks=_ALL_IMAGE_TASKS
        ),
        replace(
            _TINY, name="tiny-vace", dit=replace(_TINY.dit, vace_layers=(0, 2, 4)), tasks=("vace",)
        ),
        replace(
            _TINY, name="tiny-experts", tasks=("t2v", "t2i"),
            defaults=replace(_TINY.defaults, guide_scale=(3.0, 4.0), boundary=0.875),
        ),
        Variant(
            name="wan2.1-t2v-1.3b", dit=DIT_1_3B, defaults=RUN_480P, hub="Wan-AI/Wan2.1-T2V-1.3B"
        ),
        Variant(name="wan2.1-t2v-14b", dit=DIT_14B, defaults=RUN_720P, hub="Wan-AI/Wan2.1-T2V-14B"),
        Variant(
            name="wan2.1-i2v-14b-480p",
            dit=_I2V_CLIP,
            defaults=replace(_I2V_RUN, height=480, width=832),
            hub="Wan-AI/Wan2.1-I2V-14B-480P",
            tasks=_IMAGE_TASKS,
        ),
        Variant(
            name="wan2.1-i2v-14b-720p",
            dit=_I2V_CLIP,
            defaults=_I2V_RUN,
            hub="Wan-AI/Wan2.1-I2V-14B-720P",
            tasks=_IMAGE_TASKS,
        ),
        Variant(
            name="wan2.1-flf2v-14b",
            dit=replace(_I2V_CLIP, image_tokens=514),
            defaults=replace(RUN_720P, shift=16.0, negative_prompt=WAN_FLF2V_NEGATIVE_PROMPT),
            hub="Wan-AI/Wan2.1-FLF2V-14B-720P",
            tasks=("flf2v", "interpolation"),
        ),
        Variant(
            name="wan2.1-vace-1.3b",
            dit=replace(DIT_1_3B, vace_layers=tuple(range(0, 30, 2))),
            defaults=replace(RUN_480P, shift=16.0),
            hub="Wan-AI/Wan2.1-VACE-1.3B",
            tasks=("vace",),
        ),
        Variant(
            name="wan2.1-vace-14b",
            dit=replace(DIT_14B, vace_layers=tuple(range(0, 40, 5))),
            defaults=replace(RUN_720P, shift=16.0),
            hub="Wan-AI/Wan2.1-VACE-14B",
            tasks=("vace",),
        ),
        Variant(
            name="wan2.2-t2v-a14b",
            dit=DIT_14B,
            defaults=replace(
                RUN_720P, steps=40, shift=12.0, guide_scale=(3.0, 4.0), boundary=0.875
            ),
            hub="Wan-AI/Wan2.2-T2V-A14B",
        ),
        Variant(
            name="wan2.2-i2v-a14b",
            dit=_I2V,
            defaults=replace(RUN_720P, steps=40, guide_scale=(3.5, 3.5), boundary=0.9),
            hub="Wan-AI/Wan2.2-I2V-A14B",
            tasks=_ALL_IMAGE_TASKS,
        ),
        Variant(
            name="wan2.2-ti2v-5b",
            dit=DIT_5B,
            vae=WAN22_VAE,
            defaults=replace(RUN_720P, frames=121, fps=24.0, height=704, width=1280),
            hub="Wan-AI/Wan2.2-TI2V-5B",
            tasks=("ti2v", "t2v", "t2i", "continuation"),
        ),
        *FUN_VARIANTS,
        *SUBJECT_VARIANTS,
        *ANIMATE_VARIANTS,
        *SPEECH_VARIANTS,
    )
}  # fmt: skip

DEFAULT_VARIANT = "wan2.1-t2v-1.3b"  # where neither a recipe nor weights say which


def find_variant(name: str | None) -> Variant | None:
    """The row of a name, the default one for None; None where there is no such row."""
    return VARIANTS.get(DEFAULT_VARIANT if name is None else name)


def task_problem(variant: Variant | None, task: str) -> str | None:
    """Why a variant cannot do a task; None if it can.

    Args:
        variant: the variant; None: any.
        task: name from the recipe.
    """
    able = [each.name for each in VARIANTS.values() if task in each.tasks]
    if not able:
        tasks = dict.fromkeys(name for each in VARIANTS.values() for name in each.tasks)
        return unknown("task", task, tasks)
    if variant is None or task in variant.tasks:
        return None
    does = ", ".join(variant.tasks)
    return f"{variant.name} cannot do {task}, it does {does}; variants that can: {', '.join(able)}"


def get_variant(
    name: str | None, *, vae_width: int | None = None, latent_channels: int | None = None
) -> Variant:
    """Look a variant up, and give it a VAE of another size where one is asked for.

    Args:
        name: a row of VARIANTS; None: the default one.
        vae_width: channels of the VAE's first level; None: the variant's. Wan 2.2's decoder keeps
            its ratio to the encoder.
        latent_channels: of the VAE and of the transformer's inputs and outputs; None: the
            variant's.

    Raises:
        UserError: no such row; names the nearest one.
    """
    variant = find_variant(name)
    if variant is None:
        raise UserError(f"model.variant: {unknown('variant', str(name), VARIANTS)}")
    vae = resized_vae(variant.vae, vae_width, latent_channels)
    more, dit = vae.z_dim - variant.vae.z_dim, variant.dit
    # Image variants take the latents twice: noise and known frames; so does VACE's control.
    times = dit.in_channels // variant.vae.z_dim
    dit = replace(
        dit,
        in_channels=dit.in_channels + more * times,
        out_channels=dit.out_channels + more,
        vace_channels=dit.vace_channels + 2 * more,
    )
    return replace(variant, vae=vae, dit=dit)
