"""`wanctl data`: rework a data set after curation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wanctl.cli.options import recipe_command
from wanctl.cli.program import data_app

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe

ToArgument = Annotated[Path, typer.Argument(metavar="TO", help="folder that gets the clips")]


@recipe_command(data_app, "select", sections=("curate",))
def select(loaded: "LoadedRecipe", out: Path) -> None:
    """Decide again from the measurements, in seconds, after a threshold changed."""
    from wanctl.curate.run import select as run

    run(loaded, out)


@recipe_command(data_app, "report", sections=("curate",))
def report(loaded: "LoadedRecipe", out: Path) -> None:
    """Write report.html again: funnel, histograms, contact sheets."""
    from wanctl.curate.run import report as run

    run(loaded, out)


@recipe_command(data_app, "export", sections=("curate",))
def export(loaded: "LoadedRecipe", out: Path, to: ToArgument) -> None:
    """Cut the kept clips out as video files, with clips.csv beside them."""
    from wanctl.curate.run import export as run

    run(loaded, out, to)
