"""Apply LoRAs to a transformer, several at once, each with a strength.

They are merged into the weights while these are read, in fp32, before they are rounded to the
model's dtype. Weights in 8 bits cannot hold a small change, so what can be computed in parallel to
a matrix is attached there instead (`linear.py`); both give the same outputs. Attached LoRAs may
change their strengths between steps; what is merged nevertheless (biases, norms, modulation) is
then merged anew from values that are kept.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wanctl.checkpoint.branches import report_left_out
from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.finite import is_finite
from wanctl.checkpoint.lora.deltas import WeightDelta
from wanctl.checkpoint.lora.files import StoredLora, read_lora
from wanctl.checkpoint.lora.layers import Matched, Shapes, layer_names, match_deltas
from wanctl.checkpoint.lora.likely import likely_model
from wanctl.checkpoint.lora.linear import LoraLinear, path_of
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import Expert
from wanctl.runtime.quantize import QuantizedLinear

NAMES_SHOWN = 3
# Elements of a parameter that is kept without its LoRAs: the patch embedding of the 14B model has
# 0.3 million, its text embedding 21.
MAX_REWRITTEN = 2**22


@dataclass(frozen=True)
class Lora:
    """A LoRA file and its strength.

    Attributes:
        path: a file of weights, or a folder with one.
        strength: factor of the weight delta; may be negative.
        expert: which of two transformers it is for; None for both.
    """

    path: Path
    strength: float = 1.0
    expert: Expert | None = None


@dataclass(frozen=True)
class _Change:
    """One change of a parameter, of the LoRA with this number, at the LoRA's own strength."""

    lora: int
    strength: float
    delta: WeightDelta


