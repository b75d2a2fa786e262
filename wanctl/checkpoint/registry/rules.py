"""Run rules in words, and warnings where a recipe leaves them."""

from collections.abc import Mapping, Sequence

from wanctl.checkpoint.registry.types import FIXABLE, Checkpoint
from wanctl.log import warn_once
from wanctl.model.variants import NUM_TRAIN_TIMESTEPS, RunDefaults

ROUNDING = 5e-4  # of noise levels as people write them; half a timestep


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
    if defaults.reference_guide_scale is not None:
        guidance += f" and {defaults.reference_guide_scale:g} by references"
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
        if key in fixed and value is not None and not _same(value, getattr(rule, key)):
            warn_once(f"sample.{key} is {value}; {fixed[key]}")


def _same(value: object, other: object) -> bool:
    """Whether two settings are equal; levels are written with few digits, a scale once or twice."""
    values = value if isinstance(value, Sequence) else (value,)
    others = other if isinstance(other, Sequence) else (other,)
    if len(others) == 1:
        others = [*others] * len(values)
    return len(values) == len(others) and all(map(_close, values, others))


def _close(value: object, other: object) -> bool:
    if isinstance(value, int | float) and isinstance(other, int | float):
        return abs(value - other) <= ROUNDING
    return value == other
