"""VACE: a second row of blocks turns control video into hints for the main blocks.

Parameter names are the published ones; `vace_blocks.M` belongs to the M-th of `vace_layers`.

Shapes: B batch, G groups of M tokens, D width.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from wanctl.model.dit.blocks import Block
from wanctl.model.dit.context import Context, KeysValues
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.rope import RopeTable
from wanctl.model.variants import DiTShape


class VaceBlock(Block):
    """A transformer block on the control stream and the projection that makes a hint of it."""

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
) -> list[Tensor]:
    """What each control block adds to its main block's output, before the strength.

    Args:
        blocks: `VaceBlock`s.
        control_BGMD: embedded patches of the control.
        x_BGMD: embedded patches of the noisy latents, the input of the first main block.
        e6_BG6D: as the main blocks get it.
        contexts: what each block looks at.
        rope: as the main blocks get it.
    """
    found = []
    c_BGMD = control_BGMD
    for block, context in zip(blocks, contexts, strict=True):
        assert isinstance(block, VaceBlock)
        if block.before_proj is not None:
            dtype = block.before_proj.weight.dtype
            c_BGMD = x_BGMD + block.before_proj(c_BGMD.to(dtype))
        c_BGMD = block(c_BGMD, e6_BG6D, context, rope)
        found.append(block.after_proj(c_BGMD.to(block.after_proj.weight.dtype)))
    return found
