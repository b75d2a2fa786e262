"""Checks of what is trained against the transformer's layers, before any data is opened."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.load import read_dit_shape
from wanctl.errors import ProblemsError, UserError
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape, Variant
from wanctl.train.adapters.attach import adapter_options, choose_layers
from wanctl.train.adapters.prepare import check_patterns


def trained_problems(
    variant: Variant, ref: str | None, trained: Sequence[str], adapter: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """(recipe path, message) of patterns that match nothing and of ranks that are too large.

    Training may add inputs or a control branch to its base, so that what either the variant or the
    base has is no problem here.

    Args:
        variant: to be trained.
        ref: weights that training starts from; nothing is downloaded.
        trained: `train_dit.trained`.
        adapter: keys of `adapter_options`; None: the weights themselves are trained.
    """
    shapes = [variant.dit]
    if ref is not None and Path(ref).expanduser().exists():
        try:
            components = find_components(ref)
            shapes += [read_dit_shape(components)] if components.dit else []
        except UserError:
            return []  # the run names what is wrong with the weights
    found = [_problems(shape, trained, adapter) for shape in shapes]
    return found[-1] if all(found) else []


def _problems(
    shape: DiTShape, trained: Sequence[str], adapter: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    with torch.device("meta"):
        model = WanModel(shape)
    try:
        if adapter is None:
            check_patterns(model, trained)
        else:
            choose_layers(model, adapter_options(**adapter, seed=0))
    except ProblemsError as error:
        return error.problems
    return []
