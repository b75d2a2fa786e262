"""Checkpointed blocks: the backward pass computes a block once more instead of keeping its results.

- `pointwise`: norms, rotations and GELU only, see `wanctl/model/dit/recompute.py`;
- `selective`: a block but for its attentions, whose results are kept (arXiv 2205.05198, section 5);
- `full`: a block; only its input is kept.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from wanctl.model.dit.blocks import Block
from wanctl.model.dit.transformer import WanModel
from wanctl.runtime.streaming import recomputing

aten = torch.ops.aten
# Each kernel that `scaled_dot_product_attention` may choose.
ATTENTION = frozenset(
    {
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
    }
)

# Whether offloading sees what selective checkpointing keeps.
_HOOKED = "respect_saved_tensors_hooks"
_MORE: dict[str, Any] = {_HOOKED: True} if _HOOKED in signature(checkpoint).parameters else {}

Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]
"""Entered around a block in the forward pass, and around its recomputation."""


def training_blocks(model: WanModel) -> list[Block]:
    """All blocks in the order in which they run: those of VACE's control, then the main ones."""
    blocks = [*getattr(model, "vace_blocks", ()), *model.blocks]
    assert all(isinstance(block, Block) for block in blocks)
    return blocks


def checkpoint_blocks(model: WanModel, mode: str, every: int = 1) -> None:
    """Set what the blocks recompute, in place; gradients are bit-equal on the CPU.

    Args:
        model: of any shape; streamed blocks (`wanctl/runtime/streaming.py`) are all checkpointed.
        mode: a row of CHECKPOINTING.
        every: of so many consecutive blocks the first is checkpointed by `selective` or `full`;
            the others are as `pointwise`.
    """
    blocks = training_blocks(model)
    checkpointed = frozenset(blocks[::every] if mode in ("selective", "full") else ())
    for block in blocks:
        block.recompute_pointwise = mode != "none" and block not in checkpointed
    contexts = partial(_contexts, selective=mode == "selective")
    model.run_block = partial(_run, checkpointed, contexts) if checkpointed else None


def _run(
    checkpointed: Collection[nn.Module],
    contexts: Callable[[], Contexts],
    block: nn.Module,
    *args: Any,
) -> Tensor:
    """The model's `run_block`."""
    if block not in checkpointed or not torch.is_grad_enabled():
        return block(*args)
    result = checkpoint(block, *args, use_reentrant=False, context_fn=contexts, **_MORE)
    assert isinstance(result, Tensor)
    return result


def _contexts(*, selective: bool) -> Contexts:
    """Those of one block; `selective` keeps the results of attention."""
    if not selective:
        return nullcontext(), recomputing()
    forward, backward = create_selective_checkpoint_contexts(_policy)
    return forward, _both(backward, recomputing())


@contextmanager
def _both(*managers: AbstractContextManager[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield


def _policy(_context: Any, operation: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    kept = operation in ATTENTION
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
