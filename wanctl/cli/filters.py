"""`wanctl filters list`, `label` and `fit`: list filters, and train one on labels."""

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
)
from wanctl.cli.program import filters_app

NameArgument = Annotated[
    str, typer.Argument(metavar="FILTER", help="of the recipe: quality, category or synthetic")
]
EachOption = Annotated[
    int, typer.Option("--each", min=1, metavar="N", help="clips of every class or cluster")
]
LabelsArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[LABELS.csv]", parser=local_path, help="the labelled sheet; `category` needs none"
    ),
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="WHICH",
        help="inputs of the head of quality: scores (of `rank_by`), or all (scores and labels of "
        "earlier filters, statistics of frames); the recipe's key `features` otherwise",
    ),
]


@filters_app.command("list")
def list_filters(as_json: JsonOption = False) -> None:
    """List every filter with its keys and whether it can run here."""
    from dataclasses import asdict

    from wanctl.curate import registry
    from wanctl.listing import print_json, print_rows

    if as_json:
        print_json([asdict(info) for info in registry.list_filters()])
        return
    rows: list[tuple[str, ...]] = []
    for info in registry.list_filters():
        note = "cannot run here: `wanctl doctor`" if info.why_not else ""
        rows.append((info.name, "", "", info.summary, note))
        for key in info.keys:
            again = "" if key.decides else "measures again"
            description = " ".join(key.description.split())
            rows.append((info.name, key.name, key.default, description, again))
    print_rows(("filter", "key", "default", "meaning", "note"), rows)


@filters_app.command()
def label(
    ctx: typer.Context,
    name: NameArgument,
    each: EachOption = 5,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Write a sheet of clips to label: a CSV file, and a page that plays them."""
    loaded = load_recipe_for(ctx, ("curate",), recipe, overrides)
    from wanctl.labels.run import label as run

    run(loaded, loaded.out_dir(out), name, each)


@filters_app.command()
def fit(
    ctx: typer.Context,
    name: NameArgument,
    labels: LabelsArgument = None,
    features: FeaturesOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Train a filter's head on labels and print its accuracy on held-out clips."""
    loaded = load_recipe_for(ctx, ("curate",), recipe, overrides)
    from wanctl.labels.run import fit as run

    run(loaded, loaded.out_dir(out), name, labels, features)
