"""Classifier-free guidance: extrapolate from the negative prompt's velocity to the prompt's."""

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model, predict
from wanctl.diffusion.cross_attention_cache import CrossAttentionCache
from wanctl.model.shapes import PATCH

# Below this many tokens both prompts go through the model as one batch: most of the time is the
# overhead per operation (tiny model on 2 cores: 0.4-0.8x). Above it the products use the machine
# fully (0.93x at 1,280 tokens) and a batch only doubles the memory.
BATCHED_TOKENS = 1024


def guided_velocity(
    model: Model,
    x: Tensor,
    timestep: Tensor,
    conditions: Conditions,
    negative_context: Tensor | None,
    guide_scale: float,
    cache: CrossAttentionCache | None = None,
) -> Tensor:
    """Negative + scale * (prompt - negative), in fp32 (arXiv 2207.12598).

    Scale 1 is the prompt alone and 0 the negative prompt alone: one pass instead of two, equal to
    the formula up to rounding. Between 0 and 1 the prompt is weakened, above 1 exaggerated.

    Args:
        model: see `predict`; one with a true `is_cfg_parallel` (wanctl/distributed) gets both
            prompts in one batch at any size.
        x: (B, C, T, Y, X) noisy latents.
        timestep: scalar, 0 to 1000.
        conditions: with the embeddings of the prompts.
        negative_context: (B, S, E) embeddings; may be None at scale 1.
        guide_scale: at least 0.
        cache: the same object for all steps of a sample, so that the keys and values of its
            prompts are computed once; None: compute them now.

    Returns:
        (B, C, T, Y, X) fp32.

    Raises:
        ValueError: the scale needs a negative prompt and there is none.
    """
    cache = CrossAttentionCache() if cache is None else cache

    def evaluate(x: Tensor, conditions: Conditions) -> Tensor:
        precomputed = cache.get(model, conditions)
        return predict(model, x, timestep.expand(1), conditions, precomputed).float()

    if guide_scale == 1:
        return evaluate(x, conditions)
    if negative_context is None:
        raise ValueError(f"guide_scale {guide_scale} needs a negative prompt")
    if guide_scale == 0:
        return evaluate(x, conditions.with_context(negative_context))
    if _num_tokens(x) <= BATCHED_TOKENS or getattr(model, "is_cfg_parallel", False):
        both = cache.with_negative(conditions, negative_context)
        v_prompt, v_negative = evaluate(torch.cat((x, x)), both).chunk(2)
    else:
        v_prompt = evaluate(x, conditions)
        v_negative = evaluate(x, conditions.with_context(negative_context))
    return v_negative + guide_scale * (v_prompt - v_negative)


def _num_tokens(x: Tensor) -> int:
    """Tokens of the whole batch."""
    return x[:, 0].numel() // (PATCH[0] * PATCH[1] * PATCH[2])
