"""`wanctl weights inspect`: what a folder, file or hub id holds, from headers alone."""

from dataclasses import dataclass
from itertools import chain

from wanctl.checkpoint.expected import check_part
from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.lazy_tensors import CODES
from wanctl.checkpoint.load import read_dit_shape
from wanctl.checkpoint.parts import IMAGE, LOW, TEXT, TRANSFORMER, VAE, Part, open_parts
from wanctl.checkpoint.pipeline_config import variants_of
from wanctl.checkpoint.tensor_files import WeightsError, read_metadata
from wanctl.model.variants import Variant

COLUMNS = ("part", "layout", "format", "parameters", "size", "files", "whole")
LONGEST = 160


@dataclass(frozen=True)
class Found:
    """What weights are.

    Attributes:
        rows: a part each, cells of COLUMNS.
        variants: rows of VARIANTS that the transformer could be of.
        missing: what those need and is not there.
        problems: what is wrong with parts.
        metadata: what the headers say.
    """

    components: Components
    rows: list[tuple[str, ...]]
    variants: list[Variant]
    missing: list[str]
    problems: list[str]
    metadata: dict[str, str]


def inspect(source: str) -> Found:
    """Look at weights without reading them.

    Raises:
        WeightsError: there are none, or a file is not whole.
    """
    found = find_components(source)
    parts = open_parts(found)
    rows, problems = [], []
    for part in parts:
        problem = _problem(part, found)
        problems += [problem] if problem else []
        rows.append(_row(part, whole=not problem))
    names = {part.name for part in parts}
    variants = []
    if found.dit:
        variants = variants_of(read_dit_shape(found), 2 if LOW in names else 1)
        variants = variants or variants_of(read_dit_shape(found))
    files = list(chain.from_iterable(part.files for part in parts))
    metadata = {k: v for path in files for k, v in read_metadata(path).items() if k != "format"}
    return Found(found, rows, variants, _missing(found, names, variants), problems, metadata)


def notes(found: Found) -> list[tuple[str, str]]:
    """(what, text) for people."""
    known = ", ".join(variant.name for variant in found.variants)
    rows = [("variant", known or ("not one known here" if found.components.dit else "-"))]
    rows += [("missing", each) for each in found.missing]
    rows += [("problem", each) for each in found.problems]
    rows += [(key, value[:LONGEST]) for key, value in found.metadata.items()]
    return rows


def _row(part: Part, *, whole: bool) -> tuple[str, ...]:
    formats = ", ".join(
        CODES.get(dtype, str(dtype))
        for dtype, _ in sorted(part.stored.items(), key=lambda i: -i[1])
    )
    return (
        part.name, part.layout, formats, f"{part.count:,}", f"{part.nbytes / 1e9:.2f} GB",
        str(len(part.files)), "yes" if whole else "no",
    )  # fmt: skip


def _problem(part: Part, found: Components) -> str | None:
    try:
        check_part(part, found)
    except WeightsError as error:
        return str(error)
    return f"{part.clashes[0]} lies in two files" if part.clashes else None


def _missing(found: Components, names: set[str], variants: list[Variant]) -> list[str]:
    """What the model needs beside what is there."""
    if TRANSFORMER not in names:
        return []
    pictures = any(variant.dit.image_dim for variant in variants)
    two = bool(variants) and all(variant.experts > 1 for variant in variants)
    needed = [VAE, TEXT, *([IMAGE] if pictures else []), *([LOW] if two else [])]
    tokenizer = [] if found.tokenizer else ["tokenizer"]
    return [name for name in needed if name not in names] + tokenizer
