"""Apply LoRAs to a transformer, several at once, each with a strength.

They are either merged into the weights while these are read, before they are rounded to the model's
dtype, or attached as a low-rank path in parallel to each matrix, which 8-bit weights need. Both
give the same outputs.

Shapes: O outputs, I inputs, R the ranks of all LoRAs of a layer together.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.lora.files import (
    DenseDelta,
    LowRankDelta,
    Shapes,
    StoredLora,
    WeightDelta,
    layer_names,
    match_deltas,
    read_lora,
)
from wanctl.errors import UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import LOW, VARIANTS, DiTShape, Expert
from wanctl.runtime.quantize import QuantizedLinear

NAMES_SHOWN = 3


@dataclass(frozen=True)
class Lora:
    """A LoRA file and its strength.

    Attributes:
        path: a `.safetensors` file, or PEFT's folder.
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

    Raises:
        WeightsError: keys of a file match no parameter; names them and the model that the file is
            probably for.
    """

    def __init__(self, loras: Iterable[Lora], shapes: Shapes, expert: Expert | None = None) -> None:
        self._deltas: dict[str, list[tuple[float, WeightDelta]]] = defaultdict(list)
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
            deltas, wrong = match_deltas(stored, names, shapes, low=expert == LOW)
            if wrong or (not deltas and not _is_for_other_expert(stored, expert)):
                raise WeightsError(_mismatch_message(stored, len(deltas), wrong))
            for parameter, delta in deltas.items():
                self._deltas[parameter].append((lora.strength, delta))

    def __len__(self) -> int:
        """Number of parameters that have deltas."""
        return len(self._deltas)

    def __contains__(self, parameter: str) -> bool:
        return parameter in self._deltas

    def merged(self, parameter: str, value: Tensor) -> Tensor:
        """A parameter's value plus its deltas, fp32; the value itself where there are none."""
        if parameter not in self._deltas:
            return value
        total = value.float().clone()
        for strength, delta in self._deltas[parameter]:
            total += _delta(delta, total.device).reshape(total.shape) * (strength * delta.scale)
        return total

    @torch.no_grad()
    def attach(self, model: WanModel, device: torch.device | None = None) -> None:
        """Attach low-rank paths to the model's matrices; other parameters are changed in place.

        Args:
            model: on its device, its blocks in 8 bits or not.
            device: where it computes, if blocks are streamed there when they are needed.

        Raises:
            WeightsError: a dense delta of a matrix that is stored in 8 bits.
        """
        layers = dict(model.named_modules())
        for parameter in self._deltas:
            name, _, kind = parameter.rpartition(".")
            layer = layers[name]
            narrow = [(s, c) for s, c in self._deltas[parameter] if isinstance(c, LowRankDelta)]
            if kind == "weight" and isinstance(layer, nn.Linear | QuantizedLinear) and narrow:
                parent, _, child = name.rpartition(".")
                setattr(layers[parent], child, LoraLinear(layer, narrow, device))
                rest = [(s, c) for s, c in self._deltas[parameter] if isinstance(c, DenseDelta)]
            else:
                rest = self._deltas[parameter]
            if not rest:
                continue
            if kind == "weight" and isinstance(layer, QuantizedLinear):
                raise WeightsError(
                    f"LoRA: changes {parameter} in full, which weights in 8 bits cannot take; set "
                    "model.quantize to null"
                )
            value = getattr(layer, kind)
            for strength, delta in rest:
                value += (_delta(delta, value.device) * (strength * delta.scale)).reshape(
                    value.shape
                )


class LoraLinear(nn.Module):
    """A linear layer and a low-rank path in parallel to it.

    Args:
        base: the layer, quantised or not.
        paths: (strength, delta) of each LoRA.
        device: where it computes; None for the device of the layer.
    """

    def __init__(
        self,
        base: nn.Linear | QuantizedLinear,
        paths: Sequence[tuple[float, LowRankDelta]],
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        like = base.bias
        down_RI = torch.cat([c.down.flatten(1).float() for _, c in paths])
        up_OR = torch.cat([c.up.flatten(1).float() * (s * c.scale) for s, c in paths], dim=1)
        device = device or like.device
        self.register_buffer("down", down_RI.to(device, like.dtype))
        self.register_buffer("up", up_OR.to(device, like.dtype))

    @property
    def weight(self) -> Tensor:
        """Weight of the base layer; the runtime reads its dtype."""
        return self.base.weight

    @property
    def bias(self) -> Tensor:
        """Bias of the base layer."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return self.base(x) + F.linear(F.linear(x.to(self.down.dtype), self.down), self.up)

    down: Tensor
    up: Tensor


def parameter_shapes(model: WanModel) -> dict[str, tuple[int, ...]]:
    """Name -> shape of a model's parameters, without the scales of 8-bit weights."""
    state = model.state_dict()
    return {n: tuple(tensor.shape) for n, tensor in state.items() if not n.endswith(".scale")}


def _delta(delta: WeightDelta, device: torch.device) -> Tensor:
    """The delta as a dense tensor, fp32, before its scale."""
    if isinstance(delta, DenseDelta):
        return delta.value.to(device).float()
    return delta.up.flatten(1).to(device).float() @ delta.down.flatten(1).to(device).float()


def _is_for_other_expert(stored: StoredLora, expert: Expert | None) -> bool:
    """Whether a file has keys for the low-noise expert, so that none need be for this one."""
    return expert is not None and any(low for low, _ in stored.layers)


def _mismatch_message(stored: StoredLora, matched: int, wrong: Sequence[str]) -> str:
    more = ", ..." if len(wrong) > NAMES_SHOWN else ""
    named = ", ".join(wrong[:NAMES_SHOWN])
    what = f"{len(wrong)} keys fit nothing in the model ({named}{more})" if wrong else "no key fits"
    return f"LoRA {stored.path}: {what}, {matched} fit; {_likely_model(stored.layers)}"


def _likely_model(layers: Mapping[tuple[bool, str], Mapping[str, Tensor]]) -> str:
    """Which model a file was probably made for, by its widths and layer names."""
    by_name = {name.replace(".", "_"): parts for (_, name), parts in layers.items()}
    widths = {
        parts["down"].shape[1]
        for name, parts in by_name.items()
        if name.startswith(("blocks_", "vace_blocks_"))
        and name.endswith(("attn_q", "attn1_to_q"))
        and "down" in parts
    }
    if len(widths) != 1:
        return "it does not seem to be for a Wan transformer"
    width = widths.pop()
    numbers = [int(n.split("_")[1]) for n in by_name if n.startswith("blocks_")]
    depth = 1 + max(numbers, default=0)
    image = any(name.endswith(("k_img", "add_k_proj")) for name in by_name)
    control = any(name.startswith("vace_") for name in by_name)
    fitting = [v.name for v in VARIANTS.values() if _could_be(v.dit, width, depth, image, control)]
    sizes = f"width {width}, {depth} blocks{', image branch' * image}{', VACE' * control}"
    known = ", ".join(fitting) or "no variant known here"
    return f"it seems to be for {known} ({sizes})"


def _could_be(shape: DiTShape, width: int, depth: int, image: bool, control: bool) -> bool:
    return (
        shape.dim == width
        and shape.num_layers >= depth
        and (bool(shape.image_dim) or not image)
        and (bool(shape.vace_layers) or not control)
    )
