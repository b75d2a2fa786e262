"""The VAEs that are compared, and how each reconstructs a video."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.fingerprint import vae_hash
from wanctl.checkpoint.load import load_vae
from wanctl.checkpoint.tiny_decoder import is_tiny_decoder, load_tiny_decoder
from wanctl.model.shapes import PixelShape, fits_unchunked
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder

# Sides that the VAEs of both versions take, so that a second VAE sees the pixels of the first.
COMMON_MULTIPLE = 16


@dataclass(frozen=True)
class NamedVAE:
    """One VAE of the comparison.

    Attributes:
        name: as the user wrote it, unique.
        ref: with which `load_network` loads it again.
        vae: on the CPU.
        key: hash of its weights.
        decoder_ref: of a tiny decoder that takes the place of the VAE's own; None: it has its own.
    """

    name: str
    ref: str
    vae: "WanVAE | TinyDecodedVAE"
    key: str
    decoder_ref: str | None = None

    @property
    def num_parameters(self) -> int:
        """Number of the weights that encode and decode."""
        return sum(parameter.numel() for parameter in self.vae.parameters())


class TinyDecodedVAE(nn.Module):
    """The encoder of a VAE and a tiny decoder, called as a VAE.

    Args:
        vae: its decoder is not used.
        decoder: of latents of this VAE.
    """

    def __init__(self, vae: WanVAE, decoder: TinyDecoder) -> None:
        super().__init__()
        self.shape = vae.shape
        self.temporal_stride, self.spatial_stride = vae.temporal_stride, vae.spatial_stride
        self.encoder, self.conv1, self.decoder = vae.encoder, vae.conv1, decoder
        self._vae = [vae]  # in a list, so that its decoder is no part of this network

    def encode(self, video: Tensor, *, chunked: bool = False) -> Tensor:
        """As `WanVAE.encode`."""
        return self._vae[0].encode(video, chunked=chunked)

    def decode(self, latents: Tensor, *, chunked: bool = False) -> Tensor:
        """As `WanVAE.decode`."""
        if chunked:
            return torch.cat(list(self.decoder.decode_frames(latents)), dim=2)
        return self.decoder.decode(latents)


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

    A tiny decoder is paired with the encoder of the first VAE whose latents have its sizes.

    Raises:
        WeightsError: one cannot be loaded, two are the same, or a tiny decoder has no VAE.
    """
    tiny = [name for name in refs if is_tiny_decoder(name)]
    own = {name: _load(name, dtype) for name in refs if name not in tiny}
    vaes = [own.get(name) or _load_tiny(name, own.values(), dtype) for name in refs]
    for key, count in Counter(each.key for each in vaes).items():
        if count > 1:
            same = [each.name for each in vaes if each.key == key]
            raise WeightsError(f"{' and '.join(same)}: the same VAE {count} times; name each once")
    return vaes


def load_network(
    ref: str, decoder_ref: str | None, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> WanVAE | TinyDecodedVAE:
    """Load the network of a `NamedVAE`.

    Raises:
        WeightsError: it cannot be loaded.
    """
    vae = load_vae(ref, dtype=dtype, device=device).requires_grad_(False)
    if decoder_ref is None:
        return vae
    decoder = load_tiny_decoder(Path(decoder_ref).expanduser(), dtype=dtype, device=device)
    return TinyDecodedVAE(vae, decoder.requires_grad_(False))


def common_multiple(vaes: Sequence[NamedVAE]) -> int:
    """Pixels that both sides have to be multiples of."""
    return math.lcm(COMMON_MULTIPLE, *(each.vae.spatial_stride for each in vaes))


@torch.inference_mode()
def reconstruct(
    vae: WanVAE | TinyDecodedVAE, video: Tensor, options: CodingOptions
) -> tuple[Tensor, Tensor]:
    """Normalised latents (C, T, Y, X) and the reconstruction of a video (3, T, H, W) in [-1, 1].

    Both float32 on the options' device; the posterior's mean is decoded.
    """
    chunked = options.in_chunks(PixelShape(*video.shape[1:]))
    latents = vae.encode(video[None].to(options.device), chunked=chunked)
    decoded = vae.decode(latents, chunked=chunked)
    return latents[0], decoded[0].float()


def _load(name: str, dtype: torch.dtype) -> NamedVAE:
    root = str(find_components(name).root)
    vae = load_vae(name, dtype=dtype).requires_grad_(False)
    return NamedVAE(name.rstrip("/") or name, root, vae, vae_hash(vae))


def _load_tiny(name: str, vaes: Iterable[NamedVAE], dtype: torch.dtype) -> NamedVAE:
    """A tiny decoder with the encoder of the first VAE that it fits."""
    path = Path(name).expanduser()
    decoder = load_tiny_decoder(path, dtype=dtype).requires_grad_(False)
    wanted = (decoder.shape.z_dim, decoder.shape.temporal_stride, decoder.shape.spatial_stride)
    for other in vaes:
        vae = other.vae
        if isinstance(vae, WanVAE) and wanted == (
            vae.shape.z_dim, vae.temporal_stride, vae.spatial_stride,
        ):  # fmt: skip
            digest = hashlib.sha256(other.key.encode())
            for key, tensor in sorted(decoder.state_dict().items()):
                digest.update(key.encode() + tensor.float().numpy().tobytes())
            network = TinyDecodedVAE(vae, decoder)
            return NamedVAE(name, other.ref, network, digest.hexdigest()[:12], str(path))
    raise WeightsError(
        f"{name}: is a tiny decoder of latents with {wanted[0]} channels at 1/{wanted[1]} of the "
        f"frames and 1/{wanted[2]} of the sides; name its VAE as well, whose encoder it needs"
    )
