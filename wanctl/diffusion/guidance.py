"""Classifier-free guidance: extrapolate from the negative prompt's velocity to the prompt's.

Models of references also extrapolate from the velocity without references to that with them.
"""

import torch
from torch import Tensor

from wanctl.diffusion.conditions import Conditions, Model, predict
from wanctl.diffusion.cross_attention_cache import CrossAttentionCache
from wanctl.model.shapes import PATCH

# Below this many tokens all passes go through the model as one batch: most of the time is the
# overhead per operation (tiny model on 2 cores: 0.4-0.8x). Above it the products use the machine
# fully (0.93x at 1,280 tokens) and a batch only doubles the memory.
BATCHED_TOKENS = 1024
THREE_PASSES = 3


def guided_velocity(
    model: Model,
    x: Tensor,
    timestep: Tensor,
    conditions: Conditions,
    negative_context: Tensor | None,
    guide_scale: float,
    cache: CrossAttentionCache | None = None,
    *,
    reference_scale: float | None = None,
) -> Tensor:
    """Negative + scale * (prompt - negative), in fp32 (arXiv 2207.12598).

    Scale 1 is the prompt alone and 0 the negative prompt alone: one pass instead of two, equal to
    the formula up to rounding. Between 0 and 1 the prompt is weakened, above 1 exaggerated.

    With a scale of references the negative is itself guided, by a third pass without them:
    blank + reference scale * (negative - blank) (Phantom, arXiv 2502.11079).

    Args:
        model: see `predict`; one with a true `is_cfg_parallel` (wanctl/distributed) gets all
            prompts in one batch at any size.
        x: (B, C, T, Y, X) noisy latents.
        timestep: scalar, 0 to 1000; or two, the second that of the next step, for models that take
            both.
        conditions: with the embeddings of the prompts.
        negative_context: (B, S, E) embeddings; may be None where the prompt alone is evaluated.
        guide_scale: at least 0.
        cache: the same object for all steps of a sample, so that the keys and values of its
            prompts are computed once; None: compute them now.
        reference_scale: at least 0, for conditions with references; None or 1: no third pass.

    Returns:
        (B, C, T, Y, X) fp32.

    Raises:
        ValueError: the scale needs a negative prompt and there is none.
    """
    cache = CrossAttentionCache() if cache is None else cache
    timesteps = timestep.reshape(-1)

    def evaluate(x: Tensor, conditions: Conditions) -> Tensor:
        precomputed = cache.get(model, conditions)
        driving, face = cache.driving(model, conditions), cache.face(model, conditions, x)
        conditions = cache.with_inputs_read(model, conditions)
        now, following = timesteps[:1], timesteps[1:] if len(timesteps) > 1 else None
        v = predict(model, x, now, conditions, precomputed, driving, face, following)
        return v.float()

    count = num_passes(guide_scale, reference_scale)
    if count == 1 and guide_scale == 1:
        return evaluate(x, conditions)
    if negative_context is None:
        raise ValueError(f"guide_scale {guide_scale} needs a negative prompt")
    negative = conditions.for_negative(negative_context)
    if count == 1:
        return evaluate(x, negative)
    passes = [conditions, negative, negative.with_blank_references()][:count]
    small = _num_tokens(x, conditions) <= BATCHED_TOKENS and conditions.driving is None
    if small or getattr(model, "is_cfg_parallel", False):
        velocities = evaluate(torch.cat([x] * count), cache.stacked(passes)).chunk(count)
    else:
        velocities = [evaluate(x, each) for each in passes]
    v_prompt, v_negative = velocities[:2]
    towards_prompt = guide_scale * (v_prompt - v_negative)
    if count == THREE_PASSES:
        assert reference_scale is not None
        v_blank = velocities[2]
        return v_blank + reference_scale * (v_negative - v_blank) + towards_prompt
    return v_negative + towards_prompt


def num_passes(guide_scale: float, reference_scale: float | None = None) -> int:
    """How often guidance evaluates the transformer in a step: 1 to 3 times."""
    if reference_scale not in (None, 1):
        return THREE_PASSES
    return 1 if guide_scale in (0, 1) else 2


def _num_tokens(x: Tensor, conditions: Conditions) -> int:
    """Tokens of the whole batch, those of references included."""
    frames = x.shape[2] + len(conditions.references or ())
    return frames * x[:, 0, 0].numel() // (PATCH[0] * PATCH[1] * PATCH[2])
