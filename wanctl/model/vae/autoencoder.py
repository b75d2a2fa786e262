"""The Wan video VAE: a causal 3-D autoencoder, 4x in time, 8x (2.1) or 16x (2.2) in space.

Parameter names and module indices are those of the published `Wan2.1_VAE.pth`; the 2.2 encoder and
decoder are in wan22.py. The same layers run a whole clip at once (training) or chunk by chunk with
a `Stream` (constant memory); the two agree to rounding, because every layer is causal and the
stream keeps the frames that the layer saw before.

Shape suffixes: B batch, C channels, T frames, H/W pixels, Z latent channels, Y/X latent rows and
columns. Videos are float in [-1, 1].
"""

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from wanctl.errors import UserError
from wanctl.model.shapes import floor_frames, valid_frames
from wanctl.model.vae.blocks import (
    KERNEL_3D,
    CausalCoder,
    Downsample,
    Residual,
    Upsample,
    middle,
    output_head,
)
from wanctl.model.vae.ops.conv import CausalConv3d, Stream
from wanctl.model.vae.ops.norm import wide
from wanctl.model.vae.wan22 import Decoder22, Encoder22, from_patches, to_patches
from wanctl.model.variants import RGB_CHANNELS, VAEShape


class VideoSizeError(UserError):
    """A video that the VAE cannot encode without losing frames or pixels."""


class VAEStream:
    """What encoder and decoder remember of a clip that is coded in chunks while it trains.

    Args:
        detach: end the gradient of a chunk at its start; memory then does not grow with the clip.
            Otherwise the gradients are those of the whole clip, and so is their memory.
    """

    def __init__(self, *, detach: bool) -> None:
        self.encoder = Stream(detach=detach)
        self.decoder = Stream(detach=detach)


class Encoder(CausalCoder):
    """Video (B, 3, T, H, W) -> mean and log-variance (B, 2Z, T', Y, X), before the last 1x1x1."""

    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        widths = [shape.dim * mult for mult in (1, *shape.dim_mult)]
        self.conv1 = CausalConv3d(RGB_CHANNELS, widths[0], KERNEL_3D)
        layers: list[nn.Module] = []
        for level, (width_in, width) in enumerate(itertools.pairwise(widths)):
            layers.append(Residual(width_in, width))
            layers.extend(Residual(width, width) for _ in range(shape.num_res_blocks - 1))
            if level < len(shape.dim_mult) - 1:
                layers.append(Downsample(width, temporal=shape.temporal_downsample[level]))
        self.downsamples = nn.ModuleList(layers)
        self.middle = middle(widths[-1])
        self.head = output_head(widths[-1], 2 * shape.z_dim)

    def layers(self) -> Iterable[nn.Module]:
        """The layers in the order in which they run."""
        return (*self.downsamples, *self.middle)


