"""`wanctl filters bench`: measure filters on defects of known strength."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import load_recipe_for, local_path, start_logging
from wanctl.cli.program import filters_app


@filters_app.command("bench")
def bench_filters(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="shots, border, ocr, ...; default: all of them"),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips",
            metavar="FOLDER",
            parser=local_path,
            help="clean footage of your own to add defects to",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=FOLDER",
            help="a labelled set: bbc, shot, konvid, camerabench, clips",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="FILE|NAME", help="thresholds; default: the filters' own"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="few cases of each kind: half a minute instead of ten")
    ] = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", parser=local_path, help="folder for figures, curves and clips"
        ),
    ] = Path("runs/bench"),
) -> None:
    """Add known defects to clean clips and measure how well filters find them."""
    start_logging(ctx)
    loaded = load_recipe_for(ctx, ("curate",), recipe, None) if recipe else None
    from wanctl.bench.run import bench, rows
    from wanctl.listing import print_rows

    results = bench(names or (), out, clips=clips, sets=sets or (), quick=quick, recipe=loaded)
    print_rows(("family", "", "", "", "", ""), rows(results))
