"""Apply LoRAs to a transformer, several at once, each with a strength.

They are merged into the weights while these are read, in fp32, before they are rounded to the
model's dtype. Weights in 8 bits cannot hold a small change, so what can be computed in parallel to
a matrix is attached there instead (`linear.py`); both give the same outputs.
"""

from collections import defaultdict
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


class Loras:
    """The weight deltas of all LoRA files for one transformer.

    Args:
        loras: the files; those for the other expert are skipped.
        shapes: of the transformer's parameters, by official name.
        expert: which of two transformers it is; None where there is one.
        strict: refuse files with keys for parts that the model lacks, which else are left out with
            a warning.

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
    ) -> None:
        self._deltas: dict[str, list[tuple[float, WeightDelta]]] = defaultdict(list)
        self._shapes = shapes
        names = layer_names(shapes)
        for lora in loras:
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
                self._deltas[parameter] += [(lora.strength, delta) for delta in deltas]

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
        deltas = rest if leave_paths else [*paths, *rest]
        if not deltas:
            return value
        base = value.float()
        total = base.clone()
        for strength, delta in deltas:
            total += delta.change(base) * strength
        if not is_finite(total):
            raise WeightsError(
                f"LoRA: {parameter} leaves the range of fp32 with it; lower its strength or take "
                "another file"
            )
        return total

    @torch.no_grad()
    def attach(self, model: WanModel, device: torch.device | None = None) -> None:
        """Attach paths to the matrices of a model that was loaded with `leave_paths`.

        Args:
            model: on its device, its blocks in 8 bits or not.
            device: where it computes, if blocks are streamed there when they are needed.
        """
        layers = dict(model.named_modules())
        for parameter in self._deltas:
            paths, _ = self._split(parameter)
            if not paths:
                continue
            name = parameter.removesuffix(".weight")
            parent, _, child = name.rpartition(".")
            layer = layers[name]
            assert isinstance(layer, nn.Linear | QuantizedLinear), name
            wanted = [(strength, path) for strength, delta in paths if (path := path_of(delta))]
            setattr(layers[parent], child, LoraLinear(layer, wanted, device))

    def _split(
        self, parameter: str
    ) -> tuple[list[tuple[float, WeightDelta]], list[tuple[float, WeightDelta]]]:
        """The deltas that can run in parallel to a linear layer, and the others."""
        deltas = self._deltas.get(parameter, [])
        if not parameter.endswith(".weight") or len(self._shapes.get(parameter, ())) != 2:
            return [], deltas
        paths = [(strength, delta) for strength, delta in deltas if path_of(delta)]
        return paths, [(strength, delta) for strength, delta in deltas if not path_of(delta)]


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
