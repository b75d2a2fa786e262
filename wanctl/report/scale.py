"""Scales of the report's charts: positions of values, and the round numbers at the ticks."""

import math
from dataclasses import dataclass

import numpy as np

# A linear axis would squeeze the lower half of the values into a tenth of its length.
_SQUEEZED = 0.1
# It takes values of different orders of magnitude for another axis to help.
_WIDE = 8


@dataclass(frozen=True)
class Scale:
    """Maps values to 0..1.

    Attributes:
        low: value at 0.
        high: value at 1.
        knee: None for a linear axis; else values are spread by log(1 + value / knee), which takes
            zero as well.
    """

    low: float
    high: float
    knee: float | None = None

    @property
    def is_log(self) -> bool:
        """Whether the scale is logarithmic above the knee."""
        return self.knee is not None

    @classmethod
    def over(cls, values: np.ndarray, bounds: tuple[float, ...] = ()) -> "Scale":
        """A scale that includes all values and bounds.

        Args:
            values: (N,) float, at least one; finite.
            bounds: finite.
        """
        low, high = (
            float(min(values.min(), *bounds, np.inf)),
            float(max(values.max(), *bounds, -np.inf)),
        )
        if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
            half = abs(high) / 10 or 0.5
            return cls(low - half, high + half)
        typical = float(np.quantile(values, 0.75))
        positive = values[values > 0]
        if low < 0 or not len(positive) or (typical - low) > _SQUEEZED * (high - low):
            return cls(low, high)
        knee = max(float(np.quantile(positive, 0.1)), high * 1e-6)
        return cls(low, high, knee if high > _WIDE * max(low, knee) else None)

    def position(self, value: np.ndarray | float) -> np.ndarray:
        """Positions of values: 0..1, beyond that for values beyond the scale."""
        low, high = self._transform(self.low), self._transform(self.high)
        return (self._transform(value) - low) / (high - low)

    def value(self, position: np.ndarray | float) -> np.ndarray:
        """Values at positions 0..1."""
        low, high = self._transform(self.low), self._transform(self.high)
        transformed = low + np.asarray(position) * (high - low)
        return transformed if self.knee is None else self.knee * np.expm1(transformed)

    def ticks(self, count: int = 5) -> list[float]:
        """Round numbers within the scale, about `count` of them."""
        if self.knee is None:
            return _even_ticks(self.low, self.high, count)
        powers = range(math.floor(math.log10(self.knee)), math.ceil(math.log10(self.high)) + 1)
        # zero, then powers of ten, then numbers between: earlier ones have precedence
        rounds = [0.0, *(factor * 10.0**power for factor in (1, 2, 5) for power in powers)]
        ticks: list[float] = []
        for tick in rounds:
            is_apart = all(
                abs(self.position(tick) - self.position(other)) >= 0.8 / count for other in ticks
            )
            if self.low <= tick <= self.high and is_apart:
                ticks.append(float(f"{tick:.12g}"))
        return sorted(ticks)

    def _transform(self, value: np.ndarray | float) -> np.ndarray:
        array = np.asarray(value, dtype=np.float64)
        return array if self.knee is None else np.log1p(np.maximum(array, 0) / self.knee)


def _even_ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def format_number(value: float) -> str:
    """Format a number in at most four digits: 0.35, 12.5, 1,240, 3.2M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"
