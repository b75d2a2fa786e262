"""The video VAE with the rows of its frames divided between processes, exactly.

Each process has some latent rows and their pixels in every frame, so its causal cache in time is
local. A convolution that needs rows beyond these first receives the neighbours' edge rows (the
halo; at the edge of the frame zeros, as its own padding would be), computes, and drops the halo
from its output. Attention inside a frame gathers the keys and values of all rows. The result is
that of one process up to rounding.

The cost, in multiplications: two halo rows per convolution, 7 % of a decode where 8 processes
divide 480 pixel rows (27 % at the latent size, 3 % at the pixels').

Shapes: B batch, C channels, T frames, H/W rows/columns at any level, Z latent channels, Y latent
rows.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.distributed.collectives import all_gather
from wanctl.distributed.mesh import Axis
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.blocks import Attention, Downsample
from wanctl.model.vae.ops.conv import CausalConv3d, UpsampleConv2d

ROWS = -2  # axis of rows in (B, C, T, H, W) and in (N, C, H, W)


class VAERowParallel:
    """A `WanVAE` whose rows are divided between the processes of an axis.

    Args:
        vae: the same weights on every process.
        axis: the processes.
    """

    def __init__(self, vae: WanVAE, axis: Axis) -> None:
        self._vae = vae
        self._axis = axis

    def decode_frames(self, latents: Tensor, *, latent_frames: int = 1) -> Iterator[Tensor]:
        """Decode as `WanVAE.decode_frames` does; every process gets all rows."""
        counts = self._counts(latents.shape[ROWS])
        if counts is None:
            yield from self._vae.decode_frames(latents, latent_frames=latent_frames)
            return
        pixels = [count * self._vae.spatial_stride for count in counts]
        pieces = self._vae.decode_frames(self._mine(latents, counts), latent_frames=latent_frames)
        while True:
            with self._halo_exchange(counts):
                piece = next(pieces, None)
            if piece is None:
                return
            yield torch.cat(all_gather(piece, self._axis, pixels, dim=3), dim=ROWS)

    def encode(self, video: Tensor, *, chunked: bool = False) -> Tensor:
        """Encode as `WanVAE.encode` does; every process gets all rows of the latents."""
        stride = self._vae.spatial_stride
        counts = self._counts(video.shape[ROWS] // stride)
        if counts is None or video.shape[ROWS] % stride:
            return self._vae.encode(video, chunked=chunked)
        mine = self._mine(video, [count * stride for count in counts])
        with self._halo_exchange(counts):
            latents = self._vae.encode(mine, chunked=chunked)
        return torch.cat(all_gather(latents, self._axis, counts, dim=3), dim=ROWS)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the VAE, for its dtype and device."""
        return self._vae.parameters()

    def _counts(self, rows: int) -> list[int] | None:
        """Latent rows of each process; None where there are too few to divide."""
        few, more = divmod(rows, self._axis.size)
        if self._axis.size == 1 or not few:
            return None
        return [few + (i < more) for i in range(self._axis.size)]

    def _mine(self, x: Tensor, counts: list[int]) -> Tensor:
        start, end = list(pairwise(accumulate(counts, initial=0)))[self._axis.index]
        return x.narrow(ROWS, start, end - start)

    @contextmanager
    def _halo_exchange(self, counts: list[int]) -> Iterator[None]:
        """Within this context, layers see the rows of neighbouring processes."""
        axis = self._axis

        def with_neighbours(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            padded = F.pad(inputs[0], (0, 0, 1, 1))  # keeps the memory format, unlike cat
            _exchange_rows(inputs[0], padded[..., :1, :], padded[..., -1:, :], axis)
            return (padded, *inputs[1:])

        def drop_halo(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            border = 2 if isinstance(module, UpsampleConv2d) else 1
            return output.narrow(ROWS, border, output.shape[ROWS] - 2 * border)

        def with_row_below(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            padded = inputs[0]  # its last row holds the zeros below the frame
            _exchange_rows(padded[..., :-1, :], None, padded[..., -1:, :], axis)
            return inputs

        def gather_all_rows(x_N1LC: Tensor) -> Tensor:
            width = x_N1LC.shape[2] // counts[axis.index]
            return torch.cat(all_gather(x_N1LC, axis, [width * n for n in counts], dim=2), dim=2)

        with ExitStack() as hooks:
            for module in self._vae.modules():
                if isinstance(module, UpsampleConv2d) or (
                    isinstance(module, CausalConv3d) and module.kernel_size[1] > 1
                ):
                    hooks.callback(module.register_forward_pre_hook(with_neighbours).remove)
                    hooks.callback(module.register_forward_hook(drop_halo).remove)
                elif isinstance(module, Downsample):
                    conv = module.resample["1"]
                    hooks.callback(conv.register_forward_pre_hook(with_row_below).remove)
                elif isinstance(module, Attention):
                    module.gather_rows = gather_all_rows
                    hooks.callback(setattr, module, "gather_rows", None)
            yield


def _exchange_rows(x: Tensor, above: Tensor | None, below: Tensor | None, axis: Axis) -> None:
    """Fill in the neighbours' edge rows; at the edges of the frame nothing is changed.

    Args:
        x: this process's rows.
        above: receives the last row of the process above; None where no layer needs that row.
        below: receives the first row of the process below; None where no layer needs that row.
        axis: the processes, the top of the frame first.
    """
    here = axis.index
    transfers: list[dist.P2POp] = []
    arrivals: list[tuple[Tensor, Tensor]] = []
    downwards = (above, x[..., -1:, :], here - 1, here + 1)
    upwards = (below, x[..., :1, :], here + 1, here - 1)
    for into, edge, source, target in (downwards, upwards):
        if into is None:
            continue
        row = edge.contiguous()
        if 0 <= target < axis.size:
            transfers.append(dist.P2POp(dist.isend, row, group=axis.group, group_peer=target))
        if 0 <= source < axis.size:
            arrivals.append((into, torch.empty_like(row)))
            landing = arrivals[-1][1]
            transfers.append(dist.P2POp(dist.irecv, landing, group=axis.group, group_peer=source))
    for transfer in dist.batch_isend_irecv(transfers):
        transfer.wait()
    for into, landing in arrivals:
        into.copy_(landing)