class Loras:
    """The weight deltas of all LoRA files for one transformer.

    Args:
        loras: the files; those for the other expert are skipped.
        shapes: of the transformer's parameters, by official name.
        expert: which of two transformers it is; None where there is one.
        strict: refuse files with keys for parts that the model lacks, which else are left out with
            a warning.
        factors: of the strength of each LoRA, to be changed by `adjust`; None: strengths stay.

    Raises:
        WeightsError: keys of a file match no parameter; names them and the model that the file is
            probably for.
    """

    def __init__(
        self,
        loras: Iterable[Lora],
        shapes: Shapes,
        expert: Expert | None = None,
        *,
        strict: bool = False,
        factors: Sequence[float] | None = None,
    ) -> None:
        self._deltas: dict[str, list[_Change]] = {}
        self._shapes = shapes
        self._factors = factors
        self._bases: dict[str, Tensor] = {}  # values without LoRAs, of what `adjust` merges anew
        self._merged: dict[str, nn.Parameter] = {}
        names = layer_names(shapes)
        for number, lora in enumerate(loras):
            if lora.expert and expert is None:
                raise UserError(
                    f"model.loras: {lora.path} is for the {lora.expert}-noise expert, and the "
                    "model has one transformer; leave `expert` out"
                )
            if lora.expert and lora.expert != expert:
                continue
            stored = read_lora(lora.path)
            matched = match_deltas(stored, names, shapes, expert)
            is_for_other = bool(expert and matched.skipped)
            if matched.wrong or (not matched.deltas and not is_for_other):
                raise WeightsError(_mismatch_message(stored, matched))
            report_left_out(f"LoRA {stored.path}", matched.left_out, strict=strict)
            for parameter, deltas in matched.deltas.items():
                changes = self._deltas.setdefault(parameter, [])
                changes += [_Change(number, lora.strength, delta) for delta in deltas]

    def __len__(self) -> int:
        """Number of parameters that have deltas."""
        return len(self._deltas)

    def merged(self, parameter: str, value: Tensor, *, leave_paths: bool = False) -> Tensor:
        """A parameter's value plus its deltas, fp32; the value itself where there are none.

        Args:
            parameter: official name.
            value: as stored.
            leave_paths: leave out what `attach` computes in parallel.

        Raises:
            WeightsError: the result is not finite.
        """
        paths, rest = self._split(parameter)
        if leave_paths and rest and self.adjustable:
            self._bases[parameter] = value.clone()
        return self._sum(parameter, value, rest if leave_paths else [*paths, *rest])

    @property
    def adjustable(self) -> bool:
        """Whether the factors of the strengths may be changed."""
        return self._factors is not None

    def can_adjust(self, *, blocks: bool) -> bool:
        """Whether `adjust` can change all deltas: those that are merged are of small parameters.

        Args:
            blocks: whether parameters inside blocks can be written.
        """
        merged = [name for name in self._deltas if self._split(name)[1]]
        return all(self._is_rewritable(name, blocks=blocks) for name in merged)

    @torch.no_grad()
    def attach(self, model: WanModel, device: torch.device | None = None) -> None:
        """Attach paths to the matrices of a model that was loaded with `leave_paths`.

        Args:
            model: on its device, its blocks in 8 bits or not.
            device: where it computes, if blocks are streamed there when they are needed.
        """
        layers, parameters = dict(model.named_modules()), dict(model.named_parameters())
        self._merged = {name: parameters[name] for name in self._bases}
        for parameter in self._deltas:
            paths, _ = self._split(parameter)
            if not paths:
                continue
            name = parameter.removesuffix(".weight")
            parent, _, child = name.rpartition(".")
            layer = layers[name]
            assert isinstance(layer, nn.Linear | QuantizedLinear), name
            wanted = [
                (change.lora, change.strength, path)
                for change in paths
                if (path := path_of(change.delta))
            ]
            setattr(layers[parent], child, LoraLinear(layer, wanted, device, self._factors))
        # the paths are in the layers now, and their tensors need not stay in memory twice
        self._deltas = {name: self._split(name)[1] for name in self._merged}

    @torch.no_grad()
    def adjust(self, model: WanModel, factors: Sequence[float]) -> None:
        """Change the factors of the strengths, without reading any weights.

        Args:
            model: that the LoRAs are attached to.
            factors: one for each LoRA.

        Raises:
            WeightsError: a parameter is not finite with them.
        """
        assert self.adjustable
        self._factors = factors
        for layer in model.modules():
            if isinstance(layer, LoraLinear):
                layer.set_factors(factors)
        for name, parameter in self._merged.items():
            base, (_, rest) = self._bases[name].to(parameter.device), self._split(name)
            parameter.copy_(self._sum(name, base, rest))

    def _sum(self, parameter: str, value: Tensor, changes: Sequence[_Change]) -> Tensor:
        """A value plus changes at their strengths, fp32; the value itself where there are none."""
        if not changes:
            return value
        base = value.float()
        total = base.clone()
        for change in changes:
            factor = 1.0 if self._factors is None else self._factors[change.lora]
            total += change.delta.change(base) * (change.strength * factor)
        if not is_finite(total):
            raise WeightsError(
                f"LoRA: {parameter} leaves the range of fp32 with it; lower its strength or take "
                "another file"
            )
        return total

    def _is_rewritable(self, parameter: str, *, blocks: bool) -> bool:
        """Whether a parameter is small, and of no matrix of a block, which may be in 8 bits."""
        shape, inside = self._shapes[parameter], parameter.startswith(("blocks.", "vace_blocks."))
        is_matrix = len(shape) == 2 and parameter.endswith(".weight")
        return (blocks and not is_matrix if inside else True) and math.prod(shape) <= MAX_REWRITTEN

    def _split(self, parameter: str) -> tuple[list[_Change], list[_Change]]:
        """The changes that can run in parallel to a linear layer, and the others."""
        changes = self._deltas.get(parameter, [])
        if not parameter.endswith(".weight") or len(self._shapes.get(parameter, ())) != 2:
            return [], changes
        paths = [change for change in changes if path_of(change.delta)]
        return paths, [change for change in changes if not path_of(change.delta)]


def _mismatch_message(stored: StoredLora, matched: Matched) -> str:
    wrong = [*matched.wrong, *(key for keys in matched.left_out.values() for key in keys)]
    fitting = len(matched.deltas)
    if not matched.wrong and matched.left_out:
        parts = ", ".join(matched.left_out)
        return (
            f"LoRA {stored.path}: all of its {len(wrong)} layers are of {parts}, which this "
            "transformer lacks; take a LoRA for this model"
        )
    more = ", ..." if len(wrong) > NAMES_SHOWN else ""
    named = ", ".join(_kinds_first(wrong)[:NAMES_SHOWN])
    what = f"{len(wrong)} keys fit nothing in the model ({named}{more})" if wrong else "no key fits"
    return f"LoRA {stored.path}: {what}, {fitting} fit; {likely_model(stored.tensors)}"


def _kinds_first(wrong: Sequence[str]) -> list[str]:
    """Keys with a reason before those without."""
    return sorted(wrong, key=lambda text: "(" not in text)
