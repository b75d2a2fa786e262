"""A VACE transformer that starts from a text-to-video one, with its output unchanged.

The start is that of the paper (arXiv 2503.07598, section 3.3): control blocks are copies of main
blocks at even distances, whose projections are zero; the embedding of the control has the weights
of the video's embedding for both halves of the latents and zeros for the mask.
"""

from dataclasses import fields, replace

import torch
from torch import Tensor

from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.train.optimizers.patterns import ALL

# The context adapter, by a pattern of its parameters' names; all others are the base's.
CONTEXT_ADAPTER = ("vace_*",)


class ControlStartError(UserError):
    """The base and the control blocks do not fit together."""


def with_control_blocks(base: WanModel, shape: DiTShape, where: str) -> WanModel:
    """The base, with control blocks where the variant has them and the base does not yet.

    Args:
        base: with loaded or random weights.
        shape: sizes of the variant's transformer.
        where: names the weights, for messages.

    Raises:
        ControlStartError: the base has other sizes, or other control blocks.
    """
    if not shape.vace_layers:
        return base
    if base.shape.vace_layers:
        if base.shape.vace_layers != shape.vace_layers:
            raise ControlStartError(
                f"model.weights: {where} has control blocks at {list(base.shape.vace_layers)}, the "
                f"variant at {list(shape.vace_layers)}; set the model.variant of the weights"
            )
        return base
    log.info("train-dit: %s: control blocks at %s are added as copies", where,
             ", ".join(map(str, shape.vace_layers)))  # fmt: skip
    return add_control_blocks(base, shape)


def add_control_blocks(base: WanModel, shape: DiTShape) -> WanModel:
    """A VACE transformer over the weights of a base, which are shared and not copied.

    The output of the base does not change by a bit, whatever the control is.

    Args:
        base: a text-to-video transformer.
        shape: sizes of the result; all but those of the control are the base's.

    Raises:
        ControlStartError: the base has other sizes.
    """
    _check_sizes(base.shape, shape)
    state: dict[str, Tensor] = dict(base.state_dict())
    embedding = base.patch_embedding.weight.detach()
    weight = embedding.new_zeros(shape.dim, shape.vace_channels, *embedding.shape[2:])
    weight[:, : 2 * shape.in_channels] = embedding.repeat(1, 2, 1, 1, 1)
    state["vace_patch_embedding.weight"] = weight
    state["vace_patch_embedding.bias"] = state["patch_embedding.bias"].clone()
    for number, layer in enumerate(shape.vace_layers):
        block = f"vace_blocks.{number}"
        copied = base.blocks[layer].state_dict()
        state |= {f"{block}.{name}": tensor.clone() for name, tensor in copied.items()}
        for projection in ("before_proj", "after_proj") if number == 0 else ("after_proj",):
            state[f"{block}.{projection}.weight"] = embedding.new_zeros(shape.dim, shape.dim)
            state[f"{block}.{projection}.bias"] = embedding.new_zeros(shape.dim)
    with torch.device("meta"):
        model = WanModel(shape, base.precision)
    model.load_state_dict(state, strict=True, assign=True)
    return model.train(base.training)


def default_trained(shape: DiTShape) -> tuple[str, ...]:
    """What is trained where the recipe does not say: all, or the context adapter on its base."""
    return CONTEXT_ADAPTER if shape.vace_layers else (ALL,)


def _check_sizes(base: DiTShape, shape: DiTShape) -> None:
    wanted = replace(shape, vace_layers=(), vace_channels=base.vace_channels)
    if base == wanted:
        return
    names = [each.name for each in fields(DiTShape)]
    different = [name for name in names if getattr(base, name) != getattr(wanted, name)]
    has = ", ".join(f"{name} {getattr(base, name)}" for name in different)
    needs = ", ".join(f"{name} {getattr(wanted, name)}" for name in different)
    raise ControlStartError(
        f"model.weights: the base has {has}; the variant's control blocks need {needs}; choose "
        "weights and model.variant that belong together"
    )
