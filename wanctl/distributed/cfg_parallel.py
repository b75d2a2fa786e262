"""A batch divided between processes: guidance's two prompts side by side.

Shapes: B batch.
"""

from typing import Any

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Model
from wanctl.distributed.context_parallel import all_gather
from wanctl.distributed.mesh import Axis


class CFGParallel:
    """A model whose batches are divided between the processes of an axis.

    A batch that does not divide, such as the single prompt of guide scale 1, is worked on by all
    alike. Each item is computed as it would be alone, so the results are those of one process.

    Args:
        model: what each process calls.
        axis: the processes.
    """

    is_cfg_parallel = True

    def __init__(self, model: Model, axis: Axis) -> None:
        self._model = model
        self._axis = axis

    def __call__(self, x: Tensor, timesteps: Tensor, context: Any, **more: Any) -> Tensor:
        """Velocity of the whole batch, on every process.

        Args:
            x: (B, C, T, Y, X).
            timesteps: as the model takes them.
            context: as the model takes it, or from `precompute_cross_attention`.
            more: tensors of a batch are divided, what else there is goes to all.
        """
        batch = len(x)
        others = {key: self._mine(value, batch) for key, value in more.items()}
        # What was read is this process's already.
        v = self._model(
            self._mine(x, batch), self._mine(timesteps, batch), self._mine(context, batch), **others
        )
        if batch % self._axis.size:
            return v
        return torch.cat(all_gather(v, self._axis, [len(v)] * self._axis.size, dim=0))

    @property
    def can_precompute_cross_attention(self) -> bool:
        """Whether the model does."""
        return getattr(self._model, "can_precompute_cross_attention", False)

    def precompute_cross_attention(self, context: Tensor, image: Tensor | None = None) -> Any:
        """Keys and values of this process's prompts; see `WanModel.precompute_cross_attention`."""
        batch, model = len(context), self._model
        precompute: Any = getattr(model, "precompute_cross_attention")  # noqa: B009
        return precompute(self._mine(context, batch), self._mine(image, batch))

    def _mine(self, value: Any, batch: int) -> Any:
        """This process's items, if `value` is a tensor with one for each of a batch to divide."""
        if not isinstance(value, Tensor) or value.shape[:1] != (batch,) or batch % self._axis.size:
            return value
        return value.chunk(self._axis.size)[self._axis.index]
