"""Captions of a data set's clips: which caption table counts for which clip."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from wanctl.data.dataset import DatasetDir
from wanctl.data.sidecars.texts import clean
from wanctl.data.table_order import name_of, tables_newest_first
from wanctl.errors import UserError, unknown
from wanctl.log import log

REVIEW = "review"
"""The captioner that stands for people: `wanctl data review` writes its table, and no model."""
REVIEW_TABLE = f"captions/{REVIEW}@v1"
"""One row per clip and variant that a person decided on: the text, "" for a rejected caption, and
the backend whose caption it was."""


class CaptionsError(UserError):
    """A weight for captions that the data set does not have."""


class ClipCaption(NamedTuple):
    """One caption of a clip."""

    text: str
    variant: str
    backend: str


def is_motion_alone(variant: str) -> bool:
    """Whether captions of this variant say what moves, and nothing of the scene."""
    return variant.partition("-")[0] == "motion"


class WeightedCaption(NamedTuple):
    """One caption of a clip and its share, 0 to 1, of those that are drawn for the clip."""

    text: str
    share: float


class Decision(NamedTuple):
    """What a person decided on the captions of one variant of a clip (`wanctl data review`).

    Attributes:
        text: the caption; "" where it was rejected.
        backend: whose caption was looked at.
    """

    text: str
    backend: str


class _Names(NamedTuple):
    """A caption and the names under which the recipe may give it a weight."""

    text: str
    names: tuple[str, ...]


def read_decisions(
    dataset: DatasetDir, ids: Iterable[str] | None = None
) -> dict[str, dict[str, Decision]]:
    """Clip -> variant -> what a person decided on it.

    Args:
        dataset: where the table is.
        ids: only these clips.
    """
    requested = None if ids is None else set(ids)
    decisions: dict[str, dict[str, Decision]] = {}
    for row in dataset.read(REVIEW_TABLE).to_pylist():
        if requested is None or row["id"] in requested:
            decision = Decision(clean(row["text"] or ""), row["backend"] or REVIEW)
            decisions.setdefault(row["id"], {})[row["variant"] or "default"] = decision
    return decisions


def read_captions(
    dataset: DatasetDir, backends: Sequence[str], ids: Iterable[str] | None = None
) -> dict[str, list[ClipCaption]]:
    """All captions of each clip, from the first backend that captioned it.

    What people decided comes before all backends: their text takes the place of every caption of
    its variant, and a variant that they rejected is left out. White space and byte order marks at
    the ends of a caption are dropped; one of white space alone is none. A backend whose settings
    changed leaves its older table in place; the table that `wanctl caption` last worked on counts
    (see table_order.py).

    Args:
        dataset: where the tables are.
        backends: the recipe's `caption.backends`; tables of others come after theirs.
        ids: only these clips.
    """
    requested = None if ids is None else set(ids)
    decisions = read_decisions(dataset, requested)
    tables = _tables_by_backend(dataset)
    for clip in decisions.values():
        for decision in clip.values():
            tables.setdefault(decision.backend, [])

    def rank(backend: str) -> int:
        return backends.index(backend) if backend in backends else len(backends)

    captions: dict[str, list[ClipCaption]] = {}
    for backend in sorted(tables, key=rank):
        new = _newest(dataset, tables[backend], requested)
        for clip, made in decisions.items():
            if any(each.text and each.backend == backend for each in made.values()):
                new.setdefault(clip, [])
        for clip, several in new.items():
            if clip not in captions and (left := _with(decisions.get(clip, {}), several, backend)):
                captions[clip] = left
    return captions


def read_weighted_captions(
    dataset: DatasetDir, weights: Mapping[str, float], ids: Iterable[str] | None = None
) -> dict[str, list[WeightedCaption]]:
    """Captions of several backends and variants by weight, those of the first name first.

    A name shares its weight among the captions of a clip that it fits, and a caption counts with
    the first name that fits it. Of a clip that has some of the captions only, these share the
    whole; captions that no name fits are left out. The text of a person takes the place of every
    caption of its variant; the names of the caption that it corrects fit it, and `review`.

    Args:
        dataset: where the tables are; of each backend the newest one with the clip counts.
        weights: backend, variant, `BACKEND/VARIANT`, or a shell pattern of one of them (`long-*`,
            `*-en`, `vlm/*-zh`) -> relative weight.
        ids: only these clips.

    Raises:
        CaptionsError: no caption of these clips has such a backend or variant.
    """
    requested = None if ids is None else set(ids)
    decisions = read_decisions(dataset, requested)
    found: dict[str, list[_Names]] = {}
    for tables in _tables_by_backend(dataset).values():
        for clip, several in _newest(dataset, tables, requested).items():
            decided = decisions.get(clip, {})
            left = [_Names(each.text, _names(each.backend, each.variant)) for each in several
                    if each.variant not in decided]  # fmt: skip
            found.setdefault(clip, []).extend(left)
    for clip, decided in decisions.items():
        for variant, (text, backend) in decided.items():
            if text:
                names = dict.fromkeys((*_names(REVIEW, variant), *_names(backend, variant)))
                found.setdefault(clip, []).append(_Names(text, tuple(names)))
    kinds = {each.names for several in found.values() for each in several}
    kinds.add((REVIEW,))  # before the first review, too
    fits = {names: _first_fit(names, weights) for names in kinds}
    for name in weights if found else ():
        if not any(_fits(names, name) for names in kinds):
            names = {each for names in kinds for each in names}
            raise CaptionsError(f"captions: {unknown('captioner or variant', name, names)}")
        if name not in fits.values():
            log.warning("captions: %r counts for none: earlier names fit all that it fits", name)
    captions = {clip: _shares(several, weights, fits) for clip, several in found.items()}
    return {clip: several for clip, several in captions.items() if several}


def _tables_by_backend(dataset: DatasetDir) -> dict[str, list[str]]:
    """Backend -> its tables, newest first; the backend with the newest table first."""
    tables: dict[str, list[str]] = {}
    for table in tables_newest_first(dataset, "captions"):
        if name_of(table) != REVIEW:
            tables.setdefault(name_of(table), []).append(table)
    return tables


def _newest(
    dataset: DatasetDir, tables: Sequence[str], requested: Collection[str] | None
) -> dict[str, list[ClipCaption]]:
    """Clip -> its captions in the first of the tables that has some."""
    captions: dict[str, list[ClipCaption]] = {}
    for table in tables:
        new: dict[str, list[ClipCaption]] = {}
        for clip, caption in _rows(dataset, table, requested):
            if clip not in captions:
                new.setdefault(clip, []).append(caption)
        captions |= new
    return captions


def _with(
    decided: Mapping[str, Decision], captions: Sequence[ClipCaption], backend: str
) -> list[ClipCaption]:
    """Captions of one backend after what people decided; theirs first.

    Empty where nothing of this backend is left, so that the next one counts.
    """
    left = [each for each in captions if each.variant not in decided]
    texts = {variant: each for variant, each in decided.items() if each.text}
    replaced = {each.variant for each in captions} & set(texts)
    if not left and not replaced and all(each.backend != backend for each in texts.values()):
        return []
    return [*(ClipCaption(each.text, variant, REVIEW) for variant, each in texts.items()), *left]


def _shares(
    captions: Sequence[_Names],
    weights: Mapping[str, float],
    fits: Mapping[tuple[str, ...], str | None],
) -> list[WeightedCaption]:
    """Captions with a positive weight, in the order of the names.

    Args:
        captions: of one clip.
        weights: name -> relative weight.
        fits: names of a caption -> the one of `weights` that counts for it.
    """
    order = list(weights)
    found = [fits[each.names] for each in captions]
    counts = Counter(found)
    pairs = [
        (order.index(name), caption.text, weights[name] / counts[name])
        for name, caption in zip(found, captions, strict=True)
        if name is not None and weights[name] > 0
    ]
    total = sum(weight for _, _, weight in pairs)
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return [WeightedCaption(text, weight / total) for _, text, weight in ordered]


def _names(backend: str, variant: str) -> tuple[str, ...]:
    return f"{backend}/{variant}", backend, variant


def _first_fit(names: Iterable[str], patterns: Iterable[str]) -> str | None:
    """The first of the patterns that fits a caption of these names; None where none does."""
    return next((pattern for pattern in patterns if _fits(names, pattern)), None)


def _fits(names: Iterable[str], pattern: str) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def _rows(
    dataset: DatasetDir, table: str, requested: Collection[str] | None
) -> Iterator[tuple[str, ClipCaption]]:
    """(clip, caption) of the rows of a table that have text."""
    for row in dataset.read(table, ["id", "text", "variant"]).to_pylist():
        clip = row["id"]
        if not row["text"] or (requested is not None and clip not in requested):
            continue
        if text := clean(row["text"]):
            yield clip, ClipCaption(text, row["variant"] or "default", name_of(table))
