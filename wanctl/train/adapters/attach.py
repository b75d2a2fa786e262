"""Attach an adapter to a transformer, and find, weaken or switch off what was attached."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from wanctl.errors import ProblemsError
from wanctl.model.dit.transformer import WanModel
from wanctl.runtime.quantize import QuantizedLinear
from wanctl.train.adapters.layers import LowRankLinear
from wanctl.train.optimizers.patterns import matches, unmatched
from wanctl.train.rng import keyed_generator

KEY = "train_dit.adapter"
Linear = nn.Linear | QuantizedLinear


@dataclass(frozen=True)
class Target:
    """Layers that get an adapter.

    Attributes:
        layers: pattern of their names (patterns.py).
        rank: of their adapters.
        alpha: see `AdapterOptions`.
    """

    layers: str
    rank: int
    alpha: float


@dataclass(frozen=True)
class AdapterOptions:
    """Settings of an adapter.

    Attributes:
        kind: `lora`, `rslora` or `dora`.
        targets: a layer belongs to the first one that matches it. The factor of a product is
            alpha / rank, of rsLoRA alpha / sqrt(rank).
        dropout: see `LowRankLinear`.
        seed: of the initial matrices.
    """

    kind: str
    targets: tuple[Target, ...]
    dropout: float
    seed: int


def adapter_options(
    *,
    kind: str,
    rank: int,
    alpha: float | None,
    targets: Sequence[Mapping[str, Any]],
    dropout: float,
    seed: int,
) -> AdapterOptions:
    """The options that a recipe's keys stand for.

    Args:
        kind: see `AdapterOptions`.
        rank: of targets without their own.
        alpha: of targets without their own; None: the rank of each.
        targets: `layers`, `rank` and `alpha` of each.
        dropout: see `AdapterOptions`.
        seed: see `AdapterOptions`.
    """
    found = []
    for target in targets:
        own = target["rank"] or rank
        found.append(Target(target["layers"], own, target["alpha"] or alpha or float(own)))
    return AdapterOptions(kind, tuple(found), dropout, seed)


def attach_adapter(
    model: WanModel, options: AdapterOptions, network: str = ""
) -> dict[str, LowRankLinear]:
    """Freeze a transformer and attach an adapter, in place.

    Args:
        model: loaded, with its linear layers in any format.
        options: of the adapter.
        network: name of the network among several, which then start from different matrices.

    Returns:
        Official name -> layer with an adapter.

    Raises:
        ProblemsError: a pattern matches nothing, or a rank is larger than a layer.
    """
    layers, chosen = choose_layers(model, options)
    model.requires_grad_(False)
    attached: dict[str, LowRankLinear] = {}
    for name, target in chosen.items():
        width = math.sqrt(target.rank) if options.kind == "rslora" else target.rank
        parent, _, child = name.rpartition(".")
        attached[name] = LowRankLinear(
            layers[name],
            target.rank,
            target.alpha / width,
            dropout=options.dropout,
            with_magnitude=options.kind == "dora",
            generator=keyed_generator(options.seed, "adapter", network, name),
        )
        setattr(model.get_submodule(parent), child, attached[name].train(model.training))
    return attached


def choose_layers(
    model: WanModel, options: AdapterOptions
) -> tuple[dict[str, Linear], dict[str, Target]]:
    """The linear layers of a transformer, and the target of those that get an adapter, by name.

    Raises:
        ProblemsError: a pattern matches nothing, or a rank is larger than a layer.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Linear)}
    chosen = _chosen(layers, options.targets)
    if problems := list(_rank_problem(layers, chosen)):
        raise ProblemsError(problems)
    return layers, chosen


def adapter_layers(model: nn.Module) -> dict[str, LowRankLinear]:
    """Official name -> layer with an adapter; empty for a model without one."""
    return {n: m for n, m in model.named_modules() if isinstance(m, LowRankLinear)}


@contextmanager
def adapter_strength(model: nn.Module, strength: float) -> Iterator[None]:
    """Inside, the adapter acts with another strength; 0 gives the base's output."""
    layers = adapter_layers(model).values()
    before = [layer.strength for layer in layers]
    for layer in layers:
        layer.strength = strength
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.strength = own


def _chosen(layers: Mapping[str, Linear], targets: Sequence[Target]) -> dict[str, Target]:
    """Layer -> the first target that matches it.

    Raises:
        ProblemsError: targets that match nothing, or nothing that an earlier one left.
    """
    chosen: dict[str, Target] = {}
    problems: list[tuple[str, str]] = []
    for number, target in enumerate(targets):
        matched = [name for name in layers if matches(target.layers, name)]
        left = [name for name in matched if name not in chosen]
        path = f"{KEY}.targets.{number}.layers"
        if not matched:
            problems.append((path, unmatched(target.layers, layers, "linear layer")))
        elif not left:
            message = f"got {target.layers!r}, whose layers all belong to earlier targets"
            problems.append((path, f"{message}; put the narrower pattern first"))
        chosen |= dict.fromkeys(left, target)
    if problems:
        raise ProblemsError(problems)
    return {name: chosen[name] for name in layers if name in chosen}


def _rank_problem(
    layers: Mapping[str, Linear], chosen: Mapping[str, Target]
) -> Iterator[tuple[str, str]]:
    """The first layer that is smaller than its rank."""
    for name, target in chosen.items():
        outputs, inputs = layers[name].out_features, layers[name].in_features
        if target.rank > min(outputs, inputs):
            yield (
                f"{KEY}.rank",
                f"got {target.rank} for {target.layers}, but {name} is {outputs}x{inputs}, whose "
                f"changes have ranks up to {min(outputs, inputs)}",
            )
            return
