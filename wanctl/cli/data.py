"""`wanctl data`: rework a data set after curation."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import OutOption, RecipeOption, SetOption, load_recipe_for
from wanctl.cli.program import data_app
from wanctl.errors import UserError, unknown

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


@data_app.command()
def select(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Decide again from the measurements, in seconds, after a threshold changed."""
    loaded = load_recipe_for(ctx, ("curate",), recipe, overrides)
    from wanctl.curate.run import select as run
    from wanctl.report.run import card_selected

    card_selected(loaded, run(loaded, loaded.out_dir(out)))


@data_app.command()
def report(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Write report.html again: funnel, histograms, contact sheets."""
    loaded = load_recipe_for(ctx, ("curate",), recipe, overrides)
    from wanctl.report.run import report as run

    run(loaded, loaded.out_dir(out))


@data_app.command()
def export(
    ctx: typer.Context,
    to: ToArgument,
    layout: LayoutOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Cut the kept clips out as files, laid down as a trainer reads them, with a data card."""
    loaded = load_recipe_for(ctx, ("curate", "export"), recipe, overrides)
    from wanctl.exchange.layouts import LAYOUTS
    from wanctl.exchange.run import export as run

    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"--layout: {unknown('layout', layout, LAYOUTS)}")
    run(loaded, loaded.out_dir(out), to, layout)


@data_app.command()
def check(
    ctx: typer.Context,
    path: PathArgument = None,
    table: CsvOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Say of every clip whether training takes it, in which bucket, and why not."""
    loaded = load_recipe_for(ctx, ("curate", "train_dit"), recipe, overrides)
    from wanctl.exchange.run import check as run

    run(loaded, loaded.out_dir(out), path, table)


@data_app.command()
def text_images(
    ctx: typer.Context,
    to: ToArgument,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Draw pictures of Chinese and English text whose captions quote it."""
    loaded = load_recipe_for(ctx, (), recipe, overrides)
    from wanctl.textimages.run import text_images as run

    run(loaded, loaded.out_dir(out), to)
