"""AdamW with moments in 8 bits (arXiv 2110.02861), by torchao.

torchao keeps a moment of at least 4,096 values as codes of 8 bits, a scale for each block of 256
and the table of the values that the codes mean; smaller ones stay in fp32.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class EagerOnCPU(torch.optim.Optimizer):
    """Runs a step without the compiler where the parameters are on the CPU.

    torchao compiles the step of each shape of parameter: seconds with CUDA, over a minute for the
    first shape on a CPU.
    """

    def step(self, closure: None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do the step of the optimizer."""
        on_cpu = self.param_groups[0]["params"][0].device.type == "cpu"
        with torch.compiler.set_stance("force_eager" if on_cpu else "default"):
            return super().step(closure)


def adamw8bit_class() -> type[torch.optim.Optimizer]:
    """AdamW8bit of torchao; imports it, which takes five seconds."""
    cls = importlib.import_module("torchao.optim").AdamW8bit
    return type("AdamW8bit", (EagerOnCPU, cls), {})


def moment_parts(value: Tensor) -> dict[str, Tensor]:
    """The plain tensors of a moment: codes (uint8), scales and the values of the codes (fp32)."""
    names, _ = value.__tensor_flatten__()  # pyright: ignore[reportAttributeAccessIssue]
    return {name: getattr(value, name) for name in names}


def joined_moment(parts: Mapping[str, Tensor], parameter: Tensor) -> Tensor:
    """The moment of a parameter from its parts, on the device of the parameter."""
    parts = {name: part.to(parameter.device) for name, part in parts.items()}
    signed = bool(parts["qmap"].min() < 0)
    cls = importlib.import_module("torchao.optim.subclass_8bit").OptimState8bit
    return cls(parts["codes"], parts["scale"], parts["qmap"], signed, dtype=parameter.dtype)
