"""Find the row of CHECKPOINTS that weights belong to, from the headers of their files.

Names and shapes give the network; where several rows have it, names of files, folders and hub ids
and the entries of headers decide. Nothing is read but headers.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wanctl.checkpoint.files.folders import CACHED, STEM
from wanctl.checkpoint.files.tensor_files import WeightsError, read_config, read_metadata
from wanctl.checkpoint.find import HUB_ID, Components
from wanctl.checkpoint.load import official_names
from wanctl.checkpoint.prefixes import TRANSFORMER
from wanctl.checkpoint.registry.structures import (
    NOT_RUN,
    Shapes,
    fits,
    layout_md5,
    structure_of,
)
from wanctl.checkpoint.registry.table import checkpoints
from wanctl.checkpoint.registry.types import Checkpoint, Structure
from wanctl.model.variant_table import VARIANTS

# Header entry that names the row, and others that people fill with a model's name.
CHECKPOINT_KEY = "wanctl.checkpoint"
NAMING_KEYS = ("modelspec.title", "modelspec.architecture", "title", "name", "base_model")


@dataclass(frozen=True)
class Recognition:
    """What a transformer is.

    Attributes:
        row: the row that it belongs to; None where the tensors are those of no row.
        alike: other rows with the same tensors. Where `named` is false, `row` is the official one.
        structure: of the transformer; None where the tensors do not show one.
        named: whether names or headers point to the row.
        hinted: rows of `alike` that are published under the prefix of these tensors.
        exact: whether sizes are those of the row's published file.
    """

    row: Checkpoint | None
    alike: tuple[Checkpoint, ...] = ()
    structure: Structure | None = None
    named: bool = False
    hinted: tuple[Checkpoint, ...] = ()
    exact: bool = False

    @cached_property
    def why_not(self) -> str | None:
        """Why it is not run; None where it is, or where it is not known."""
        if self.row is None:
            return None
        parts = self.structure.parts if self.structure else frozenset()
        reasons = (why for part, why in NOT_RUN.items() if part in parts)
        return next(reasons, self.row.unsupported)


def recognise(
    components: Components,
    *,
    ref: str | None = None,
    variant: str | None = None,
    two_experts: bool | None = None,
) -> Recognition:
    """Find the row of a transformer.

    Args:
        components: the files.
        ref: how the user names them; a hub id is among the names that decide.
        variant: only rows of this variant, if there are such.
        two_experts: whether there are two transformers; None: as the components say.

    Raises:
        WeightsError: a file cannot be read.
    """
    if not components.dit:
        return Recognition(None)
    names, shapes = official_names(components.dit, TRANSFORMER)
    if two_experts is None:
        two_experts = bool(components.dit_low)
    structure = structure_of(shapes)
    rows = [
        row
        for row in checkpoints().values()
        if row.kind == "model" and row.structure and structure and fits(structure, row.structure)
    ]
    sized = [row for row in rows if _is_size_of(row, shapes)]
    rows = _narrowed(sized or rows, lambda row: row.experts == 1 + two_experts)
    rows = _narrowed(rows, lambda row: variant is None or row.variant == variant)
    if not rows:
        return Recognition(None, structure=structure)
    named = _named(rows, _names(components, ref), _metadata(components))
    row = named or next((row for row in rows if row.official), rows[0])
    alike = tuple(other for other in rows if other is not row)
    stored_md5 = layout_md5({stored: shapes[name] for stored, name in names.items()})
    hinted = () if named else tuple(each for each in alike if each.layout.stored_md5 == stored_md5)
    return Recognition(row, alike, structure, named is not None, hinted, bool(sized))


def recognise_hub_id(ref: str) -> Checkpoint | None:
    """The row whose model a hub id names alone; None where the table does not have it."""
    rows = [row for row in checkpoints().values() if row.kind == "model" and ref in row.hub]
    return rows[0] if len(rows) == 1 else None


def recognise_lora(path: Path, variant: str | None) -> Checkpoint | None:
    """The row of a LoRA that changes how the model is run, by its names and header.

    Args:
        path: file or folder of the LoRA.
        variant: of the model that it is applied to; rows made for it come first. None: any.
    """
    rows = [row for row in checkpoints().values() if row.kind == "lora"]
    rows = _narrowed(rows, lambda row: row.variant == variant)
    names = [path.name, path.parent.name, *_cached_names(path)]
    try:
        metadata = read_metadata(path) if path.is_file() else {}
    except WeightsError:  # reading it for the model says why
        metadata = {}
    return _named(rows, names, metadata)


def words(names: Iterable[str]) -> set[str]:
    """Words and numbers of names, in lower case."""
    return {word for name in names for word in re.findall(r"[a-z0-9]+", name.lower())}


def _narrowed(rows: Sequence[Checkpoint], keep: Callable[[Checkpoint], bool]) -> list[Checkpoint]:
    """The rows that are kept, or all where none is."""
    return [row for row in rows if keep(row)] or list(rows)


def _is_size_of(row: Checkpoint, shapes: Shapes) -> bool:
    if row.variant is None:
        return layout_md5(shapes) == row.layout.md5
    dit = VARIANTS[row.variant].dit
    blocks = {name.split(".")[1] for name in shapes if name.startswith("blocks.")}
    return (
        shapes["patch_embedding.weight"][0] == dit.dim
        and len(blocks) == dit.num_layers
        and shapes.get("text_embedding.0.weight", (0, 0))[1] == dit.text_dim
    )


def _named(
    rows: Sequence[Checkpoint], names: Sequence[str], metadata: Mapping[str, str]
) -> Checkpoint | None:
    """The row that names and headers point to."""
    if own := [row for row in rows if row.name == metadata.get(CHECKPOINT_KEY)]:
        return own[0]
    rows = [row for row in rows if any(name in row.hub for name in names)] or rows
    there = words([*names, *(metadata[key] for key in NAMING_KEYS if key in metadata)])
    best = max(rows, key=lambda row: _score(row, there), default=None)
    if best is None or len(rows) == 1:
        return best
    return best if _score(best, there) > (False, 0) else None


def _score(row: Checkpoint, there: set[str]) -> tuple[bool, int]:
    """Letters of the longest entry of `marks` whose words are all there; official rows last."""
    longest = max((len(mark) for mark in row.marks if set(mark.split()) <= there), default=0)
    return bool(longest) and not row.official, longest


def _names(components: Components, ref: str | None) -> list[str]:
    """Names that may tell what the weights are: hub id, files, their folders."""
    root = components.root
    names = [ref] if ref and HUB_ID.fullmatch(ref) and not Path(ref).exists() else []
    names += [root.name, *([root.parent.name] if root.is_file() else []), *_cached_names(root)]
    files = (*(components.dit or ()), *(components.dit_low or ()))
    return names + [path.name for path in files if not path.name.startswith(STEM)]


def _cached_names(path: Path) -> list[str]:
    """Hub id of a path in the hub cache."""
    folders = [part for part in path.absolute().parts if part.startswith(CACHED)]
    return [folder.removeprefix(CACHED).replace("--", "/") for folder in folders[-1:]]


def _metadata(components: Components) -> dict[str, str]:
    """Entries of headers and configs that may name the model."""
    found: dict[str, str] = {}
    for path in components.dit or ():
        found |= read_metadata(path)
    if components.dit_config:
        origin = read_config(components.dit_config).get("_name_or_path")
        found |= {"name": origin} if isinstance(origin, str) else {}
    return found
