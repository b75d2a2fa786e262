"""SHIFT_FORMULAS: how the shift of the noise levels follows from a video's number of tokens."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from wanctl.errors import UserError, unknown
from wanctl.train.dit.noise.options import NoiseOptions


@dataclass(frozen=True)
class ShiftFormula:
    """One formula.

    Attributes:
        compute: (tokens, options) -> shift.
        keys: fields of `NoiseOptions` that it needs besides `shift`.
    """

    compute: Callable[[int, NoiseOptions], float]
    keys: tuple[str, ...] = ()


def constant(tokens: int, options: NoiseOptions) -> float:  # noqa: ARG001
    """`shift`, whatever the size."""
    return options.shift


def sqrt_tokens(tokens: int, options: NoiseOptions) -> float:
    """Return shift * sqrt(tokens / shift_tokens) (arXiv 2403.03206, equation 23).

    Equation 23 compares two resolutions by the square root of their numbers of pixels: at the same
    noise level a mean over n pixels is sqrt(n) times less uncertain than one pixel.
    """
    assert options.shift_tokens
    return options.shift * math.sqrt(tokens / options.shift_tokens)


def exp_tokens(tokens: int, options: NoiseOptions) -> float:
    """exp(mu), mu linear in the tokens, through two points that the recipe states.

    `shift` is that of `shift_tokens`, `max_shift` that of `max_shift_tokens`; it goes on beyond
    both. FLUX's samplers do this with 256 tokens: exp(0.5) and 4,096 tokens: exp(1.15).
    """
    assert options.shift_tokens
    assert options.max_shift_tokens
    assert options.max_shift
    start, end = math.log(options.shift), math.log(options.max_shift)
    slope = (end - start) / (options.max_shift_tokens - options.shift_tokens)
    return math.exp(start + slope * (tokens - options.shift_tokens))


SHIFT_FORMULAS: dict[str, ShiftFormula] = {
    "constant": ShiftFormula(constant),
    "sqrt_tokens": ShiftFormula(sqrt_tokens, ("shift_tokens",)),
    "exp_tokens": ShiftFormula(exp_tokens, ("shift_tokens", "max_shift", "max_shift_tokens")),
}


def shift_at(tokens: int, options: NoiseOptions) -> float:
    """The shift of videos with so many tokens.

    Raises:
        UserError: no such formula; names the nearest one.
    """
    if options.shift_formula not in SHIFT_FORMULAS:
        name = unknown("formula", options.shift_formula, SHIFT_FORMULAS)
        raise UserError(f"timesteps.shift_formula: {name}")
    return SHIFT_FORMULAS[options.shift_formula].compute(tokens, options)
