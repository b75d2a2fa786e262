"""What rows share: the network of a variant, fixed noise levels, and why they are fixed."""

from collections.abc import Mapping
from dataclasses import replace

from wanctl.checkpoint.registry.layouts import OFFICIAL
from wanctl.checkpoint.registry.licences import APACHE_UNREAD
from wanctl.checkpoint.registry.structures import structure_of_shape
from wanctl.checkpoint.registry.types import Checkpoint, Layout
from wanctl.model.noise_levels import shift_sigmas, trigflow_levels
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import RunDefaults

_GUIDANCE = "it is distilled for a scale of 1; guidance on top of that blurs the video or burns it"
_FIXED_LEVELS = "it is distilled at fixed noise levels; others leave noise or blur in the video"
UNGUIDED: Mapping[str, str] = {"guide_scale": _GUIDANCE}
# `levels` are left to the recipe: authors publish several lists, and users mix in steps without it.
DISTILLED_LORA: Mapping[str, str] = {
    **UNGUIDED,
    **dict.fromkeys(("steps", "shift"), _FIXED_LEVELS),
}
DISTILLED: Mapping[str, str] = {**DISTILLED_LORA, "levels": _FIXED_LEVELS}


def like(variant: str) -> Checkpoint:
    """A row without a name that has the network and the run rule of a variant."""
    published = VARIANTS[variant]
    return Checkpoint(
        name="",
        title="",
        variant=variant,
        defaults=published.defaults,
        layout=replace(OFFICIAL.get(variant, Layout()), verified=False),
        structure=structure_of_shape(published.dit),
        licence=APACHE_UNREAD,
    )


def lora_for(variant: str) -> Checkpoint:
    """A row without a name for LoRAs that are made for a variant."""
    return replace(like(variant), kind="lora", layout=Layout(), structure=None)


def few_steps(
    defaults: RunDefaults, levels: tuple[float, ...], solver: str, *, shift: float = 5.0
) -> RunDefaults:
    """Run defaults with fixed levels and without guidance."""
    return replace(
        defaults,
        steps=len(levels),
        shift=shift,
        small_shift=None,
        levels=levels,
        guide_scale=1.0,
        solver=solver,
    )


def warped(shift: float, *shares: float) -> tuple[float, ...]:
    """Noise levels after the shift s u / (1 + (s - 1) u) of shares u."""
    return tuple(shift_sigmas(share, shift) for share in shares)


def trigflow(*angles: float) -> tuple[float, ...]:
    """Noise levels of TrigFlow's angles: sin t / (sin t + cos t)."""
    return trigflow_levels(angles)
