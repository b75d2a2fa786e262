"""How much each latent frame counts in the loss: known frames need not be learned.

Shapes: B batch, C channels, T latent frames.
"""

from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.tasks.image_channels import MASK_CHANNELS


def frame_weights(conditions: Conditions, known_frames_weight: float) -> Tensor | None:
    """(B, T) weights of latent frames; None: all frames count alike.

    Known latents replace the model's output in sampling and have no weight. Known frames that the
    model reads as channels are part of its output, so they have the weight that the recipe says; of
    a latent frame with some known frames the share of the others counts fully.

    Args:
        conditions: (B, ...).
        known_frames_weight: 0 to 1.
    """
    if conditions.known_frames is not None:
        places = conditions.known_frames.expand(len(conditions.context), -1)
        return (~places).float()
    if conditions.channels is None or known_frames_weight == 1:
        return None
    known = conditions.channels[:, :MASK_CHANNELS, :, 0, 0].mean(dim=1)
    return 1 - (1 - known_frames_weight) * known


def weighted_mean(errors: Tensor, weights: Tensor) -> Tensor:
    """(B,) mean of (B, C, T, Y, X) errors with (B, T) weights of frames; 0 where none counts."""
    per_frame = errors.mean(dim=(1, 3, 4))
    return (per_frame * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-6)
