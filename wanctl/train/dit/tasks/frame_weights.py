"""How much each latent counts in the loss: what is given need not be learned.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns.
"""

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.model.shapes import SPATIAL_STRIDE
from wanctl.tasks.image_channels import MASK_CHANNELS

# VACE's context ends with the mask, a channel for each pixel of a latent.
VACE_MASK_CHANNELS = SPATIAL_STRIDE**2


def frame_weights(conditions: Conditions, known_frames_weight: float) -> Tensor | None:
    """(B, 1, T, 1, 1) or (B, 1, T, Y, X) weights of latents; None: all count alike.

    Known latents replace the model's output in sampling and have no weight. Known frames that the
    model reads as channels are part of its output, so they have the weight that the recipe says; of
    a latent frame with some known frames the share of the others counts fully. The same holds for
    VACE's references and for what its mask keeps, pixel by pixel.

    Args:
        conditions: (B, ...).
        known_frames_weight: 0 to 1.
    """
    if conditions.known_frames is not None:
        places = conditions.known_frames.expand(len(conditions.context), -1)
        return (~places).float()[:, None, :, None, None]
    if known_frames_weight == 1:
        return None
    if conditions.control is not None:
        generated = conditions.control[:, -VACE_MASK_CHANNELS:].mean(dim=1, keepdim=True)
        return 1 - (1 - known_frames_weight) * (1 - generated)
    if conditions.channels is None:
        return None
    known = conditions.channels[:, :MASK_CHANNELS, :, :1, :1].mean(dim=1, keepdim=True)
    return 1 - (1 - known_frames_weight) * known


def weighted_mean(errors: Tensor, weights: Tensor) -> Tensor:
    """(B,) mean of (B, C, T, Y, X) errors with weights that expand to them; 0 where none counts."""
    per_latent = errors.mean(dim=1, keepdim=True)
    weights = weights.expand_as(per_latent).flatten(1)
    return (per_latent.flatten(1) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-6)
