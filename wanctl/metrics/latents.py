"""Statistics of latents: mean, deviation and correlation of channels, spectrum over space and time.

Sums of several clips are added, so that a result of many clips needs one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Rings of equal width between frequency 0 and the Nyquist frequency of the latent grid.
RINGS = 8


@dataclass(frozen=True)
class LatentSums:
    """Sums over the positions of latents; all float64.

    Attributes:
        count: number of positions.
        total: (C,) sum of the values.
        products: (C, C) sums of products of channels.
        space: (2, RINGS) power and number of coefficients in each ring.
        time: (2, T // 2 + 1) power and number of coefficients at each frequency.
    """

    count: int
    total: Tensor
    products: Tensor
    space: Tensor
    time: Tensor

    def as_lists(self) -> dict[str, Any]:
        """For JSON."""
        lists = {name: getattr(self, name).tolist() for name in _TENSORS}
        return {"count": self.count, **lists}

    @classmethod
    def from_lists(cls, values: dict[str, Any]) -> "LatentSums":
        """The inverse of `as_lists`."""
        tensors = {name: torch.tensor(values[name], dtype=torch.float64) for name in _TENSORS}
        return cls(values["count"], **tensors)


_TENSORS = ("total", "products", "space", "time")


@dataclass(frozen=True)
class LatentStatistics:
    """Statistics of latents.

    Attributes:
        mean: per channel.
        std: per channel.
        correlation: (C, C) of channels at the same position, 1 on the diagonal.
        spatial_spectrum: power in RINGS rings up to the Nyquist frequency, relative to white noise
            of the same deviation: 1 everywhere for that.
        temporal_spectrum: the same at the frequencies k / T of T latent frames; [1.0] for one.
    """

    mean: list[float]
    std: list[float]
    correlation: list[list[float]]
    spatial_spectrum: list[float | None]
    temporal_spectrum: list[float]


def latent_sums(latents: Tensor) -> LatentSums:
    """Sums of one clip's latents (C, T, Y, X)."""
    z = latents.double()
    flat = z.flatten(1)
    centred = z - z.mean(dim=(1, 2, 3), keepdim=True)
    return LatentSums(
        count=flat.shape[1],
        total=flat.sum(1).cpu(),
        products=(flat @ flat.T).cpu(),
        space=_rings(centred).cpu(),
        time=_frequencies(centred).cpu(),
    )


def add_sums(sums: Sequence[LatentSums]) -> LatentSums:
    """Sums of several clips of equal length in frames."""
    return LatentSums(
        sum(each.count for each in sums),
        **{name: torch.stack([getattr(each, name) for each in sums]).sum(0) for name in _TENSORS},
    )


def statistics_of(sums: LatentSums) -> LatentStatistics:
    """Statistics from sums; a channel that never changes has deviation and correlation 0."""
    mean = sums.total / sums.count
    covariance = sums.products / sums.count - torch.outer(mean, mean)
    std = covariance.diagonal().clamp(min=0).sqrt()
    scale = torch.where(std > 0, 1 / std, 0.0)
    correlation = covariance * torch.outer(scale, scale)
    return LatentStatistics(
        mean=mean.tolist(),
        std=std.tolist(),
        correlation=correlation.tolist(),
        spatial_spectrum=[None if count == 0 else value for value, count in _relative(sums.space)],
        temporal_spectrum=[value for value, _ in _relative(sums.time)],
    )


def _rings(centred: Tensor) -> Tensor:
    """Power over the two axes of space by distance from frequency 0."""
    height, width = centred.shape[-2:]
    power = torch.fft.fft2(centred).abs().square().sum(dim=(0, 1)) / (height * width)
    axes = [torch.fft.fftfreq(side, dtype=torch.float64, device=power.device) * 2
            for side in (height, width)]  # fmt: skip
    radius = (axes[0][:, None].square() + axes[1].square()).sqrt()
    ring = (radius * RINGS).ceil().long() - 1
    # the mean is no structure, and the corners lie beyond the Nyquist frequency of an axis
    inside = (ring >= 0) & (ring < RINGS)
    counts = torch.full_like(power, float(centred.shape[0] * centred.shape[1]))
    sums = torch.zeros(2, RINGS, dtype=torch.float64, device=power.device)
    for row, values in enumerate((power, counts)):
        sums[row].index_add_(0, ring[inside], values[inside])
    return sums


def _frequencies(centred: Tensor) -> Tensor:
    """Power over time at each frequency."""
    frames = centred.shape[1]
    power = torch.fft.rfft(centred, dim=1).abs().square().sum(dim=(0, 2, 3)) / frames
    return torch.stack([power, torch.full_like(power, float(centred[:, 0].numel()))])


def _relative(sums: Tensor) -> list[tuple[float, float]]:
    """(mean power relative to that of all coefficients, number of coefficients) of each band."""
    power, counts = sums
    mean = power.sum() / counts.sum().clamp(min=1)
    values = power / counts.clamp(min=1) / (mean if mean > 0 else 1.0)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
