"""Choose the model of a run: which network, by which rule, on which terms.

What the recipe sets counts first; what it leaves open comes from the row of the weights, else from
the variant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.find import HUB_ID, cached_components, find_components
from wanctl.checkpoint.recognition.recognise import (
    Recognition,
    recognise,
    recognise_hub_id,
    recognise_lora,
)
from wanctl.checkpoint.registry.rules import rule_text
from wanctl.checkpoint.registry.structures import fits
from wanctl.checkpoint.registry.table import LISTING, checkpoints, get_checkpoint
from wanctl.checkpoint.registry.types import Checkpoint
from wanctl.errors import ProblemsError, unknown
from wanctl.log import info_once, warn_once
from wanctl.model.variant_table import VARIANTS, get_variant
from wanctl.model.variants import RunDefaults, Variant

SHOWN = 4
OTHER_MODEL = "; if it is another model, name that with model.checkpoint"


@dataclass(frozen=True)
class ModelKeys:
    """What a recipe says of its model.

    Attributes:
        variant: `model.variant`.
        checkpoint: `model.checkpoint`.
        weights: `model.weights`.
        low_weights: `model.low_weights`.
        loras: files of `model.loras` whose strength is not 0.
        accept_license: `model.accept_license`.
        vae_width: `model.vae_width`.
        latent_channels: `model.latent_channels`.
    """

    variant: str | None = None
    checkpoint: str | None = None
    weights: str | None = None
    low_weights: str | None = None
    loras: tuple[str, ...] = ()
    accept_license: str | None = None
    vae_width: int | None = None
    latent_channels: int | None = None


@dataclass(frozen=True)
class ModelChoice:
    """The model of a run.

    Attributes:
        variant: its network, with the run defaults of the row.
        row: the row of its weights; None where the weights are not known.
        lora: the row of a LoRA that changes the rule.
        hinted: rows that the weights may belong to instead.
        named: whether a name decided between rows with the same tensors.
    """

    variant: Variant
    row: Checkpoint | None = None
    lora: Checkpoint | None = None
    hinted: tuple[Checkpoint, ...] = ()
    named: bool = False

    @property
    def rules(self) -> tuple[Checkpoint, ...]:
        """The rows whose rule is used, other than an official model's own."""
        return tuple(row for row in (self.row, self.lora) if row and not row.official)

    @property
    def fixed(self) -> Mapping[str, str]:
        """Key of `sample` -> why another value than the rule's is known to fail."""
        return {key: f"{row.title}: {why}" for row in self.rules for key, why in row.fixed.items()}

    def metadata(self) -> dict[str, str]:
        """Entries for the header of an output."""
        return {"checkpoint": ", ".join(row.name for row in self.rules)} if self.rules else {}

    def report(self) -> None:
        """Log once what was recognised, its rule and its licence."""
        for row in self.rules:
            info_once(f"{row.title} ({row.name}): {rule_text(row)}; licence: {row.licence}")
        if self.hinted and self.row:
            names = ", ".join(row.name for row in self.hinted[:SHOWN])
            warn_once(
                f"the weights have the tensors and the prefix of {names}, and are run as "
                f"{self.row.name}; name another with model.checkpoint"
            )


def choose_model(keys: ModelKeys, *, download: bool = False) -> ModelChoice:
    """Choose the network and the run rule.

    Args:
        keys: of the recipe.
        download: whether a hub id whose model is not known may be downloaded to look at it.

    Raises:
        ProblemsError: a name is not known, keys contradict each other or the weights, the model is
            not run, or its licence was not accepted; each with its recipe path.
    """
    problems = list(_name_problems(keys))
    if problems:
        raise ProblemsError(problems)
    found = _recognised(keys, download=download)
    row = get_checkpoint(keys.checkpoint) if keys.checkpoint else found.row
    if row and row.kind == "lora":
        row, named_lora = found.row, row
    else:
        named_lora = None
    other = row and row.variant and keys.variant and row.variant != keys.variant
    if other and not keys.checkpoint:
        row = None  # weights of another network, such as a start of training
    name = keys.variant or (row.variant if row else None) or (named_lora and named_lora.variant)
    variant = get_variant(name, vae_width=keys.vae_width, latent_channels=keys.latent_channels)
    lora = named_lora or _lora_row(keys.loras, variant.name)
    problems = [*_network_problems(keys, row, found), *_licence_problems(keys, (row, lora))]
    if problems:
        raise ProblemsError(problems)
    rule = None if row is None or row.official else row.defaults
    defaults = rule or variant.defaults
    if lora and lora.defaults:
        defaults = _with_few_steps(defaults, lora.defaults)
    variant = replace(variant, defaults=defaults, tasks=(row.tasks if row else ()) or variant.tasks)
    hinted = () if keys.checkpoint or found.row is not row else found.hinted
    return ModelChoice(variant, row, lora, hinted, found.named or bool(keys.checkpoint))


