"""The VAEs that are compared, and how each reconstructs a video."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import vae_hash
from wanctl.checkpoint.load import load_vae
from wanctl.model.shapes import PixelShape, fits_unchunked
from wanctl.model.vae.autoencoder import WanVAE

# Sides that the VAEs of both versions take, so that a second VAE sees the pixels of the first.
COMMON_MULTIPLE = 16


@dataclass(frozen=True)
class NamedVAE:
    """One VAE of the comparison.

    Attributes:
        name: as the user wrote it, unique.
        ref: with which `load_vae` loads it again.
        vae: on the CPU.
        key: hash of its weights.
    """

    name: str
    ref: str
    vae: WanVAE
    key: str

    @property
    def num_parameters(self) -> int:
        """Number of its weights."""
        return sum(parameter.numel() for parameter in self.vae.parameters())


@dataclass(frozen=True)
class CodingOptions:
    """How videos are encoded and decoded.

    Attributes:
        device: where the VAEs run.
        dtype: of their weights and activations.
        chunked: encode and decode piece by piece; None: where the video is large, as
            `wanctl train-dit` does when it fills the cache of latents.
    """

    device: torch.device
    dtype: torch.dtype
    chunked: bool | None

    def in_chunks(self, video: PixelShape) -> bool:
        """Whether a video is coded piece by piece."""
        return not fits_unchunked(video) if self.chunked is None else self.chunked


def load_vaes(refs: Sequence[str], dtype: torch.dtype) -> list[NamedVAE]:
    """Load all VAEs; each has to be whole and finite.

    Raises:
        WeightsError: one cannot be loaded, or two are the same.
    """
    vaes: list[NamedVAE] = []
    for name in refs:
        components = find_components(name)
        vae = load_vae(components, dtype=dtype).requires_grad_(False)
        vaes.append(NamedVAE(name.rstrip("/") or name, str(components.root), vae, vae_hash(vae)))
    for key, count in Counter(each.key for each in vaes).items():
        if count > 1:
            same = [each.name for each in vaes if each.key == key]
            raise WeightsError(f"{' and '.join(same)}: the same VAE {count} times; name each once")
    return vaes


def common_multiple(vaes: Sequence[NamedVAE]) -> int:
    """Pixels that both sides have to be multiples of."""
    return math.lcm(COMMON_MULTIPLE, *(each.vae.spatial_stride for each in vaes))


@torch.inference_mode()
def reconstruct(vae: WanVAE, video: Tensor, options: CodingOptions) -> tuple[Tensor, Tensor]:
    """Normalised latents (C, T, Y, X) and the reconstruction of a video (3, T, H, W) in [-1, 1].

    Both float32 on the options' device; the posterior's mean is decoded.
    """
    chunked = options.in_chunks(PixelShape(*video.shape[1:]))
    latents = vae.encode(video[None].to(options.device), chunked=chunked)
    decoded = vae.decode(latents, chunked=chunked)
    return latents[0], decoded[0].float()
