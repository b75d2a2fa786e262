"""Run rules in words, and warnings where a recipe leaves them."""

from collections.abc import Mapping
from functools import cache

from wanctl.checkpoint.registry.types import FIXABLE, Checkpoint
from wanctl.log import log
from wanctl.model.variants import NUM_TRAIN_TIMESTEPS, RunDefaults


def rule_text(row: Checkpoint) -> str:
    """The run rule in one clause; empty where the row has none."""
    return "" if row.defaults is None else defaults_text(row.defaults)


def defaults_text(defaults: RunDefaults) -> str:
    """Run defaults in one clause."""
    if defaults.levels:
        timesteps = " ".join(f"{NUM_TRAIN_TIMESTEPS * level:.4g}" for level in defaults.levels)
        steps = f"{len(defaults.levels)} steps at {timesteps}"
    else:
        small = f" ({defaults.small_shift:g} at 480p)" if defaults.small_shift else ""
        steps = f"{defaults.steps} steps, shift {defaults.shift:g}{small}"
    scales = defaults.guide_scale
    scales = scales if isinstance(scales, tuple) else (scales,)
    guided = any(scale != 1 for scale in scales)
    guidance = "guidance " + " / ".join(f"{s:g}" for s in scales) if guided else "no guidance"
    boundary = "" if defaults.boundary is None else f", experts part at {defaults.boundary:g}"
    size = f"{defaults.width}x{defaults.height}, {defaults.frames} frames at {defaults.fps:g} fps"
    return f"{steps}, {guidance}, {defaults.solver}{boundary}; {size}"


def warn_of_fixed(
    fixed: Mapping[str, str], values: Mapping[str, object], rule: RunDefaults
) -> None:
    """Warn once of each setting that is known to fail.

    Args:
        fixed: key of `sample` -> why.
        values: keys of `sample` that the recipe sets, with their values.
        rule: the values that do not fail.
    """
    for key in FIXABLE:
        value = values.get(key)
        if key in fixed and value is not None and value != getattr(rule, key):
            _warn(f"sample.{key} is {value}; {fixed[key]}")


@cache
def _warn(text: str) -> None:
    log.warning("%s", text)
