"""Removes credentials from data sets of versions that stored URLs as they were given.

It runs once per data set, when it is opened for writing. The credentials that are removed stay
known to the present process, so that its sources still open.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from wanctl.atomic import write_bytes
from wanctl.credentials import VARIABLE, remember
from wanctl.data.description import CLEAN, save
from wanctl.data.parts.part_files import read_rows
from wanctl.data.parts.rowgroups import write_rows
from wanctl.log import log
from wanctl.redact import public_uri, redact, redact_values

_COLUMNS = {"source": public_uri, "error": redact}
# of the data set, and beside it in the run folder
_TEXTS = ("README.md", "datacard.json", "recipe.yaml", "report*.html", "*.csv", "log*.jsonl")


def clean_dataset(folder: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Remove credentials from a data set, where that is not done; returns its description."""
    if description.get(CLEAN):
        return dict(description)
    clean = clean_description(description)
    changed = clean_files(folder)
    save(folder, clean)  # last: a run that is killed before cleans again
    if changed or {**description, CLEAN: True} != clean:
        log.warning(
            "%s: credentials of its sources were removed from dataset.json and %d other files; "
            "commands that open the footage take them from %s, or from the URL given to curate",
            folder, changed, VARIABLE,
        )  # fmt: skip
    return clean


def clean_description(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description without credentials; those of its sources stay known to this process."""
    sources = [{**source, "uri": remember(source["uri"])} for source in description["sources"]]
    recipe = description.get("recipe")
    text = redact(recipe) if isinstance(recipe, str) else recipe
    return {**redact_values(description), "sources": sources, "recipe": text, CLEAN: True}


def clean_files(folder: Path) -> int:
    """Remove credentials from the tables of a data set and from the texts that come with it.

    Returns:
        The number of files that were written anew.
    """
    changed = 0
    for path in [*folder.glob("clips/part-*.parquet"), *folder.glob("quarantine/part-*.parquet")]:
        rows = read_rows(path, None)
        clean = clean_rows(rows)
        if clean is not rows:
            write_rows(path, clean.schema, [clean])
            changed += 1
    for path in _texts(folder):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        clean_text = redact(text)
        if clean_text != text:
            write_bytes(path, clean_text.encode(errors="surrogateescape"))
            changed += 1
    return changed


def clean_rows(rows: pa.Table) -> pa.Table:
    """Rows without credentials; the same object where there are none."""
    for name, clean in _COLUMNS.items():
        if name not in rows.column_names:
            continue
        column = rows[name]
        values = [each for each in column.unique().to_pylist() if each is not None]
        changes = {value: clean(value) for value in values if clean(value) != value}
        for value in changes if name == "source" else ():
            remember(value)
        if changes:
            plain = column.cast(pa.string())
            cleaned = [changes.get(each, each) for each in plain.to_pylist()]
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, pa.array(cleaned, pa.string()).cast(column.type))
    return rows


def _texts(folder: Path) -> Iterator[Path]:
    for pattern in _TEXTS:
        yield from folder.glob(pattern)
    run_files = ("log*.jsonl", "labels/*.csv", "labels/*.html")
    for pattern in run_files if folder.name == "dataset" else ():  # of a run folder
        yield from folder.parent.glob(pattern)
