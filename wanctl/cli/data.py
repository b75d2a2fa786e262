"""`wanctl data`: rework a data set after curation."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import (
    JsonOption,
    OutOption,
    RecipeOption,
    SetOption,
    load_recipe_for,
    local_path,
    output_file,
)
from wanctl.cli.program import data_app
from wanctl.errors import UserError, unknown

ToArgument = Annotated[
    Path, typer.Argument(metavar="TO", parser=local_path, help="folder for the files")
]
LayoutOption = Annotated[
    str | None,
    typer.Option("--layout", metavar="NAME", help="e.g. webdataset; default: the recipe's layout"),
]
CaptionerOption = Annotated[
    str,
    typer.Option("--from", metavar="CAPTIONER", help="e.g. vlm: all its captions, reviewed or not"),
]
PathArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH]",
        parser=local_path,
        help="data set, or another trainer's folder or index file",
    ),
]
CsvOption = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", parser=output_file, help="write every row to this file"),
]

HostOption = Annotated[
    str,
    typer.Option("--host", metavar="ADDRESS", help="listen on another address than this machine's"),
]
PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="N", help="0: a free one")
]
NoBrowserOption = Annotated[
    bool, typer.Option("--no-browser", help="print the page's address, open no browser")
]
DeleteOption = Annotated[
    bool, typer.Option("--delete-unused", help="delete the entries that no run uses")
]


@data_app.command()
def select(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Select clips again from the measurements, in seconds, after a threshold changed."""
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
    """Export the kept clips as files in a trainer's layout, with a data card."""
    loaded = load_recipe_for(ctx, ("curate", "export"), recipe, overrides)
    from wanctl.exchange.layouts import LAYOUTS
    from wanctl.exchange.run import export as run

    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"--layout: {unknown('layout', layout, LAYOUTS)}")
    run(loaded, loaded.out_dir(out), to, layout)


@data_app.command("caption-export")
def caption_export(
    ctx: typer.Context,
    to: ToArgument,
    captioner: CaptionerOption = "review",
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Export clips with reviewed captions as conversations, to train a captioner of your own."""
    loaded = load_recipe_for(ctx, ("curate", "caption", "export"), recipe, overrides)
    from wanctl.exchange.chat.run import caption_export as run

    run(loaded, loaded.out_dir(out), to, captioner)


@data_app.command()
def check(
    ctx: typer.Context,
    path: PathArgument = None,
    table: CsvOption = None,
    as_json: JsonOption = False,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """List for every clip in which buckets training uses it, or why not."""
    loaded = load_recipe_for(ctx, ("curate", "train_dit"), recipe, overrides)
    from wanctl.exchange.run import check as run

    run(loaded, loaded.out_dir(out), path, table, as_json=as_json)


@data_app.command()
def review(
    ctx: typer.Context,
    host: HostOption = "127.0.0.1",
    port: PortOption = 0,
    no_browser: NoBrowserOption = False,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Review captions in the browser: watch clips, correct, accept, reject. Ctrl-C ends."""
    loaded = load_recipe_for(ctx, (), recipe, overrides)
    from wanctl.labels.run import review as run

    run(loaded, loaded.out_dir(out), host=host, port=port, browser=not no_browser)


@data_app.command()
def cache(
    ctx: typer.Context,
    delete: DeleteOption = False,
    as_json: JsonOption = False,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """List cached latents, embeddings and conditions of a data set, and what no run uses."""
    loaded = load_recipe_for(ctx, (), recipe, overrides)
    from wanctl.data.caches.listing import COLUMNS, list_caches
    from wanctl.listing import print_json, print_rows, records

    dataset = loaded.recipe.dataset.path or loaded.out_dir(out) / "dataset"
    rows = list_caches(dataset, delete=delete)
    if as_json:
        print_json(records(COLUMNS, rows))
    else:
        print_rows(COLUMNS, rows, headers=True)


@data_app.command("layouts")
def list_layouts(as_json: JsonOption = False) -> None:
    """List the layouts that `data export` writes, and which trainer reads each."""
    from wanctl.exchange.layouts import LAYOUTS
    from wanctl.listing import print_json, print_rows, records

    columns = ("layout", "read by")
    rows = [(name, layout.read_by) for name, layout in LAYOUTS.items()]
    if as_json:
        print_json(records(columns, rows))
    else:
        print_rows(columns, rows)


@data_app.command()
def text_images(
    ctx: typer.Context,
    to: ToArgument,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Draw images of Chinese and English text whose captions quote it."""
    loaded = load_recipe_for(ctx, (), recipe, overrides)
    from wanctl.textimages.run import text_images as run

    run(loaded, loaded.out_dir(out), to)
