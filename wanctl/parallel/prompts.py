"""A batch divided between processes: guidance's two prompts side by side.

Shapes: B batch.
"""

from typing import Any

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Model
from wanctl.parallel.mesh import Axis
from wanctl.parallel.tokens import gather


class DividedBatch:
    """A model whose batches are divided between the processes of an axis.

    A batch that does not divide, such as the single prompt of guide scale 1, is worked on by all
    alike. Each item is computed as it would be alone, so the results are those of one process.

    Args:
        model: what each process calls.
        axis: the processes.
    """

    divides_batches = True

    def __init__(self, model: Model, axis: Axis) -> None:
        self._model = model
        self._axis = axis

    def __call__(self, x: Tensor, timesteps: Tensor, context: Tensor, **more: Any) -> Tensor:
        """Velocity of the whole batch, on every process."""
        batch, parts = len(x), self._axis.size
        if batch % parts:
            return self._model(x, timesteps, context, **more)
        size = batch // parts
        mine = slice(self._axis.index * size, (self._axis.index + 1) * size)

        def part(value: Any) -> Any:
            return value[mine] if isinstance(value, Tensor) and len(value) == batch else value

        v = self._model(
            x[mine],
            part(timesteps),
            context[mine],
            **{key: part(each) for key, each in more.items()},
        )
        return torch.cat(gather(v, self._axis, [size] * parts, dim=0))
