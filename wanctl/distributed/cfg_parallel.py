"""CFG parallel: each of guidance's two prompts on processes of its own.

Shapes: B batch.
"""

from typing import Any

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Model
from wanctl.distributed.collectives import all_gather
from wanctl.distributed.mesh import Axis


class CFGParallel:
    """A model whose batches are divided between the processes of an axis.

    A batch that does not divide evenly, such as the single prompt of guide scale 1, is computed by
    every process. Each item is computed as it would be alone, so the results are those of one
    process.

    Args:
        model: called by each process with its part of the batch.
        axis: the processes.
    """

    is_cfg_parallel = True

    def __init__(self, model: Model, axis: Axis) -> None:
        self._model = model
        self._axis = axis

    def __call__(self, x: Tensor, timesteps: Tensor, context: Any, **more: Any) -> Tensor:
        """Velocity of the whole batch, on every process.

        Args:
            x: (B, C, T, Y, X) noisy latents.
            timesteps: as the model takes them.
            context: as the model takes it, or from `precompute_cross_attention`.
            more: other inputs of the model; tensors of batch size B are divided.
        """
        batch = len(x)
        others = {key: self._mine(value, batch) for key, value in more.items()}
        # A precomputed context holds this process's prompts already.
        v = self._model(
            self._mine(x, batch), self._mine(timesteps, batch), self._mine(context, batch), **others
        )
        if batch % self._axis.size:
            return v
        return torch.cat(all_gather(v, self._axis, [len(v)] * self._axis.size, dim=0))

    @property
    def can_precompute_cross_attention(self) -> bool:
        """Whether `precompute_cross_attention` may be used; see `WanModel`."""
        return getattr(self._model, "can_precompute_cross_attention", False)

    def precompute_cross_attention(self, context: Tensor, image: Tensor | None = None) -> Any:
        """Keys and values of this process's prompts; see `WanModel.precompute_cross_attention`."""
        batch, model = len(context), self._model
        precompute: Any = getattr(model, "precompute_cross_attention")  # noqa: B009
        return precompute(self._mine(context, batch), self._mine(image, batch))

    def read_face(self, face: Tensor, sides: Any) -> Any:
        """Keys and values of a face, which every process computes; see `FaceModel.read_face`."""
        read: Any = getattr(self._model, "read_face")  # noqa: B009
        return read(face, sides)

    def _mine(self, value: Any, batch: int) -> Any:
        """This process's items of a tensor of batch size `batch`; any other value unchanged."""
        if not isinstance(value, Tensor) or value.shape[:1] != (batch,) or batch % self._axis.size:
            return value
        return value.chunk(self._axis.size)[self._axis.index]
