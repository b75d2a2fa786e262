"""Classifier-free guidance: go further than from the negative prompt to the prompt."""

from collections.abc import Callable

import torch
from torch import Tensor

from wanctl.model.shapes import PATCH

Model = Callable[[Tensor, Tensor, Tensor], Tensor]

# Below this many tokens both prompts go through the model as one batch: the time goes into
# starting operations (tiny model on 2 cores: 0.4-0.8x). Above it the products fill the machine
# (0.93x at 1,280 tokens) and a batch only doubles the memory.
BATCHED_TOKENS = 1024


def guided_velocity(
    model: Model,
    x: Tensor,
    timestep: Tensor,
    context: Tensor,
    negative_context: Tensor | None,
    guide_scale: float,
) -> Tensor:
    """Negative + scale * (prompt - negative), in fp32 (arXiv 2207.12598).

    Scale 1 is the prompt alone and 0 the negative prompt alone: one pass instead of two, equal to
    the formula up to rounding. Between 0 and 1 the prompt is weakened, above 1 exaggerated.

    Args:
        model: velocity of (latents, timesteps (B,), context).
        x: (B, C, T, Y, X) noisy latents.
        timestep: scalar, 0 to 1000.
        context: (B, S, E) embeddings of the prompts.
        negative_context: same shape; may be None at scale 1.
        guide_scale: at least 0.

    Returns:
        (B, C, T, Y, X) fp32.

    Raises:
        ValueError: the scale asks for a negative prompt and there is none.
    """
    times = timestep.expand(len(x))
    if guide_scale == 1:
        return model(x, times, context).float()
    if negative_context is None:
        raise ValueError(f"guide_scale {guide_scale} needs a negative prompt")
    if guide_scale == 0:
        return model(x, times, negative_context).float()
    if _num_tokens(x) <= BATCHED_TOKENS:
        both = torch.cat((context, negative_context))
        v = model(torch.cat((x, x)), times.repeat(2), both).float()
        v_prompt, v_negative = v.chunk(2)
    else:
        v_prompt = model(x, times, context).float()
        v_negative = model(x, times, negative_context).float()
    return v_negative + guide_scale * (v_prompt - v_negative)


def _num_tokens(x: Tensor) -> int:
    """Tokens of the whole batch."""
    return x[:, 0].numel() // (PATCH[0] * PATCH[1] * PATCH[2])
