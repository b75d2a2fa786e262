"""Weight deltas of every kind of LoRA file, computed in fp32.

LoRA: B A. LoHa (FedPara, arXiv:2108.06098): (A1 B1) * (A2 B2), elementwise. LoKr
(arXiv:2309.14859): the Kronecker product of two matrices, each of which may be a product itself.
DoRA (arXiv:2402.09353): the changed matrix is scaled so that its rows, or in older files its
columns, have the stored norms.

Shapes: O outputs, I inputs, R rank; convolutions have their kernel after I.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Shape = tuple[int, ...]
# A LoHa of rank R runs as a LoRA of rank R squared; above this it is merged.
MAX_PATH_RANK = 256


class WeightDelta(Protocol):
    """A change of one parameter."""

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        ...

    def change(self, base: Tensor) -> Tensor:
        """What is added to a parameter at strength 1: fp32, in the shape and on the device of it.

        Args:
            base: the parameter, before any delta.
        """
        ...


@dataclass(frozen=True)
class LowRankDelta:
    """The product of two matrices.

    Attributes:
        down: (R, I, ...).
        up: (O, R) or (O, R, 1, ...).
        scale: factor of the product.
        mid: (R, R, ...) kernel of a convolution between the two; None where `down` has it.
    """

    down: Tensor
    up: Tensor
    scale: float
    mid: Tensor | None = None

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        rank, other = self.down.shape[0], self.up.shape[1]
        if rank != other:
            return f"ranks {rank} and {other}"
        outputs, inputs = self.up.shape[0], self.down[0].numel()
        if self.mid is not None:
            inputs *= math.prod(self.mid.shape[2:])
        return _wrong_size(outputs, inputs, shape)

    def change(self, base: Tensor) -> Tensor:
        """The product, fp32."""
        up, down = _flat(self.up, base), _flat(self.down, base)
        if self.mid is None:
            return (up @ down).reshape(base.shape) * self.scale
        mid = self.mid.to(base.device).float()
        product = torch.einsum("or,rs...,si->oi...", up, mid, down)
        return product.reshape(base.shape) * self.scale


@dataclass(frozen=True)
class HadamardDelta:
    """The elementwise product of two low-rank matrices (LoHa).

    Attributes:
        factors: of the first matrix, then of the second: (O, R) and (R, I), or with a kernel
            (R, O) and (R, I).
        kernels: (R, R, ...) of a convolution for each matrix; empty without.
        scale: factor of the product.
    """

    factors: tuple[Tensor, Tensor, Tensor, Tensor]
    kernels: tuple[Tensor, ...]
    scale: float

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        a1, b1, a2, b2 = self.factors
        if self.kernels:
            sizes = {(k.shape[0], k.shape[1], k[0, 0].numel()) for k in self.kernels}
            wrong = len(sizes) > 1 or {(a1.shape[0], b1.shape[0]), (a2.shape[0], b2.shape[0])} != {
                (rows, columns) for rows, columns, _ in sizes
            }
            if wrong or len(self.kernels) != 2:
                return "ranks of its kernels differ"
            return _wrong_size(a1.shape[1], b1.shape[1] * self.kernels[0][0, 0].numel(), shape)
        if (a1.shape[1], a2.shape[1]) != (b1.shape[0], b2.shape[0]):
            return f"ranks {a1.shape[1]} and {b1.shape[0]}"
        if (a1.shape[0], b1[0].numel()) != (a2.shape[0], b2[0].numel()):
            return "its two matrices differ in size"
        return _wrong_size(a1.shape[0], b1[0].numel(), shape)

    def change(self, base: Tensor) -> Tensor:
        """The product, fp32."""
        a1, b1, a2, b2 = (_flat(factor, base) for factor in self.factors)
        if self.kernels:
            first, second = (kernel.to(base.device).float() for kernel in self.kernels)
            one = torch.einsum("ij...,ip,jr->pr...", first, a1, b1)
            two = torch.einsum("ij...,ip,jr->pr...", second, a2, b2)
        else:
            one, two = a1 @ b1, a2 @ b2
        return (one * two).reshape(base.shape) * self.scale

    def as_low_rank(self) -> LowRankDelta | None:
        """The same change as a product of rank R squared; None for large ranks and kernels."""
        a1, b1, a2, b2 = (factor.float() for factor in self.factors)
        if self.kernels or a1.shape[1] * a2.shape[1] > MAX_PATH_RANK:
            return None
        up = torch.einsum("oi,oj->oij", a1, a2).flatten(1)
        down = torch.einsum("in,jn->ijn", b1.flatten(1), b2.flatten(1)).flatten(0, 1)
        return LowRankDelta(down, up, self.scale)


@dataclass(frozen=True)
class KroneckerDelta:
    """The Kronecker product of two matrices (LoKr).

    Attributes:
        first: factors of the first matrix: itself, or (O1, R) and (R, I1).
        second: factors of the second: itself, (O2, R) and (R, I2), or with a kernel (R, O2) and
            (R, I2).
        kernel: (R, R, ...) of a convolution; None without.
        scale: factor of the product.
    """

    first: Sequence[Tensor]
    second: Sequence[Tensor]
    kernel: Tensor | None
    scale: float

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        for factors in (self.first, self.second):
            ranks = factors[0].shape[0 if self.kernel is not None and factors is self.second else 1]
            if len(factors) == 2 and ranks != factors[1].shape[0]:
                return f"ranks {ranks} and {factors[1].shape[0]}"
        (o1, i1), (o2, i2) = self._size(self.first, None), self._size(self.second, self.kernel)
        return _wrong_size(o1 * o2, i1 * i2, shape)

    def change(self, base: Tensor) -> Tensor:
        """The product, fp32."""
        first, second = self.matrices(base.device)
        return torch.kron(first, second).reshape(base.shape) * self.scale

    def matrices(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Both matrices, fp32: (O1, I1) and (O2, I2 ...)."""
        first = _product([factor.to(device).float() for factor in self.first])
        second = [factor.to(device).float() for factor in self.second]
        if self.kernel is None:
            return first, _product(second).flatten(1)
        kernel = self.kernel.to(device).float()
        return first, torch.einsum("ij...,ip,jr->pr...", kernel, *second).flatten(1)

    @staticmethod
    def _size(factors: Sequence[Tensor], kernel: Tensor | None) -> tuple[int, int]:
        if kernel is not None:
            inputs = factors[1].shape[1] * math.prod(kernel.shape[2:])
            return factors[0].shape[1], inputs
        return factors[0].shape[0], factors[-1][0].numel()


