"""A text-to-video transformer as the start of an image-to-video model.

The input channels and the image branch that it lacks are added so that it makes the same velocity
as before, bit for bit, whatever the known frames are: weights of new channels are zero (the Wan
report, arXiv 2503.20314, section 5.1), and so are the values of image tokens.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.tasks.image_channels import has_image_channels, num_clip_images
from wanctl.train.dit.tasks.api import FRAME_RATE
from wanctl.train.rng import keyed_generator

INPUT_WEIGHT = "patch_embedding.weight"


class BaseModelError(UserError):
    """The weights are of a transformer from which the variant cannot start."""


def fit_inputs(base: WanModel, wanted: DiTShape, where: str, seed: int) -> WanModel:
    """The base with the inputs of `wanted`: channels of known frames and the image branch.

    Args:
        base: with loaded weights; returned as it is where it has these inputs.
        wanted: sizes of the variant's transformer, of which the inputs alone are taken.
        where: names the weights, for messages.
        seed: of the weights of a new image branch.

    Raises:
        BaseModelError: the base has inputs that the variant lacks, or that cannot be changed.
    """
    shape = fitted_shape(base.shape, wanted, where)
    if shape == base.shape:
        return base
    own = base.state_dict()
    with torch.device("meta"):
        model = WanModel(shape, base.precision)
    tensors = {
        name: own[name] if name in own else _new(name, empty, seed)
        for name, empty in model.state_dict().items()
    }
    added = shape.in_channels - base.shape.in_channels
    if added:
        weight = own[INPUT_WEIGHT]
        zeros = weight.new_zeros(len(weight), added, *weight.shape[2:])
        tensors[INPUT_WEIGHT] = torch.cat((weight, zeros), dim=1)
        log.info("train-dit: %s: %d input channels for known frames are added", where, added)
    if shape.image_dim != base.shape.image_dim:
        done = "left out" if shape.image_dim is None else "added"
        log.info("train-dit: %s: the image branch is %s", where, done)
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.train(base.training)


def fitted_shape(has: DiTShape, wanted: DiTShape, where: str) -> DiTShape:
    """Sizes of a base with the inputs of the variant; arguments and errors are `fit_inputs`'."""
    shape = has
    if has_image_channels(wanted) and has.in_channels == has.out_channels:
        shape = replace(
            has, in_channels=wanted.in_channels - wanted.out_channels + has.out_channels
        )
    if not (has.image_dim and wanted.image_dim):
        shape = replace(shape, image_dim=wanted.image_dim, image_tokens=wanted.image_tokens)
    problem = ""
    if has.frame_rates:
        problem = FRAME_RATE
    elif has_image_channels(wanted) and (not has_image_channels(shape) or has.vace_layers):
        problem = (
            f"takes {has.in_channels} input channels for {has.out_channels} of the velocity; the "
            f"variant starts from {has.out_channels} (text to video) or has "
            f"{wanted.in_channels} (image to video)"
        )
    elif has_image_channels(has) and not has_image_channels(wanted):
        problem = "reads known frames as channels and the variant does not; use an i2v variant"
    elif num_clip_images(shape) != num_clip_images(wanted):
        several = num_clip_images(shape), num_clip_images(wanted)
        problem = (
            "reads {} pictures through CLIP and the variant {}; start from text to video".format(
                *several
            )
        )
    if problem:
        raise BaseModelError(f"{where}: {problem}")
    return shape


def _new(name: str, empty: Tensor, seed: int) -> Tensor:
    """Initial values of a parameter of the image branch; values of image tokens are zero."""
    if empty.ndim == 2 and "v_img" not in name:
        weight = torch.empty(empty.shape)
        return nn.init.xavier_uniform_(weight, generator=keyed_generator(seed, "start", name))
    is_norm = "norm" in name or name.startswith(("img_emb.proj.0", "img_emb.proj.4"))
    return (
        torch.ones(empty.shape) if is_norm and name.endswith("weight") else torch.zeros(empty.shape)
    )
