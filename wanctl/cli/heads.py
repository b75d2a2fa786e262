"""`wanctl filters label` and `fit`: teach a filter what you like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wanctl.cli.options import recipe_command
from wanctl.cli.program import filters_app

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe

NameArgument = Annotated[
    str, typer.Argument(metavar="FILTER", help="quality, category or synthetic, of the recipe")
]


@recipe_command(filters_app, "label", sections=("curate",))
def label(
    loaded: "LoadedRecipe",
    out: Path,
    name: NameArgument,
    each: Annotated[
        int, typer.Option("--each", min=1, metavar="N", help="clips from every class or cluster")
    ] = 5,
) -> None:
    """Write a sheet of clips to mark: a CSV, and a page that plays them and takes keys."""
    from wanctl.labels.label import label as run

    run(loaded, out, name, each)


@recipe_command(filters_app, "fit", sections=("curate",))
def fit(
    loaded: "LoadedRecipe",
    out: Path,
    name: NameArgument,
    labels: Annotated[
        Path | None,
        typer.Argument(metavar="[LABELS.csv]", help="the marked sheet; `category` does without"),
    ] = None,
) -> None:
    """Train a filter's head on labels; says how well it does on clips it has not seen."""
    from wanctl.labels.fit import fit as run

    run(loaded, out, name, labels)
