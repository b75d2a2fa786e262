"""Decide what of a transformer is trained before the loop sees it, and write that at the end."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.checkpoint.find import saved_step
from wanctl.checkpoint.lora.write import LoraLayer, adapter_step, write_lora
from wanctl.checkpoint.save import save_dit
from wanctl.errors import ProblemsError
from wanctl.log import log
from wanctl.model.dit.transformer import WanModel
from wanctl.train.adapters.attach import AdapterOptions, adapter_layers, attach_adapter
from wanctl.train.optimizers.patterns import matches, unmatched

TRAINED = "train_dit.trained"


@dataclass(frozen=True)
class Base:
    """The weights that training starts from.

    Attributes:
        ref: what the recipe names; None for random weights.
        fingerprint: hash of the weights, or of what they are drawn from.
    """

    ref: str | None
    fingerprint: str


@dataclass(frozen=True)
class TrainedPart:
    """What of a transformer is trained.

    Attributes:
        identity: what a run that continues must have in common; empty where all is trained.
        is_adapter: whether an adapter is trained, which is all that is written.
        layout: of the adapter's file, a key of ADAPTER_FILES.
        base: what the frozen weights are.
        dropout: whether the adapter draws random numbers.
    """

    identity: Mapping[str, str]
    is_adapter: bool
    layout: str
    base: Base
    dropout: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every parameter is trained."""
        return not self.identity

    def save(self, model: WanModel, folder: Path, metadata: Mapping[str, str]) -> None:
        """Write the transformer, or its adapter alone.

        Args:
            model: as it was trained.
            folder: of the transformer in the run folder.
            metadata: of the headers; what an adapter is for is added.

        Raises:
            WriteError: the disk is full or cannot be written.
        """
        if not self.is_adapter:
            # written last: marks a complete folder
            (folder / "config.json").unlink(missing_ok=True)
            save_dit(model, folder, metadata=metadata)
            return
        about = {"base": self.base.ref or "", "base_fingerprint": self.base.fingerprint}
        write_lora(folder, lora_layers(model), self.layout, {**metadata, **about})

    def saved_step(self, folder: Path) -> int | None:
        """Step of what `save` wrote into a folder; None where it wrote nothing."""
        return adapter_step(folder) if self.is_adapter else saved_step(folder)


WHOLE = TrainedPart({}, is_adapter=False, layout="", base=Base(None, ""))


def prepare_adapter(
    model: WanModel, base: Base, options: AdapterOptions, layout: str, network: str = ""
) -> TrainedPart:
    """Freeze a transformer and attach an adapter, in place.

    Args:
        model: loaded.
        base: where its weights come from.
        options: of the adapter.
        layout: of the adapter's file, a key of ADAPTER_FILES.
        network: name of this network among several.

    Raises:
        ProblemsError: see `attach_adapter`.
    """
    attached = attach_adapter(model, options, network)
    ranks = sorted({layer.rank for layer in attached.values()})
    log.info("train-dit: %strains a %s of rank %s on %d layers: %.2f M weights; the others are "
             "frozen", _whose(network), options.kind, " and ".join(map(str, ranks)), len(attached),
             _count(model) / 1e6)  # fmt: skip
    settings = ", ".join(f"{n} {layer.rank} {layer.scale:g}" for n, layer in attached.items())
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    identity = {
        "base weights": base.fingerprint,
        "adapter": f"{options.kind} on {len(attached)} layers ({digest})",
    }
    dropout = options.dropout > 0
    return TrainedPart(identity, is_adapter=True, layout=layout, base=base, dropout=dropout)


def prepare_weights(
    model: WanModel, base: Base, patterns: Sequence[str], network: str = ""
) -> TrainedPart:
    """Let only the parameters that a pattern matches get gradients; the others keep their bits.

    Args:
        model: loaded.
        base: where its weights come from.
        patterns: of names of parameters.
        network: name of this network among several.

    Raises:
        ProblemsError: patterns that match nothing.
    """
    check_patterns(model, patterns)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(any(matches(pattern, name) for pattern in patterns))
    total = sum(parameter.numel() for parameter in parameters.values())
    log.info("train-dit: %strains %s: %.2f of %.2f M weights; the others keep their bits",
             _whose(network), ", ".join(patterns), _count(model) / 1e6, total / 1e6)  # fmt: skip
    identity = {"base weights": base.fingerprint, "trained parameters": ", ".join(patterns)}
    return TrainedPart(identity, is_adapter=False, layout="", base=base)


def check_patterns(model: WanModel, patterns: Sequence[str]) -> None:
    """Check that each pattern matches a parameter.

    Raises:
        ProblemsError: names those that do not.
    """
    parameters = [name for name, _ in model.named_parameters()]
    problems = [
        (f"{TRAINED}.{number}", unmatched(pattern, parameters, "parameter"))
        for number, pattern in enumerate(patterns)
        if not any(matches(pattern, name) for name in parameters)
    ]
    if problems:
        raise ProblemsError(problems)


def lora_layers(model: WanModel) -> dict[str, LoraLayer]:
    """Official name -> the change of that layer, as files hold it."""
    return {
        name: LoraLayer(layer.lora_A, layer.lora_B, layer.scale * layer.rank, layer.magnitude)
        for name, layer in adapter_layers(model).items()
    }


def _count(model: WanModel) -> int:
    """Number of weights that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _whose(network: str) -> str:
    return f"the {network} expert " if network else ""
