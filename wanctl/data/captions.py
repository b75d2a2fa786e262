"""The words of a data set's clips: which caption table counts for which clip."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from wanctl.data.dataset import DatasetDir


class Caption(NamedTuple):
    """One caption of a clip."""

    text: str
    variant: str
    backend: str


def read_captions(
    dataset: DatasetDir, backends: Sequence[str], ids: Iterable[str] | None = None
) -> dict[str, list[Caption]]:
    """All captions of each clip, from the first backend that captioned it.

    A backend whose settings changed leaves its older table behind; the newest one counts.

    Args:
        dataset: where the tables are.
        backends: the recipe's `caption.backends`; tables of others come after theirs.
        ids: only these clips.
    """

    def rank(table: str) -> tuple[int, int, str]:
        backend = backend_of(table)
        order = backends.index(backend) if backend in backends else len(backends)
        return order, -_changed_ns(dataset.path / table), table

    wanted = None if ids is None else set(ids)
    texts: dict[str, list[Caption]] = {}
    for table in sorted(dataset.tables("captions"), key=rank):
        backend = backend_of(table)
        found: dict[str, list[Caption]] = {}
        for row in dataset.read(table, ["id", "text", "variant"]).to_pylist():
            clip = row["id"]
            if (wanted is None or clip in wanted) and clip not in texts and row["text"]:
                words = Caption(row["text"], row["variant"] or "default", backend)
                found.setdefault(clip, []).append(words)
        texts |= found
    return texts


def backend_of(table: str) -> str:
    """`captions/sidecar@v1` -> `sidecar`."""
    return table.partition("/")[2].partition("@")[0]


def _changed_ns(folder: Path) -> int:
    return max((path.stat().st_mtime_ns for path in folder.iterdir()), default=0)
