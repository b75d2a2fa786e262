"""The conditions of a model besides noisy latents and a timestep, and its call with them.

Shapes: B batch, C channels, T latent frames, Y/X latent rows/columns, S text tokens, E text width,
I image tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

Model = Callable[..., Tensor]
"""Velocity of (latents, timesteps, context, **conditions), e.g. a `WanModel`."""


@dataclass(frozen=True)
class Conditions:
    """Conditions passed to the model; all but the text are equal for both prompts of guidance.

    Attributes:
        context: (B, S, E) fp32 text embeddings, zero rows after each text's last token.
        channels: (B, Cy, T, Y, X) fp32, concatenated to the latents (mask, then encoded frames).
        image: (B, I, E) hidden states of CLIP's vision tower.
        control: (B, 96, T, Y, X) fp32, VACE's context.
        control_scale: strength of the control.
        rays: (B, 24, T, H, W) fp32, rays of a camera path in four frames per latent frame.
        reference: (B, C, Y, X) fp32, latents of a reference picture, read as tokens.
        known: (B, C, T, Y, X) fp32 clean latents; they replace the noisy ones in `known_frames`,
            for which the model gets timestep 0 (TI2V).
        known_frames: (T,) bool, or (B, T) where items differ.
    """

    context: Tensor
    channels: Tensor | None = None
    image: Tensor | None = None
    control: Tensor | None = None
    control_scale: float = 1.0
    rays: Tensor | None = None
    reference: Tensor | None = None
    known: Tensor | None = None
    known_frames: Tensor | None = None

    def to(self, device: torch.device) -> "Conditions":
        """These conditions on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def with_context(self, context: Tensor) -> "Conditions":
        """These conditions with other text embeddings, (B, S, E)."""
        return replace(self, context=context)

    def with_negative(self, negative: Tensor) -> "Conditions":
        """Twice the batch: these conditions, then the same with the negative prompt."""
        doubled = self._map(lambda t: torch.cat((t, t)) if t.ndim > 1 else t)
        return doubled.with_context(torch.cat((self.context, negative)))

    def repeated(self, count: int) -> "Conditions":
        """Conditions for one item, expanded to a batch of `count`."""
        return self._map(lambda t: t.expand(count, *t.shape[1:]) if t.ndim > 1 else t)

    def impose(self, latents: Tensor) -> Tensor:
        """Replace the known frames of latents, (B, C, T, Y, X)."""
        if self.known is None or self.known_frames is None:
            return latents
        places = self.known_frames
        places = places if places.ndim == 1 else places[:, None]  # a dimension for channels
        return torch.where(places[..., None, None], self.known, latents)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Conditions":
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: change(t) for name, t in tensors.items() if isinstance(t, Tensor)}
        )


def predict(
    model: Model, x: Tensor, timesteps: Tensor, conditions: Conditions, precomputed: Any = None
) -> Tensor:
    """The model's velocity under conditions.

    Args:
        model: called with the conditions that are set, and no others.
        x: (B, C, T, Y, X) noisy latents.
        timesteps: (B,), or (1,) for the whole batch; 0 to 1000.
        conditions: for the same batch.
        precomputed: keys and values of text and image (see `CrossAttentionCache`), passed to
            the model in their place.

    Returns:
        (B, C, T, Y, X) velocity; meaningless in known frames.
    """
    if conditions.known_frames is not None:
        x = conditions.impose(x)
        timesteps = timesteps.expand(len(x))[:, None] * ~conditions.known_frames
    if conditions.channels is not None:
        x = torch.cat((x, conditions.channels), dim=1)
    more = {}
    if conditions.image is not None and precomputed is None:
        more["image_BIE"] = conditions.image
    if conditions.control is not None:
        more |= {
            "control_BCTYX": conditions.control,
            "control_scale": conditions.control_scale,
        }
    if conditions.rays is not None:
        more["rays_BCTHW"] = conditions.rays
    if conditions.reference is not None:
        more["reference_BCYX"] = conditions.reference
    return model(x, timesteps, conditions.context if precomputed is None else precomputed, **more)
