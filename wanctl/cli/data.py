"""`wanctl data`: rework a data set after curation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wanctl.cli.options import recipe_command
from wanctl.cli.program import data_app
from wanctl.errors import UserError, unknown

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe

ToArgument = Annotated[Path, typer.Argument(metavar="TO", help="folder that gets the files")]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--layout", metavar="NAME", help="for whom, e.g. webdataset; default: the recipe's"
    ),
]
PathArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[PATH]", help="data set, or folder or index of another trainer's"),
]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="write every row there")
]


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


@recipe_command(data_app, "export", sections=("curate", "export"))
def export(loaded: "LoadedRecipe", out: Path, to: ToArgument, layout: LayoutOption = None) -> None:
    """Cut the kept clips out as files, laid down as a trainer reads them, with a data card."""
    from wanctl.exchange.layouts import LAYOUTS
    from wanctl.exchange.run import export as run

    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"--layout: {unknown('layout', layout, LAYOUTS)}")
    run(loaded, out, to, layout)


@recipe_command(data_app, "check", sections=("curate", "train_dit"))
def check(
    loaded: "LoadedRecipe", out: Path, path: PathArgument = None, table: CsvOption = None
) -> None:
    """Say of every clip whether training takes it, in which bucket, and why not."""
    from wanctl.exchange.run import check as run

    run(loaded, out, path, table)


@recipe_command(data_app, "text-images", sections=())
def text_images(loaded: "LoadedRecipe", out: Path, to: ToArgument) -> None:
    """Draw pictures of Chinese and English text whose captions quote it."""
    from wanctl.textimages.run import text_images as run

    run(loaded, out, to)
