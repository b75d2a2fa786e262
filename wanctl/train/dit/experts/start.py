"""Find and load the transformers that a run starts from: one, or two experts."""

from collections.abc import Callable

from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.load import read_dit_shape
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import HIGH, LOW, Expert, Variant
from wanctl.train.adapters.prepare import TrainedPart
from wanctl.train.dit.experts.plan import ExpertOptions
from wanctl.train.dit.experts.routing import Routing
from wanctl.train.dit.experts.transformers import StoredExpert, Transformers
from wanctl.train.dit.start import StartError

Load = Callable[[Components | None, str], tuple[WanModel, TrainedPart]]
"""(where a transformer is stored, name of the network) -> it, random without one; what is trained.
"""


def find_experts(weights: str | None, low_weights: str | None) -> dict[Expert, Components]:
    """The experts that the recipe's weights hold, each as the transformer of its components.

    Args:
        weights: `model.weights`.
        low_weights: `model.low_weights`, which goes before what `weights` holds.

    Raises:
        WeightsError: there is nothing at one of them.
        StartError: `low_weights` holds no transformer.
    """
    found: dict[Expert, Components] = {}
    if weights is not None:
        components = find_components(weights)
        if components.dit:
            found[HIGH] = components
        if components.dit_low:
            found[LOW] = components.low_expert
    if low_weights is not None:
        low = find_components(low_weights)
        if not low.dit:
            raise StartError(f"model.low_weights: {low.root} holds no transformer; name one")
        found[LOW] = low
    return found


def check_one_transformer(variant: Variant, weights: str | None) -> None:
    """Refuse weights of two experts for a variant with one transformer.

    Raises:
        StartError: one of them would be dropped.
    """
    if weights is not None and (components := find_components(weights)).dit_low:
        raise StartError(
            f"model.weights: {components.root} holds two transformers and {variant.name} takes "
            "one; set model.variant to one that takes two (wan2.2-t2v-a14b, wan2.2-i2v-a14b), or "
            "name the folder of one of them"
        )


def start_experts(
    options: ExpertOptions,
    routing: Routing,
    found: dict[Expert, Components],
    load: Load,
    *,
    precision: str,
    strict: bool,
) -> Transformers:
    """Load the experts that are trained; the other one stays where it is stored.

    Args:
        options: which are trained.
        routing: from `route_experts`.
        found: from `find_experts`; empty: random weights.
        load: loads one of those that are trained.
        precision: see `WanModel`.
        strict: see `load_dit`.

    Raises:
        StartError: one of those that are trained is not there, or they differ in size.
    """
    both: tuple[Expert, Expert] = (HIGH, LOW)
    for name in both:
        if found and name in options.networks and name not in found:
            key = "model.low_weights" if name == LOW else "model.weights"
            raise StartError(
                f"{next(iter(found.values())).root}: holds no {name}-noise expert, which is to be "
                f"trained; name it in {key}, or train the other one alone "
                f"(train_dit.experts: {HIGH if name == LOW else LOW})"
            )
    loaded = {name: load(found.get(name), name) for name in both if name in routing.levels}
    models = {name: model for name, (model, _) in loaded.items()}
    parts = {name: part for name, (_, part) in loaded.items()}
    shapes = {str(model.shape) for model in models.values()}
    stored = None
    for name in both:
        if name not in models and name in found:
            stored = StoredExpert(name, found[name], precision, strict)
            shapes.add(str(read_dit_shape(found[name])))
    if len(shapes) > 1:
        raise StartError(
            f"train-dit: the experts differ in size: {' and '.join(sorted(shapes))}; name two of "
            "one model in model.weights and model.low_weights"
        )
    if len(models) == 1:
        _log_other(next(iter(models)), stored)
    return Transformers(models, parts, routing, boundary=options.boundary, stored=stored)


def _log_other(trained: str, stored: StoredExpert | None) -> None:
    if stored is not None:
        log.info("train-dit: previews and the run folder take the %s-noise expert from %s",
                 stored.name, (stored.components.dit or (stored.components.root,))[0])  # fmt: skip
        return
    other = LOW if trained == HIGH else HIGH
    log.warning("train-dit: there is no %s-noise expert: previews are sampled with the %s-noise "
                "expert at all levels, and the run folder will hold that one alone, which "
                "sampling needs the other beside (model.weights, model.low_weights)",
                other, trained)  # fmt: skip
