"""`wanctl recipe`: list, print and check recipes; the schema for editors."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import JsonOption, SetOption, complete_recipe
from wanctl.cli.program import recipe_app

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="recipe file or shipped name", autocompletion=complete_recipe
    ),
]


@recipe_app.command("list")
def list_recipes(as_json: JsonOption = False) -> None:
    """List the recipes that come with the program."""
    from wanctl.listing import print_json, print_rows, records
    from wanctl.recipe.load import shipped_recipes

    columns = ("recipe", "purpose", "file")
    rows = [(name, _first_comment(path), str(path)) for name, path in shipped_recipes().items()]
    if as_json:
        print_json(records(columns, rows))
    else:
        print_rows(columns, rows)


@recipe_app.command("show")
def show_recipe(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Print a recipe with its base and all defaults filled in."""
    from wanctl.recipe.load import load_recipe

    typer.echo(load_recipe(recipe, overrides or ()).dump(), nl=False)


@recipe_app.command("check")
def check_recipes(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE]...", help="files or names; default: all shipped ones"),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Check every key, value and name of recipes; print all mistakes at once."""
    from wanctl.recipe.load import RecipeError, shipped_recipes
    from wanctl.recipe.validate import load_checked

    problems = []
    for name in recipes or list(shipped_recipes()):
        try:
            typer.echo(f"{load_checked(name, overrides or ()).path}: ok")
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)


@recipe_app.command("schema")
def print_schema() -> None:
    """Print the JSON schema, with which editors complete and explain keys."""
    from wanctl.listing import naming_output
    from wanctl.recipe.validate import schema_text

    with naming_output():
        typer.echo(schema_text(), nl=False)


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
