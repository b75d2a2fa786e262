"""The squared error of the velocity, in training and in evaluations.

x = (1 - sigma) * x0 + sigma * noise;  target = noise - x0;  timestep = 1000 * sigma
"""

import math
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from wanctl.device import to_device
from wanctl.diffusion.conditions import Conditions, predict
from wanctl.diffusion.flow import add_noise, timesteps, velocity
from wanctl.estimate.flops import training_ops
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape
from wanctl.train.dit.tasks.frame_weights import frame_weights, weighted_mean
from wanctl.train.objective import Work, per_sample_mean


def flow_error(
    model: nn.Module,
    x0: Tensor,
    noise: Tensor,
    sigma: Tensor,
    conditions: Conditions,
    device: torch.device,
    known_frames_weight: float = 1.0,
) -> Tensor:
    """(B,) squared error of the model's velocity on the path from `x0` to `noise`.

    Args:
        model: the transformer, or a module around it.
        x0: (B, C, T, Y, X) clean latents.
        noise: same shape.
        sigma: (B,) noise levels.
        conditions: for the same batch.
        device: where the model is; all else is copied there.
        known_frames_weight: see `frame_weights`.
    """
    x0, noise, sigma = (to_device(tensor, device) for tensor in (x0, noise, sigma))
    noisy = add_noise(x0, noise, sigma)
    conditions = conditions_to_device(conditions, device)
    predicted = predict(model, noisy, timesteps(sigma), conditions)
    weights = frame_weights(conditions, known_frames_weight)
    return velocity_error(predicted, velocity(x0, noise), weights)


def conditions_to_device(conditions: Conditions, device: torch.device) -> Conditions:
    """Copy the conditions without waiting for what the device still computes."""
    values = {field.name: getattr(conditions, field.name) for field in fields(conditions)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return replace(conditions, **{name: to_device(t, device) for name, t in tensors.items()})


def trained_share(model: nn.Module) -> float:
    """Share of the weights that are trained; frozen ones have no gradients to compute."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad) / sum(
        p.numel() for p in parameters
    )


def training_work(shape: DiTShape, latents: torch.Size, share: float) -> Work:
    """Tokens and operations of a step's forward and backward pass.

    Args:
        shape: of the transformer.
        latents: (B, C, T, Y, X).
        share: see `trained_share`.
    """
    count, _, *sides = latents
    tokens = math.prod(side // patch for side, patch in zip(sides, PATCH, strict=True))
    return Work(count * tokens, count * training_ops(shape, tokens, share))


def velocity_error(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """(B,) mean squared error of the predicted velocity, fp32, or fp64 where both are.

    Args:
        predicted: (B, C, T, Y, X).
        target: same shape.
        weights: (B, T) of the latent frames; None: all count alike.
    """
    dtype = torch.promote_types(predicted.dtype, torch.float32)
    error = (predicted.to(dtype) - target.to(dtype)).square()
    return per_sample_mean(error) if weights is None else weighted_mean(error, weights)
