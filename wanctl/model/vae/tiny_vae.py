"""A tiny decoder, with a tiny encoder or without one, called as a `WanVAE` where outputs are made.

Shape suffixes as in autoencoder.py.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import check_video_size
from wanctl.model.vae.ops.norm import wide
from wanctl.model.vae.tiny_decoder import Memory, TinyDecoder, TinyDecoderShape
from wanctl.model.vae.tiny_encoder import TinyEncoder
from wanctl.model.variants import VAEShape


class NoEncoderError(UserError):
    """A task encodes its inputs, and the file of the tiny VAE holds a decoder alone."""


def tiny_vae_shape(
    sizes: TinyDecoderShape, statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
) -> VAEShape:
    """The sizes that outputs and estimates need, in the terms of a VAE.

    Args:
        sizes: of the decoder.
        statistics: per-channel mean and standard deviation of the latents that the networks work
            with; None: these are the normalised latents of the transformer.
    """
    mean, std = statistics or ((0.0,) * sizes.z_dim, (1.0,) * sizes.z_dim)
    return VAEShape(
        dim=sizes.widths[-1],
        z_dim=sizes.z_dim,
        dim_mult=(1,) * (1 + sum(factor > 1 for factor in sizes.space)),
        num_res_blocks=1,
        temporal_downsample=tuple(factor > 1 for factor in sizes.time),
        latent_mean=mean,
        latent_std=std,
        patch=sizes.patch,
    )


class TinyVAE(nn.Module):
    """Tiny networks in the place of a VAE.

    Args:
        decoder: latents to video.
        encoder: video to latents of the same form; None: there is none.
        shape: from `tiny_vae_shape`.
    """

    def __init__(self, decoder: TinyDecoder, encoder: TinyEncoder | None, shape: VAEShape) -> None:
        super().__init__()
        self.decoder, self.encoder = decoder, encoder
        self.shape = shape
        self.temporal_stride = shape.temporal_stride
        self.spatial_stride = shape.spatial_stride

    def encode(self, video: Tensor, *, chunked: bool = False) -> Tensor:
        """Normalised latents (B, Z, (T-1)/4+1, Y, X), float32.

        Args:
            video: in [-1, 1], T = 4n+1; its last frame is repeated, because the network joins
                groups of 4.
            chunked: encode a group at a time; memory then does not grow with T.

        Raises:
            NoEncoderError: there is no encoder.
            VideoSizeError: the video would lose frames or pixels.
        """
        if self.encoder is None:
            raise NoEncoderError(
                "model.vae_weights: the tiny VAE has no encoder, and this task encodes pictures or "
                "a video; name a file with both, or the VAE itself"
            )
        stride = self.temporal_stride
        check_video_size(video, stride, self.spatial_stride)
        last = video[:, :, -1:].expand(-1, -1, stride - 1, -1, -1)
        padded = torch.cat([video, last], dim=2)
        memory = Memory() if chunked else None
        groups = padded.split(stride, dim=2) if chunked else (padded,)
        latents = torch.cat([self.encoder(group, memory) for group in groups], dim=2)
        return (wide(latents) - self._per_channel(self.shape.latent_mean)) / self._per_channel(
            self.shape.latent_std
        )

    def decode(self, latents: Tensor) -> Tensor:
        """Decode normalised latents to (B, 3, 4(T-1)+1, H, W) in [-1, 1]."""
        return self.decoder.decode(self._scaled(latents))

    def decode_frames(self, latents: Tensor, *, latent_frames: int = 1) -> Iterator[Tensor]:
        """Decode piece by piece at constant memory, as `WanVAE.decode_frames`."""
        return self.decoder.decode_frames(self._scaled(latents), latent_frames=latent_frames)

    def _scaled(self, latents: Tensor) -> Tensor:
        """Normalised latents as the networks take them."""
        return wide(latents) * self._per_channel(self.shape.latent_std) + self._per_channel(
            self.shape.latent_mean
        )

    def _per_channel(self, values: tuple[float, ...]) -> Tensor:
        device = next(self.parameters()).device
        return torch.tensor(values, device=device).view(1, -1, 1, 1, 1)
