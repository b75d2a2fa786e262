"""Free a tensor between the forward and the backward pass, and recompute it there.

Half of what a block's backward pass needs are results of pointwise operations on tensors that it
keeps anyway: norms, rotated queries and keys, GELU. Their memory is freed once the operation that
reads them has run, and filled again just before that operation's backward pass. Unlike
`torch.utils.checkpoint` it repeats no matrix product and wraps no module, so that an adapter in a
layer's place is covered too. Not for use inside a checkpointed function.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def free_until_backward(
    value: Tensor, recompute: Callable[[], Tensor], users: Sequence[Tensor]
) -> None:
    """Free the memory of `value` until gradients reach one of `users`.

    Args:
        value: result of `recompute`, in memory of its own; not read any more but by the backward
            passes of the users.
        recompute: computes the same value again from tensors that stay in memory.
        users: all tensors that were computed from `value`. Where none requires a gradient, nothing
            keeps `value` and nothing is done.
    """
    users = [user for user in users if user.requires_grad]
    if not users or not torch.is_grad_enabled():
        return
    storage, size = value.untyped_storage(), value.untyped_storage().nbytes()
    assert size == value.nbytes, "the tensor shares its memory"
    # `data` has a version of its own: autograd takes a write through `value` for a change of it
    pending = [(value.data, recompute)]

    def refill(_: Tensor) -> None:
        if pending:
            data, function = pending.pop()
            data.untyped_storage().resize_(size)
            with torch.no_grad():
                data.copy_(function())

    for user in users:
        user.register_hook(refill)
    storage.resize_(0)
