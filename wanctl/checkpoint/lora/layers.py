"""Match the keys of a LoRA file with the parameters of a model; no key is lost without a word."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from wanctl.checkpoint.branches import branch_of
from wanctl.checkpoint.key_tables import DIT_KEYS, to_diffusers
from wanctl.checkpoint.lora.deltas import (
    DenseDelta,
    DoraDelta,
    HadamardDelta,
    KroneckerDelta,
    LowRankDelta,
    Replacement,
    Shape,
    WeightDelta,
)
from wanctl.checkpoint.lora.files import StoredLora
from wanctl.checkpoint.lora.keys import (
    Place,
    find_layer,
    foreign_network,
    is_known_prefix,
    other_kind,
    parse,
)
from wanctl.checkpoint.lora.scales import configured_rank, scale_of
from wanctl.model.variants import HIGH, LOW, Expert

Shapes = Mapping[str, Shape]
Roles = dict[str, Tensor]
PATCH = "patch_embedding.weight"
MATRIX_ROLES = {"w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t1", "t2", "down", "up", "mid"}
BASE_PREFIX = "base_model.model."  # PEFT's, before the name that its patterns are matched with


@dataclass
class Layer:
    """What a file holds for one layer under one spelling.

    Attributes:
        families: (adapter, family of spelling) -> role -> tensor.
        alpha: stored for the layer; None without.
        magnitudes: adapter -> (norms of DoRA, whether they are of outputs; None: by their shape).
    """

    families: dict[tuple[str, str], Roles] = field(default_factory=lambda: defaultdict(dict))
    alpha: Tensor | None = None
    magnitudes: dict[str, tuple[Tensor, bool | None]] = field(default_factory=dict)


@dataclass
class Matched:
    """The outcome for one model.

    Attributes:
        deltas: parameter -> its changes, which are added.
        wrong: keys that fit nothing, each with the reason.
        left_out: part that the model lacks -> keys.
        skipped: number of layers that are for the other expert.
    """

    deltas: dict[str, list[WeightDelta]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    skipped: int = 0


def layer_names(parameters: Iterable[str]) -> dict[str, str]:
    """Every spelling of a layer in LoRA files -> its official name.

    Official and diffusers names, with dots or with underscores, and `blocks.N` itself, for whose
    modulation some files have a delta. Names without dots are unique, which a test asserts for all
    variants.
    """
    layers = {name.rpartition(".")[0] for name in parameters}
    spelt = {}
    for official, theirs in to_diffusers(layers, DIT_KEYS).items():
        for name in (official, theirs):
            spelt[name] = spelt[name.replace(".", "_")] = official
    return spelt


def match_deltas(
    stored: StoredLora, names: Mapping[str, str], shapes: Shapes, expert: Expert | None
) -> Matched:
    """Match the deltas of a file with a model.

    Args:
        stored: the file.
        names: every spelling of every layer -> its official name (`layer_names`).
        shapes: of the model's parameters, by official name.
        expert: which of two transformers the model is; None where there is one.
    """
    result = Matched()
    layers = _layers(stored, result)
    if {family for layer in layers.values() for _, family in layer.families} == {"full"}:
        result.wrong += layers  # parameters in full and nothing else: a model, no change of one
        return result
    places = {name: find_layer(name, names) for name in layers}
    known = {name: place for name, place in places.items() if place}
    prefixes = {place.prefix for place in known.values()}
    has_low = any(place.expert == LOW for place in known.values())
    for name, layer in layers.items():
        place = places[name]
        if place and len(prefixes) > 1 and not is_known_prefix(place.prefix):
            place = None
        if place is None or foreign_network(name):
            _place_unknown(name, result)
        elif _is_for_other(place, expert, has_low=has_low):
            result.skipped += 1
        else:
            _add(stored, name, layer, place, shapes, result)
    return result


def _layers(stored: StoredLora, result: Matched) -> dict[str, Layer]:
    """The tensors of a file by stored layer; keys of unknown roles go to the result."""
    layers: dict[str, Layer] = defaultdict(Layer)
    for key, tensor in stored.tensors.items():
        parsed, kind = parse(key), other_kind(key)
        if parsed is None or kind:
            network = foreign_network(key)
            if network:
                result.left_out[network].append(key)
            else:
                reason = f"{kind}, which is not applied here" if kind else "unknown kind"
                result.wrong.append(f"{key} ({reason})")
            continue
        layer = layers[parsed.layer]
        if parsed.role == "alpha":
            layer.alpha = tensor
        elif parsed.role in ("magnitude", "dora_scale"):
            by_output = True if parsed.role == "magnitude" else None
            layer.magnitudes[parsed.adapter] = tensor, by_output
        else:
            layer.families[parsed.adapter, parsed.family][parsed.role] = tensor
    return layers


def _place_unknown(name: str, result: Matched) -> None:
    """Say what a layer is that the model does not have."""
    part = foreign_network(f"{name}.") or branch_of(name)
    if part:
        result.left_out[part].append(name)
    else:
        result.wrong.append(name)


def _is_for_other(place: Place, expert: Expert | None, *, has_low: bool) -> bool:
    if expert == LOW:  # a file with keys for either expert names those of the low one
        return place.expert == HIGH or (has_low and place.expert != LOW)
    return place.expert == LOW


def _add(
    stored: StoredLora, name: str, layer: Layer, place: Place, shapes: Shapes, result: Matched
) -> None:
    config = stored.config(low=place.expert == LOW)
    names = (name.removeprefix(BASE_PREFIX), place.spelling)
    where = f"LoRA {stored.path}: {place.spelling}"
    for parameter, delta in _deltas(layer, place.layer, names, config, where):
        if isinstance(delta, str):
            result.wrong.append(f"{place.spelling} ({delta})")
            continue
        shape = shapes.get(parameter)
        problem = delta.mismatch(shape) if shape else "the model has no such parameter"
        if not problem:
            result.deltas[parameter].append(delta)
        elif shape and parameter == PATCH and _outputs(delta) == shape[0]:
            result.left_out["a patch embedding of another width"].append(place.spelling)
        else:
            result.wrong.append(f"{place.spelling} ({problem})")


def _deltas(
    layer: Layer, official: str, names: Sequence[str], config: Mapping[str, Any], where: str
) -> Iterator[tuple[str, WeightDelta | str]]:
    """(parameter, change) of a layer, or (parameter, what is wrong with it)."""
    products: dict[str, list[WeightDelta]] = defaultdict(list)
    for (adapter, family), roles in layer.families.items():
        if family == "dense":
            yield from ((f"{official}.{role}", DenseDelta(t)) for role, t in roles.items())
        elif family == "full":
            yield from ((f"{official}.{role}", Replacement(t)) for role, t in roles.items())
        else:
            problem = _not_matrices(roles)
            product = problem or _product(family, roles, names, layer.alpha, config, where)
            if isinstance(product, str):
                yield f"{official}.weight", product
                continue
            products[adapter].append(product)
            if "up_bias" in roles:
                yield f"{official}.bias", DenseDelta(roles["up_bias"], product.scale)
    for adapter, parts in products.items():
        norms = layer.magnitudes.pop(adapter, None)
        changes = _with_norms(parts, norms, needs_norms=bool(config.get("use_dora")))
        yield from ((f"{official}.weight", change) for change in changes)
    if layer.magnitudes:
        yield f"{official}.weight", "norms of DoRA without matrices"
    if layer.alpha is not None and not products:
        yield f"{official}.weight", "an alpha without matrices"


def _with_norms(
    parts: list[WeightDelta], norms: tuple[Tensor, bool | None] | None, *, needs_norms: bool
) -> Sequence[WeightDelta | str]:
    """The changes of one adapter, as one of DoRA where it has norms."""
    if norms:
        return [DoraDelta(parts, *norms)]
    return ["DoRA by its settings, and the norms are missing"] if needs_norms else parts


def _product(
    family: str,
    roles: Roles,
    names: Sequence[str],
    alpha: Tensor | None,
    config: Mapping[str, Any],
    where: str,
) -> LowRankDelta | HadamardDelta | KroneckerDelta | str:
    """The product of a family's matrices, or what is wrong with them."""

    def scale(rank: int) -> float:
        return scale_of(names, rank, alpha, config, where)

    if family == "loha":
        factors = [roles.get(role) for role in ("w1_a", "w1_b", "w2_a", "w2_b")]
        kernels = tuple(roles[role] for role in ("t1", "t2") if role in roles)
        a1, b1, a2, b2 = factors
        if a1 is None or b1 is None or a2 is None or b2 is None:
            return "one of its four matrices is missing"
        return HadamardDelta((a1, b1, a2, b2), kernels, scale(b1.shape[0]))
    if family == "lokr":
        first, second = ([roles[r] for r in _factors(n, roles)] for n in ("w1", "w2"))
        if not first or not second:
            return "one of its two matrices is missing"
        # Whole matrices have no rank: LyCORIS then takes alpha for it, PEFT that of its settings.
        rank = next((each[1].shape[0] for each in (second, first) if len(each) == 2), None)
        if rank is None and alpha is None:
            rank = configured_rank(names, config, where)
        return KroneckerDelta(first, second, roles.get("t2"), 1.0 if rank is None else scale(rank))
    if "down" not in roles or "up" not in roles:
        return "one of its two matrices is missing"
    return LowRankDelta(roles["down"], roles["up"], scale(roles["down"].shape[0]), roles.get("mid"))


def _factors(name: str, roles: Roles) -> list[str]:
    if name in roles:
        return [name]
    both = [f"{name}_a", f"{name}_b"]
    return both if all(role in roles for role in both) else []


def _not_matrices(roles: Roles) -> str | None:
    for role, tensor in roles.items():
        if role not in MATRIX_ROLES:
            continue
        if tensor.ndim < 2 or not tensor.numel():
            return f"{role} has shape {tuple(tensor.shape)}; need a matrix"
        if not tensor.is_floating_point():
            return f"{role} holds {str(tensor.dtype).removeprefix('torch.')}; need floating point"
    return None


def _outputs(delta: WeightDelta) -> int | None:
    """Number of outputs that a change is for; None where its kind does not show it."""
    if isinstance(delta, LowRankDelta):
        return delta.up.shape[0]
    if isinstance(delta, DenseDelta | Replacement):
        return delta.value.shape[0] if delta.value.ndim > 1 else None
    return None
