"""`wanctl weights list`: the table of checkpoints as rows of text."""

from collections.abc import Container, Sequence

from wanctl.checkpoint.registry.rules import rule_text
from wanctl.checkpoint.registry.table import checkpoints
from wanctl.checkpoint.registry.types import Checkpoint
from wanctl.model.variant_table import VARIANTS

COLUMNS = (
    "checkpoint", "title", "kind", "variant", "tasks", "runs", "rule", "licence", "hub id",
    "recipe",
)  # fmt: skip


def catalogue_rows(recipes: Container[str]) -> list[tuple[str, ...]]:
    """Cells of COLUMNS of every row.

    Args:
        recipes: names of the shipped recipes.
    """
    return [
        (
            row.name, row.title, row.kind, row.variant or "", ", ".join(_tasks(row)),
            "no" if row.unsupported else "yes", rule_text(row), row.licence, ", ".join(row.hub),
            row.name if row.name in recipes else "",
        )
        for row in checkpoints().values()
    ]  # fmt: skip


def _tasks(row: Checkpoint) -> Sequence[str]:
    return row.tasks or (VARIANTS[row.variant].tasks if row.variant else ())
