"""Options that commands share, and how a command gets from them to a checked recipe.

A command states its whole signature. Its first line calls `load_recipe_for`, before it imports
the package that does the work: a mistake in a recipe is reported without importing torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe


def complete_recipe(start: str) -> list[str]:
    """Names of shipped recipes that begin as typed, for the completion of shells."""
    from wanctl.recipe.load import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(start)]


def local_path(text: str | Path) -> Path:
    """A path argument, or the path that is its default; an empty one would mean the working folder.

    Raises:
        typer.BadParameter: it is empty or a URL.
    """
    from wanctl.path_names import path_problem

    if problem := path_problem(str(text)):
        raise typer.BadParameter(problem)
    return Path(text)


def output_file(text: str) -> Path:
    """The path of a file that a command writes, checked before its work.

    Raises:
        typer.BadParameter: it is a folder, a device or a pipe, or lies below a file.
    """
    path = local_path(text)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise typer.BadParameter(f"{text}: is {what}; name a file")
    above = next((each for each in path.parents if each.exists()), None)
    if above is not None and not above.is_dir():
        raise typer.BadParameter(f"{text}: {above} is a file; name another folder")
    return path


def source_name(text: str) -> str:
    """An argument that is a path, a URL or a hub id.

    Raises:
        typer.BadParameter: it is empty.
    """
    from wanctl.path_names import source_problem

    if problem := source_problem(text):
        raise typer.BadParameter(problem)
    return text


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE|NAME",
        help="recipe file or shipped name",
        autocompletion=complete_recipe,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="set one key of the recipe; may be repeated"),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        parser=local_path,
        help="output folder; default: runs/NAME of the recipe",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


@dataclass
class Session:
    """Options that stand before the command's name, and whether Ctrl-C ended it."""

    debug: bool = False
    quiet: bool = False
    interrupted: int = 0


def load_recipe_for(
    ctx: typer.Context, sections: Sequence[str], recipe: str | None, overrides: Sequence[str] | None
) -> "LoadedRecipe":
    """Start logging, read the recipe and check the sections that the command uses.

    Args:
        ctx: of the command.
        sections: keys of `wanctl.recipe.validate.CHECKS`.
        recipe: value of --recipe.
        overrides: values of --set.

    Raises:
        UserError: --recipe is missing.
        RecipeError: with every mistake at its file and line.
    """
    from wanctl.errors import UserError
    from wanctl.recipe.load import LISTING
    from wanctl.recipe.validate import load_checked

    start_logging(ctx)
    if recipe is None:
        advice = f"name one with --recipe FILE or NAME (`{LISTING}` shows the shipped ones)"
        raise UserError(f"{ctx.command_path}: no recipe; {advice}")
    return load_checked(recipe, overrides or (), sections)


def start_logging(ctx: typer.Context) -> None:
    """Log to stderr: everything with --debug; warnings only with --quiet and in later processes."""
    from wanctl.distributed import world
    from wanctl.log import setup_logging

    session = ctx.ensure_object(Session)
    setup_logging(verbose=session.debug, quiet=session.quiet or world.rank() > 0)
