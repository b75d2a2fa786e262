"""Classifier-free guidance: go further than from the negative prompt to the prompt."""

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model, predict
from wanctl.model.shapes import PATCH

# Below this many tokens both prompts go through the model as one batch: the time goes into
# starting operations (tiny model on 2 cores: 0.4-0.8x). Above it the products fill the machine
# (0.93x at 1,280 tokens) and a batch only doubles the memory.
BATCHED_TOKENS = 1024


def guided_velocity(
    model: Model,
    x: Tensor,
    timestep: Tensor,
    conditions: Conditions,
    negative_context: Tensor | None,
    guide_scale: float,
) -> Tensor:
    """Negative + scale * (prompt - negative), in fp32 (arXiv 2207.12598).

    Scale 1 is the prompt alone and 0 the negative prompt alone: one pass instead of two, equal to
    the formula up to rounding. Between 0 and 1 the prompt is weakened, above 1 exaggerated.

    Args:
        model: see `predict`; one with a true `divides_batches` (wanctl/parallel) gets both prompts
            in one batch at any size.
        x: (B, C, T, Y, X) noisy latents.
        timestep: scalar, 0 to 1000.
        conditions: with the embeddings of the prompts.
        negative_context: (B, S, E) embeddings; may be None at scale 1.
        guide_scale: at least 0.

    Returns:
        (B, C, T, Y, X) fp32.

    Raises:
        ValueError: the scale asks for a negative prompt and there is none.
    """
    times = timestep.expand(len(x))
    if guide_scale == 1:
        return predict(model, x, times, conditions).float()
    if negative_context is None:
        raise ValueError(f"guide_scale {guide_scale} needs a negative prompt")
    if guide_scale == 0:
        return predict(model, x, times, conditions.with_context(negative_context)).float()
    if _num_tokens(x) <= BATCHED_TOKENS or getattr(model, "divides_batches", False):
        both = conditions.beside(negative_context)
        v = predict(model, torch.cat((x, x)), times.repeat(2), both).float()
        v_prompt, v_negative = v.chunk(2)
    else:
        v_prompt = predict(model, x, times, conditions).float()
        v_negative = predict(model, x, times, conditions.with_context(negative_context)).float()
    return v_negative + guide_scale * (v_prompt - v_negative)


def _num_tokens(x: Tensor) -> int:
    """Tokens of the whole batch."""
    return x[:, 0].numel() // (PATCH[0] * PATCH[1] * PATCH[2])
