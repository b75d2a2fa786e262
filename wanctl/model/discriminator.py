"""A 3-D patch discriminator: one logit per patch of a video, for adversarial training of the VAE.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, with
one more axis. It sees past and future frames alike; the causality of the VAE is no property of a
video. Its norm is a group norm: the logits of a sample depend on that sample alone, so that
accumulated micro-batches, several processes and one large batch learn the same. Batch norm would
mix samples. Spectral norm would have a state that every forward pass changes, the generator's too,
and learned more slowly: in the texture test its hinge loss was 1.9 after 450 steps, that of the
group norm 0.3, without a norm 1.6 to 2.1.

Shape suffixes: B batch, C channels, T frames, H rows, W columns.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from wanctl.errors import UserError
from wanctl.model.variants import RGB_CHANNELS

# Of all layers but the first; wider ones cost four times as much per doubling.
MAX_WIDENING = 8
SLOPE = 0.2
GROUP_CHANNELS = 8


class DiscriminatorSizeError(UserError):
    """A video with fewer pixels than a patch."""


class PatchDiscriminator(nn.Module):
    """Video (B, 3, T, H, W) -> logits (B, T', H / 2**layers, W / 2**layers); T may be 1.

    Args:
        width: channels after the first layer; they double at each further one, up to 8 times.
        layers: layers that halve height and width; the last of them also halves the frames, so
            that a logit of 3 layers sees 38x38 pixels and 11 frames.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.min_side = 2**layers
        widths = [width * min(2**level, MAX_WIDENING) for level in range(layers + 1)]
        self.first = CentredConv3d(RGB_CHANNELS, widths[0], (3, 4, 4), (1, 2, 2))
        blocks: list[nn.Module] = []
        for level in range(1, layers):
            stride = 2 if level == layers - 1 else 1
            blocks.append(
                CentredConv3d(widths[level - 1], widths[level], (3, 4, 4), (stride, 2, 2))
            )
            blocks.append(nn.GroupNorm(max(1, widths[level] // GROUP_CHANNELS), widths[level]))
            blocks.append(nn.LeakyReLU(SLOPE))
        self.blocks = nn.Sequential(*blocks)
        self.last = CentredConv3d(widths[layers - 1], 1, (3, 3, 3), (1, 1, 1))

    def forward(self, video: Tensor) -> Tensor:
        """Logits (B, T', H', W'), positive for real; `video` is float in about [-1, 1].

        Raises:
            DiscriminatorSizeError: a side is shorter than 2**layers pixels.
        """
        height, width = video.shape[-2:]
        if min(height, width) < self.min_side:
            raise DiscriminatorSizeError(
                f"discriminator: got {width}x{height} pixels; its layers need {self.min_side} or "
                "more, or use fewer layers"
            )
        x = F.leaky_relu(self.first(video.to(self.first.weight.dtype)), SLOPE)
        return self.last(self.blocks(x)).squeeze(1)


class CentredConv3d(nn.Conv3d):
    """Convolution padded with zeros on both sides of each axis, so that a stride of 1 keeps sizes.

    Even kernels are for strides of 2, which halve even sizes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int],
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve; a single frame meets the middle tap only: half the time on a CPU."""
        if input.shape[2] > 1:
            return super().forward(input)
        weight, stride = self.weight[:, :, 1], self.stride[1:]
        return F.conv2d(input[:, :, 0], weight, self.bias, stride, 1).unsqueeze(2)
