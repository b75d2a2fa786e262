"""Say what a file of weights is: a row of CHECKPOINTS, or a part of a model; one line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.find import Components, components_in, find_components
from wanctl.checkpoint.load import official_names
from wanctl.checkpoint.prefixes import IMAGE_ENCODER, TEXT_ENCODER, VAE
from wanctl.checkpoint.recognition.recognise import Recognition, recognise, recognise_lora
from wanctl.checkpoint.registry.refusals import is_lora
from wanctl.checkpoint.registry.rules import rule_text
from wanctl.checkpoint.registry.structures import layout_md5
from wanctl.checkpoint.registry.table import checkpoints
from wanctl.checkpoint.registry.types import Checkpoint

ALIKE_SHOWN = 12
# Attribute of Components -> what a file of that part alone is.
PARTS = {VAE: "vae", TEXT_ENCODER: "text encoder", IMAGE_ENCODER: "image encoder"}


@dataclass(frozen=True)
class Identity:
    """What a file or folder holds.

    Attributes:
        kind: of Checkpoint, or `unknown`.
        row: the row; None where it is of none.
        recognition: of its transformer, if it has one.
        problem: why it is none of what is read here, in one line.
    """

    kind: str
    row: Checkpoint | None = None
    recognition: Recognition | None = None
    problem: str = ""


def identify(files: Sequence[Path]) -> Identity:
    """Identify one file or folder, or shards; what cannot be read has a `problem`."""
    path = files[0]
    try:
        if is_lora(path):
            return Identity("lora", recognise_lora(path, None))
        shards = components_in(path, tuple(files)) if len(files) > 1 else None
        return identify_components(shards or find_components(path), str(path))
    except WeightsError as error:
        return Identity("unknown", problem=str(error))


def identify_components(components: Components, ref: str) -> Identity:
    """Identify what was found at a reference.

    Raises:
        WeightsError: a file cannot be read.
    """
    if components.dit:
        recognition = recognise(components, ref=ref)
        return Identity("model", recognition.row, recognition)
    for part, kind in PARTS.items():
        place = getattr(components, part)
        files = place if isinstance(place, tuple) else (place,) if place else ()
        if files:
            return Identity(kind, _row_of_part(files, part, kind))
    return Identity("unknown")


def notes_of(identity: Identity) -> list[tuple[str, str]]:
    """Rows (topic, text): the checkpoint, its rule, its licence, and what it may be instead."""
    row, found = identity.row, identity.recognition
    if row is None:
        return []
    exact = "" if found is None or found.exact else ", of another size"
    rows = [("checkpoint", f"{row.name} ({row.title}{exact})")]
    if why := (found.why_not if found else row.unsupported):
        rows.append(("not run", why))
    elif rule := rule_text(row):
        rows.append(("rule", rule))
    terms = "" if row.commercial else f"; model.accept_license: {row.name} accepts it"
    rows.append(("licence", f"{row.licence}{terms}"))
    rows += [("note", row.note)] if row.note else []
    if found and found.alike:
        names = ", ".join(each.name for each in found.alike[:ALIKE_SHOWN])
        rows.append(("same tensors", f"{names}; model.checkpoint names one of them"))
    return rows


def _row_of_part(files: tuple[Path, ...], part: str, kind: str) -> Checkpoint | None:
    """The row with the layout of a VAE or an encoder."""
    if any(path.is_dir() for path in files):
        return None
    digest = layout_md5(official_names(files, part)[1])
    rows = (row for row in checkpoints().values() if row.kind == kind)
    return next((row for row in rows if row.layout.md5 == digest), None)