class Decoder(CausalCoder):
    """Latents (B, Z, T, Y, X), after the first 1x1x1, -> video (B, 3, T', H, W), not clamped."""

    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        widths = [shape.dim * mult for mult in (shape.dim_mult[-1], *reversed(shape.dim_mult))]
        self.conv1 = CausalConv3d(shape.z_dim, widths[0], KERNEL_3D)
        self.middle = middle(widths[0])
        temporal = shape.temporal_downsample[::-1]
        layers: list[nn.Module] = []
        for level, (width_in, width) in enumerate(itertools.pairwise(widths)):
            # An upsampler halves the width, so every level but the first starts at half.
            layers.append(Residual(width_in // 2 if level else width_in, width))
            layers.extend(Residual(width, width) for _ in range(shape.num_res_blocks))
            if level < len(shape.dim_mult) - 1:
                layers.append(Upsample(width, width // 2, temporal=temporal[level]))
        self.upsamples = nn.ModuleList(layers)
        self.head = output_head(widths[-1], RGB_CHANNELS)

    def layers(self) -> Iterable[nn.Module]:
        """The layers in the order in which they run."""
        return (*self.middle, *self.upsamples)


class WanVAE(nn.Module):
    """Encoder and decoder with the statistics that normalise the latents.

    In training mode (`train()`) it keeps what gradients need, and recomputes activations in the
    backward pass if `checkpointing` is set: less memory, slower. In evaluation mode (`eval()`) it
    takes faster methods that have no gradients.
    """

    def __init__(self, shape: VAEShape) -> None:
        super().__init__()
        self.shape = shape
        self.temporal_stride = shape.temporal_stride
        self.spatial_stride = shape.spatial_stride
        self.encoder = Encoder22(shape) if shape.residual else Encoder(shape)
        self.conv1 = CausalConv3d(2 * shape.z_dim, 2 * shape.z_dim, (1, 1, 1))
        self.conv2 = CausalConv3d(shape.z_dim, shape.z_dim, (1, 1, 1))
        self.decoder = Decoder22(shape) if shape.residual else Decoder(shape)

    @property
    def checkpointing(self) -> bool:
        """Whether blocks are recomputed in the backward pass."""
        return self.encoder.checkpointing

    @checkpointing.setter
    def checkpointing(self, enabled: bool) -> None:
        self.encoder.checkpointing = self.decoder.checkpointing = enabled

    # Not buffers: a meta-device build would leave buffers empty, and bf16 would round them.
    @property
    def latent_mean(self) -> Tensor:
        """Per-channel mean of the latents, (1, Z, 1, 1, 1) float32 on the model's device."""
        return self._per_channel(self.shape.latent_mean)

    @property
    def latent_std(self) -> Tensor:
        """Per-channel standard deviation of the latents, (1, Z, 1, 1, 1) float32."""
        return self._per_channel(self.shape.latent_std)

    @property
    def log_variance_bias(self) -> Tensor:
        """(Z,) bias of the log-variance: a view of a parameter, for initialising a new VAE."""
        assert self.conv1.bias is not None
        return self.conv1.bias[self.shape.z_dim :]

    def moments(
        self, video: Tensor, *, chunked: bool = False, stream: Stream | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, not normalised (for training).

        Args:
            video: (B, 3, T, H, W) in [-1, 1]; T is 4n+1, H and W are multiples of 8 (2.2: 16).
            chunked: encode 4 frames at a time, so that memory does not grow with T.
            stream: connects `video` to the chunks of the clip before it; where it has started, T
                is 4n.

        Returns:
            Two tensors (B, Z, (T-1)/4+1, H/8, W/8), of a later chunk T/4 frames; for 2.2 a
            sixteenth.

        Raises:
            VideoSizeError: the video would lose frames or pixels.
        """
        self._check_video(video, continues=stream is not None and stream.has_started)
        video = video.to(self.conv1.weight.dtype)
        if self.shape.patch > 1:
            video = to_patches(video, self.shape.patch)
        encoded = self._encode_chunks(video) if chunked else self.encoder(video, stream)
        mean, logvar = self.conv1(encoded).chunk(2, dim=1)
        return mean, logvar

    def normalise(self, mean: Tensor) -> Tensor:
        """Bring posterior means to zero mean and unit variance per channel, at least in float32."""
        return (wide(mean) - self.latent_mean) / self.latent_std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Posterior means from normalised latents: the inverse of `normalise`."""
        return wide(latents) * self.latent_std + self.latent_mean

    def encode(self, video: Tensor, *, chunked: bool = False) -> Tensor:
        """Normalised latents (the posterior's mean), float32; arguments as for `moments`."""
        return self.normalise(self.moments(video, chunked=chunked)[0])

    def decode(
        self,
        latents: Tensor,
        *,
        chunked: bool = False,
        clamp: bool = True,
        stream: Stream | None = None,
    ) -> Tensor:
        """Turn normalised latents into a video.

        Args:
            latents: (B, Z, T, Y, X).
            chunked: decode one latent frame at a time; only the video itself grows with T.
            clamp: limit the result to [-1, 1]; training needs the gradient outside as well.
            stream: connects `latents` to the chunks of the clip before them.

        Returns:
            (B, 3, 4(T-1)+1, 8Y, 8X), of a later chunk 4T frames.
        """
        if chunked:
            return torch.cat(list(self._decode_chunks(latents, 1, clamp)), dim=2)
        (video,) = self._decode_chunks(latents, latents.shape[2], clamp, stream)
        return video

    def decode_frames(self, latents: Tensor, *, latent_frames: int = 1) -> Iterator[Tensor]:
        """Decode normalised latents piece by piece at constant memory.

        Args:
            latents: (B, Z, T, Y, X).
            latent_frames: latent frames per piece; more is faster and takes more memory.

        Yields:
            (B, 3, t, 8Y, 8X) in [-1, 1]; the first piece has 3 frames fewer than the others.
        """
        return self._decode_chunks(latents, latent_frames, clamp=True)

    def _encode_chunks(self, video: Tensor) -> Tensor:
        """Encode the first frame alone, then `temporal_stride` frames at a time."""
        stream = Stream()
        first, rest = video[:, :, :1], video[:, :, 1:]
        chunks = [first, *(rest.split(self.temporal_stride, dim=2) if rest.shape[2] else ())]
        return torch.cat([self.encoder(chunk, stream) for chunk in chunks], dim=2)

    def _decode_chunks(
        self, latents: Tensor, size: int, clamp: bool, stream: Stream | None = None
    ) -> Iterator[Tensor]:
        z = self.conv2(self.denormalise(latents).to(self.conv2.weight.dtype))
        if size < z.shape[2]:
            stream = Stream()
        for chunk in z.split(size, dim=2):
            video = self.decoder(chunk, stream)
            if self.shape.patch > 1:
                video = from_patches(video, self.shape.patch)
            yield video.clamp(-1, 1) if clamp else video

    def _per_channel(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=self.conv1.weight.device).view(1, -1, 1, 1, 1)

    def _check_video(self, video: Tensor, *, continues: bool) -> None:
        if continues:
            frames = video.shape[2]
            assert frames % self.temporal_stride == 0, f"a later chunk of {frames} frames"
            video = video[:, :, :1]  # of which only the sides remain to be checked
        check_video_size(video, self.temporal_stride, self.spatial_stride)


def check_video_size(video: Tensor, temporal_stride: int, spatial_stride: int) -> None:
    """Check that (B, 3, T, H, W) is encoded without losing frames or pixels.

    Raises:
        VideoSizeError: it is not.
    """
    frames, height, width = video.shape[2:]
    if not valid_frames(frames, temporal_stride):
        low = floor_frames(frames, temporal_stride)
        raise VideoSizeError(
            f"video: got {frames} frames; the VAE takes {temporal_stride}n+1, "
            f"e.g. {low} or {low + temporal_stride}"
        )
    if height % spatial_stride or width % spatial_stride:
        raise VideoSizeError(
            f"video: got {width}x{height} pixels; the VAE takes multiples of {spatial_stride}"
        )
