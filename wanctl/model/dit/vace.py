"""VACE: a second stack of blocks turns a control video into hints for the main blocks.

Parameter names are the published ones; `vace_blocks.M` belongs to the M-th of `vace_layers`.

Shapes: B batch, G groups of M tokens, D width.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from wanctl.model.dit.blocks import Block
from wanctl.model.dit.context import Context, KeysValues
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.rope import RopeTable
from wanctl.model.variants import DiTShape

RunBlock = Callable[..., Tensor]
"""Calls (block, *arguments of its forward) -> its result."""


def call(block: nn.Module, *args: Any) -> Tensor:
    """The plain `RunBlock`."""
    return block(*args)


class VaceBlock(Block):
    """A transformer block of the control stream and the projection of its output to a hint."""

    def __init__(self, shape: DiTShape, numerics: Numerics, *, first: bool) -> None:
        super().__init__(shape, numerics)
        self.before_proj = nn.Linear(shape.dim, shape.dim) if first else None
        self.after_proj = nn.Linear(shape.dim, shape.dim)


def hints(
    blocks: nn.ModuleList,
    control_BGMD: Tensor,
    x_BGMD: Tensor,
    e6_BG6D: Tensor,
    contexts: Sequence[Context | KeysValues],
    rope: RopeTable,
    run: RunBlock = call,
) -> list[Tensor]:
    """The hint that each control block adds to its main block's output, not scaled by strength.

    Args:
        blocks: `VaceBlock`s.
        control_BGMD: embedded patches of the control.
        x_BGMD: embedded patches of the noisy latents, the input of the first main block.
        e6_BG6D: projected time embedding, as for the main blocks.
        contexts: the cross-attention context of each block.
        rope: rotary tables, as for the main blocks.
        run: see `WanModel.run_block`.
    """
    outputs = []
    c_BGMD = control_BGMD
    for block, context in zip(blocks, contexts, strict=True):
        assert isinstance(block, VaceBlock)
        if block.before_proj is not None:
            dtype = block.before_proj.weight.dtype
            c_BGMD = x_BGMD + block.before_proj(c_BGMD.to(dtype))
        c_BGMD = run(block, c_BGMD, e6_BG6D, context, rope)
        outputs.append(block.after_proj(c_BGMD.to(block.after_proj.weight.dtype)))
    return outputs
