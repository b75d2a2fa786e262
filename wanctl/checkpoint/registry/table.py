"""CHECKPOINTS: every family of files that is recognised, by name. Torch-free.

A package of others adds rows by an entry point in the group `wanctl.checkpoints` whose object is a
`Checkpoint` or a list of them; a row replaces the built-in one of its name.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points

from wanctl.checkpoint.registry import derived, distilled, fun, loras, official
from wanctl.checkpoint.registry.types import Checkpoint
from wanctl.errors import UserError, unknown

GROUP = "wanctl.checkpoints"
LISTING = "wanctl weights list"

BUILT_IN: Mapping[str, Checkpoint] = {
    row.name: row
    for row in (*official.ROWS, *distilled.ROWS, *loras.ROWS, *fun.ROWS, *derived.ROWS)
}


@cache
def checkpoints() -> Mapping[str, Checkpoint]:
    """All rows by name: those built in, then those of other packages.

    Raises:
        UserError: an entry point is no row.
    """
    rows = dict(BUILT_IN)
    for point in dict.fromkeys(entry_points(group=GROUP)):
        loaded = point.load()
        added = loaded if isinstance(loaded, Iterable) else [loaded]
        for row in added:
            if not isinstance(row, Checkpoint):
                raise UserError(
                    f"entry point {point.name} = {point.value}: holds {type(row).__name__}; need "
                    "a Checkpoint or a list of them"
                )
            rows[row.name] = row
    return rows


def get_checkpoint(name: str) -> Checkpoint:
    """Look a row up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in checkpoints():
        message = unknown("checkpoint", name, checkpoints(), listing=LISTING)
        raise UserError(f"model.checkpoint: {message}")
    return checkpoints()[name]
