"""Which of several tables of one kind and name is the current one.

A backend or filter whose settings changed writes a new table (`captions/sidecar@NEW`) and leaves
the older ones in place. dataset.json records in `tables` the order in which commands worked on
tables, so that a copied data set, whose files all have new times, is read as the original was.

A command that writes captions or evidence calls `record_tables(dataset, names)` once before its
first part; a reader takes `latest_table(dataset, kind, name)`.
"""

from collections.abc import Sequence

from wanctl.data.dataset import DatasetDir
from wanctl.data.description import load, save
from wanctl.lock import lock_description

KEY = "tables"


def record_tables(dataset: DatasetDir, tables: Sequence[str]) -> None:
    """Record that a command works on these tables now, which makes them the latest of their name.

    Several processes may call this at once. dataset.json is written only if the order changes, so
    that a command which is killed and started again leaves the same file.

    Args:
        dataset: opened for writing.
        tables: names such as `captions/sidecar@v1` or `evidence/blur@1f2e3d4c`.
    """
    with lock_description(dataset.path):
        description = load(dataset.path)
        before = list(description.get(KEY, ()))
        new = [table for table in dict.fromkeys(tables) if not _is_latest(table, before)]
        if new:
            kept = [table for table in before if table not in new]
            save(dataset.path, {**description, KEY: kept + new})


def tables_newest_first(dataset: DatasetDir, kind: str, name: str | None = None) -> list[str]:
    """Tables of a kind, the one that a command last worked on first.

    Data sets of older versions record no order: their tables come after all recorded ones, those
    with more rows first, then by name.

    Args:
        dataset: the data set.
        kind: `captions`, `evidence` or `embeddings`.
        name: only the tables of this backend or filter; None: of all.
    """
    recorded = load(dataset.path).get(KEY, ())
    place = {table: number for number, table in enumerate(recorded)}

    def rank(table: str) -> tuple[int, int, str]:
        if table in place:
            return -place[table] - 1, 0, table
        return 0, -sum(dataset.count(table, part) for part in dataset.parts(table)), table

    tables = [table for table in dataset.tables(kind) if name in (None, name_of(table))]
    return sorted(tables, key=rank) if len(tables) > 1 else tables


def current_tables(dataset: DatasetDir, kind: str) -> list[str]:
    """The current table of every name, whether or not it has a part yet.

    Args:
        dataset: the data set.
        kind: `captions`, `evidence` or `embeddings`.
    """
    recorded = [each for each in load(dataset.path).get(KEY, ()) if each.startswith(f"{kind}/")]
    latest = {name_of(table): table for table in recorded}
    for table in tables_newest_first(dataset, kind):
        latest.setdefault(name_of(table), table)
    return list(latest.values())


def latest_table(
    dataset: DatasetDir, kind: str, name: str, *, part: str | None = None
) -> str | None:
    """The current table of a backend or filter; None where there is none.

    Args:
        dataset: the data set.
        kind: `captions`, `evidence` or `embeddings`.
        name: of the backend or filter.
        part: only tables that have this part.
    """
    for table in tables_newest_first(dataset, kind, name):
        if part is None or dataset.has_part(table, part):
            return table
    return None


def name_of(table: str) -> str:
    """Backend or filter of a table: `captions/sidecar@v1` -> `sidecar`."""
    return table.partition("/")[2].partition("@")[0]


def _is_latest(table: str, order: Sequence[str]) -> bool:
    """Whether no other table of this kind and name was recorded after `table`."""
    kind, name = table.partition("/")[0], name_of(table)
    same = [each for each in order if each.partition("/")[0] == kind and name_of(each) == name]
    return bool(same) and same[-1] == table
