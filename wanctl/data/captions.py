"""Captions of a data set's clips: which caption table counts for which clip."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from wanctl.data.dataset import DatasetDir
from wanctl.data.sidecars.texts import clean
from wanctl.data.table_order import name_of, tables_newest_first
from wanctl.errors import UserError, unknown


class CaptionsError(UserError):
    """A weight for captions that the data set does not have."""


class ClipCaption(NamedTuple):
    """One caption of a clip."""

    text: str
    variant: str
    backend: str


class WeightedCaption(NamedTuple):
    """One caption of a clip and its share, 0 to 1, of those that are drawn for the clip."""

    text: str
    share: float


def read_captions(
    dataset: DatasetDir, backends: Sequence[str], ids: Iterable[str] | None = None
) -> dict[str, list[ClipCaption]]:
    """All captions of each clip, from the first backend that captioned it.

    White space and byte order marks at the ends of a caption are dropped; one of white space alone
    is none. A backend whose settings changed leaves its older table in place; the table that
    `wanctl caption` last worked on counts (see table_order.py).

    Args:
        dataset: where the tables are.
        backends: the recipe's `caption.backends`; tables of others come after theirs.
        ids: only these clips.
    """

    def rank(table: str) -> int:
        backend = name_of(table)
        return backends.index(backend) if backend in backends else len(backends)

    captions: dict[str, list[ClipCaption]] = {}
    # a stable sort: within one backend the newest table stays first
    for table in sorted(tables_newest_first(dataset, "captions"), key=rank):
        new: dict[str, list[ClipCaption]] = {}
        for clip, caption in _rows(dataset, table, ids):
            if clip not in captions:
                new.setdefault(clip, []).append(caption)
        captions |= new
    return captions


def read_weighted_captions(
    dataset: DatasetDir, weights: Mapping[str, float], ids: Iterable[str] | None = None
) -> dict[str, list[WeightedCaption]]:
    """Captions of several backends and variants by weight, those of the first name first.

    A name shares its weight among the captions of a clip that it fits, and a caption counts with
    the first name that fits it. Of a clip that has some of the captions only, these share the
    whole; captions that no name fits are left out.

    Args:
        dataset: where the tables are; of each backend the newest one with the clip counts.
        weights: backend, variant, or `BACKEND/VARIANT` -> relative weight.
        ids: only these clips.

    Raises:
        CaptionsError: no caption of these clips has such a backend or variant.
    """
    found: dict[str, list[ClipCaption]] = {}
    for table in tables_newest_first(dataset, "captions"):
        new: dict[str, list[ClipCaption]] = {}
        for clip, caption in _rows(dataset, table, ids):
            if all(each.backend != caption.backend for each in found.get(clip, ())):
                new.setdefault(clip, []).append(caption)
        for clip, several in new.items():
            found.setdefault(clip, []).extend(several)
    names = {name for several in found.values() for each in several for name in _names(each)}
    for name in weights:
        if found and name not in names:
            raise CaptionsError(f"captions: {unknown('captioner or variant', name, names)}")
    captions = {clip: _shares(several, weights) for clip, several in found.items()}
    return {clip: several for clip, several in captions.items() if several}


def _shares(captions: Sequence[ClipCaption], weights: Mapping[str, float]) -> list[WeightedCaption]:
    """Captions with a positive weight, in the order of the names."""
    order = list(weights)
    fits = [next((n for n in order if n in _names(each)), None) for each in captions]
    counts = Counter(fits)
    pairs = [
        (order.index(name), caption.text, weights[name] / counts[name])
        for name, caption in zip(fits, captions, strict=True)
        if name is not None and weights[name] > 0
    ]
    total = sum(weight for _, _, weight in pairs)
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return [WeightedCaption(text, weight / total) for _, text, weight in ordered]


def _names(caption: ClipCaption) -> tuple[str, ...]:
    backend, variant = caption.backend, caption.variant
    return f"{backend}/{variant}", backend, variant


def _rows(
    dataset: DatasetDir, table: str, ids: Iterable[str] | None
) -> Iterator[tuple[str, ClipCaption]]:
    """(clip, caption) of the rows of a table that have text."""
    requested = None if ids is None else set(ids)
    for row in dataset.read(table, ["id", "text", "variant"]).to_pylist():
        clip = row["id"]
        if not row["text"] or (requested is not None and clip not in requested):
            continue
        if text := clean(row["text"]):
            yield clip, ClipCaption(text, row["variant"] or "default", name_of(table))
