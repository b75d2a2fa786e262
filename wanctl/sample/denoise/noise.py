"""The noise of a batch: each output draws its own, whatever shares the batch with it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wanctl.distributed.context import DistributedContext
from wanctl.sample.request import SampleRequest


class BatchNoise:
    """Noise of the outputs of a batch, each from a generator that its own seed begins.

    The first draw is the initial noise, and stochastic solvers draw one more for each step, as the
    published samplers do: an output's noise depends on its seed and on the step alone.

    Args:
        requests: the batch.
        shape: (C, T, Y, X) of the noise of one output.
        distributed: the main process draws for all, and it goes to their device.
        dropped: latent frames that are drawn after those of `shape` and not used.
    """

    def __init__(
        self,
        requests: Sequence[SampleRequest],
        shape: tuple[int, int, int, int],
        distributed: DistributedContext,
        dropped: int = 0,
    ) -> None:
        self._shape = shape
        self._dropped = dropped
        self._distributed = distributed
        self._requests = requests
        self._generators: list[torch.Generator] = []

    def draw(self) -> Tensor:
        """(B, C, T, Y, X) fp32, standard normal; other numbers at every call."""
        noise = self._distributed.broadcast_from_main(self._draw_all)
        return noise.to(self._distributed.device)

    def skip(self, draws: int) -> None:
        """Draw so many times and drop what was drawn."""
        for _ in range(draws):
            self.draw()

    def _draw_all(self) -> Tensor:
        """Drawn without the batch dimension, as the official code does; on the CPU."""
        if not self._generators:
            self._generators = [
                torch.Generator(request.noise_device).manual_seed(request.seed)
                for request in self._requests
            ]
        return torch.stack([self._normal(generator).cpu() for generator in self._generators])

    def _normal(self, generator: torch.Generator) -> Tensor:
        channels, frames, *sides = self._shape
        drawn = (channels, frames + self._dropped, *sides)
        device = generator.device
        noise = torch.randn(drawn, generator=generator, device=device, dtype=torch.float32)
        return noise[:, :frames]
