"""`wanctl weights inspect`: report what a folder, file or hub id holds, reading only headers."""

from dataclasses import dataclass
from itertools import chain

from wanctl.checkpoint.expected import check_network, without_lacking
from wanctl.checkpoint.files.tensor_files import WeightsError, read_metadata
from wanctl.checkpoint.files.write import CODES
from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.inspection.identify import Identity, identify_components, notes_of
from wanctl.checkpoint.load import read_dit_shape
from wanctl.checkpoint.networks import (
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    TRANSFORMER_2,
    VAE,
    StoredNetwork,
    open_networks,
)
from wanctl.checkpoint.pipeline_config import variants_of
from wanctl.model.variants import Variant

COLUMNS = ("part", "layout", "format", "parameters", "size", "files", "whole")
LONGEST = 160


@dataclass(frozen=True)
class Inspection:
    """What a reference holds.

    Attributes:
        components: its files.
        rows: a network each, cells of COLUMNS.
        variants: entries of VARIANTS with the sizes of the transformer.
        missing: networks that those variants need and the reference does not hold.
        problems: one line for each network that is not as expected.
        metadata: entries of the headers.
        identity: the row of CHECKPOINTS that it is.
    """

    components: Components
    rows: list[tuple[str, ...]]
    variants: list[Variant]
    missing: list[str]
    problems: list[str]
    metadata: dict[str, str]
    identity: Identity


def inspect(source: str) -> Inspection:
    """Inspect weights without reading them.

    Raises:
        WeightsError: there are none, or a file is truncated.
    """
    components = find_components(source)
    networks = [without_lacking(network, components) for network in open_networks(components)]
    rows, problems = [], []
    for network in networks:
        problem = _problem(network, components)
        problems += [problem] if problem else []
        rows.append(_row(network, complete=not problem))
    names = {network.name for network in networks}
    variants = _variants(components, 2 if TRANSFORMER_2 in names else 1)
    files = list(chain.from_iterable(network.files for network in networks))
    metadata = {k: v for path in files for k, v in read_metadata(path).items() if k != "format"}
    return Inspection(
        components, rows, variants, _missing(components, names, variants), problems, metadata,
        identify_components(components, source),
    )  # fmt: skip


def notes(inspection: Inspection) -> list[tuple[str, str]]:
    """Rows (topic, text) with the variants, what is missing, problems and header entries."""
    known = ", ".join(variant.name for variant in inspection.variants)
    rows = [("variant", known or ("not one known here" if inspection.components.dit else "-"))]
    rows += notes_of(inspection.identity)
    rows += [("missing", each) for each in inspection.missing]
    rows += [("problem", each) for each in inspection.problems]
    rows += [(key, value[:LONGEST]) for key, value in inspection.metadata.items()]
    return rows


def _variants(components: Components, experts: int) -> list[Variant]:
    """Entries of VARIANTS with these sizes, those with as many experts if there are such."""
    if not components.dit:
        return []
    try:
        shape = read_dit_shape(components)
    except WeightsError:  # its problem says the same
        return []
    return variants_of(shape, experts) or variants_of(shape)


def _row(network: StoredNetwork, *, complete: bool) -> tuple[str, ...]:
    formats = ", ".join(
        CODES.get(dtype, str(dtype))
        for dtype, _ in sorted(network.stored.items(), key=lambda i: -i[1])
    )
    return (
        network.name, network.layout, formats, f"{network.count:,}",
        f"{network.nbytes / 1e9:.2f} GB", str(len(network.files)), "yes" if complete else "no",
    )  # fmt: skip


def _problem(network: StoredNetwork, components: Components) -> str | None:
    try:
        check_network(network, components)
    except WeightsError as error:
        return str(error)
    return f"{network.duplicates[0]} is in two files" if network.duplicates else None


def _missing(components: Components, names: set[str], variants: list[Variant]) -> list[str]:
    """Networks that the model needs and the reference does not hold."""
    if TRANSFORMER not in names:
        return []
    takes_images = any(variant.dit.image_dim for variant in variants)
    two_experts = bool(variants) and all(variant.experts > 1 for variant in variants)
    needed = [
        VAE,
        TEXT_ENCODER,
        *([IMAGE_ENCODER] if takes_images else []),
        *([TRANSFORMER_2] if two_experts else []),
    ]
    tokenizer = [] if components.tokenizer else ["tokenizer"]
    return [name for name in needed if name not in names] + tokenizer