def _name_problems(keys: ModelKeys) -> Sequence[tuple[str, str]]:
    """Names that are in no table, and names that contradict each other."""
    problems = []
    if keys.variant is not None and keys.variant not in VARIANTS:
        problems.append(("model.variant", unknown("variant", keys.variant, VARIANTS)))
    for key, name in (("checkpoint", keys.checkpoint), ("accept_license", keys.accept_license)):
        if name is not None and name not in checkpoints():
            problems.append(
                (f"model.{key}", unknown("checkpoint", name, checkpoints(), listing=LISTING))
            )
    if problems or keys.checkpoint is None:
        return problems
    row = checkpoints()[keys.checkpoint]
    if row.kind not in ("model", "lora"):
        problems.append(
            ("model.checkpoint", f"{row.title} is a {row.kind}; need a model or a LoRA")
        )
    elif row.kind == "lora" and not keys.loras:
        problems.append(
            ("model.checkpoint", f"{row.title} is a LoRA; name its file under model.loras")
        )
    elif row.kind == "model" and not row.official and not keys.weights:
        hub = f", e.g. `--set model.weights={row.hub[0]}`" if row.hub else ""
        problems.append(("model.weights", f"not set; {row.title} needs its own weights{hub}"))
    elif row.kind == "model" and row.variant and keys.variant not in (None, row.variant):
        problems.append((
            "model.variant",
            f"got {keys.variant}, and model.checkpoint {row.name} is a {row.variant}; leave one out"
        ))  # fmt: skip
    return problems


def _recognised(keys: ModelKeys, *, download: bool) -> Recognition:
    """What `model.weights` is; nothing is known of weights that cannot be read."""
    ref = keys.weights
    if ref is None:
        return Recognition(None)
    is_hub_id = bool(HUB_ID.fullmatch(ref)) and not Path(ref).expanduser().exists()
    if is_hub_id and (row := recognise_hub_id(ref)):
        return Recognition(row, named=True)
    try:
        components = cached_components(ref) if is_hub_id and not download else find_components(ref)
        if components is None:
            return Recognition(None)
        two_experts = True if keys.low_weights else None
        return recognise(components, ref=ref, variant=keys.variant, two_experts=two_experts)
    except WeightsError:  # said where the weights are used
        return Recognition(None)


def _lora_row(loras: Sequence[str], variant: str) -> Checkpoint | None:
    rows = (recognise_lora(Path(path).expanduser(), variant) for path in loras)
    return next((row for row in rows if row), None)


def _network_problems(
    keys: ModelKeys, row: Checkpoint | None, found: Recognition
) -> Sequence[tuple[str, str]]:
    """Why the weights are not run as the row says."""
    if row is None:
        return []
    stored = found.structure
    if keys.checkpoint and stored and row.structure and not fits(stored, row.structure):
        is_one = f", but of {found.row.title}" if found.row else ""
        return [(
            "model.checkpoint",
            f"{keys.weights} does not have the tensors of {row.title}{is_one}",
        )]  # fmt: skip
    why = found.why_not if found.row is row else row.unsupported
    if not why:
        return []
    if keys.checkpoint:
        return [("model.checkpoint", f"{row.title} is not run: {why}")]
    advice = "" if found.exact and not found.alike else OTHER_MODEL
    return [("model.weights", f"{keys.weights}: is {row.title}, which is not run: {why}{advice}")]


def _licence_problems(
    keys: ModelKeys, rows: Sequence[Checkpoint | None]
) -> Sequence[tuple[str, str]]:
    """Rows whose licence the recipe has to accept; the name of one accepts its licence."""
    accepted = keys.accept_license and checkpoints()[keys.accept_license].licence
    return [
        (
            "model.accept_license",
            f"{row.title} is under {row.licence}, which forbids commercial use; accept that with "
            f"`--set model.accept_license={row.name}`"
            + (OTHER_MODEL if row.kind == "model" and not keys.checkpoint else ""),
        )
        for row in rows
        if row and not row.commercial and row.licence != accepted
    ]


def _with_few_steps(defaults: RunDefaults, rule: RunDefaults) -> RunDefaults:
    """Run defaults of a model with the schedule and the guidance of a LoRA's rule."""
    return replace(
        defaults,
        steps=rule.steps,
        shift=rule.shift,
        small_shift=None,
        levels=rule.levels,
        guide_scale=rule.guide_scale,
        solver=rule.solver,
    )