@dataclass(frozen=True)
class DenseDelta:
    """A change stored in full, as for biases and norms."""

    value: Tensor
    scale: float = 1.0

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        fits = self.value.numel() == math.prod(shape)
        return None if fits else f"{tuple(self.value.shape)} instead of {shape}"

    def change(self, base: Tensor) -> Tensor:
        """The stored change, fp32."""
        return self.value.to(base.device).float().reshape(base.shape) * self.scale


@dataclass(frozen=True)
class Replacement:
    """A parameter stored in full, which was trained whole beside the low-rank matrices."""

    value: Tensor

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        return DenseDelta(self.value).mismatch(shape)

    def change(self, base: Tensor) -> Tensor:
        """What leads from the parameter to the stored one."""
        return self.value.to(base.device).float().reshape(base.shape) - base.float()


@dataclass(frozen=True)
class DoraDelta:
    """Changes of a matrix, after which its rows or columns get the stored norms.

    Attributes:
        parts: changes that are added first.
        magnitude: one norm for each output, or for each input.
        by_output: whether they are of outputs; None where the shape decides.
    """

    parts: Sequence[WeightDelta]
    magnitude: Tensor
    by_output: bool | None = None

    def mismatch(self, shape: Shape) -> str | None:
        """Why it does not fit a parameter of this shape; None where it fits."""
        if problem := next(filter(None, (part.mismatch(shape) for part in self.parts)), None):
            return problem
        wanted = [shape[0]] if self.by_output else [shape[0], *shape[1:2]]
        if len(shape) < 2 or self.magnitude.numel() not in wanted:
            return f"{self.magnitude.numel()} norms for a matrix of {shape}"
        return None

    def change(self, base: Tensor) -> Tensor:
        """The scaled matrix less the parameter, fp32."""
        weight = base.float()
        merged = weight + sum(part.change(base) for part in self.parts)
        kept = 0 if self._is_by_output(base.shape) else 1
        axes = tuple(axis for axis in range(base.ndim) if axis != kept)
        norm = torch.linalg.vector_norm(merged, dim=axes, keepdim=True)
        magnitude = self.magnitude.to(base.device).float().reshape(norm.shape)
        return merged * (magnitude / norm.clamp_min(torch.finfo(torch.float32).tiny)) - weight

    def _is_by_output(self, shape: Sequence[int]) -> bool:
        """PEFT's norms are of outputs. LyCORIS writes (O, 1) for outputs and (1, I) for inputs."""
        stored = self.magnitude.shape
        if self.by_output is not None:
            return self.by_output
        if len(stored) > 1 and stored[0] == 1 and stored[1] == shape[1]:
            return False
        return self.magnitude.numel() == shape[0]


def _product(factors: Sequence[Tensor]) -> Tensor:
    return factors[0] if len(factors) == 1 else factors[0] @ factors[1].flatten(1)


def _flat(factor: Tensor, base: Tensor) -> Tensor:
    return factor.flatten(1).to(base.device).float()


def _wrong_size(outputs: int, inputs: int, shape: Shape) -> str | None:
    size = (shape[0], math.prod(shape[1:]))
    if (outputs, inputs) == size:
        return None
    return f"changes {outputs}x{inputs} instead of {size[0]}x{size[1]}"
