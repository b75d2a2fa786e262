"""What commands share: their options, and getting from them to a checked recipe."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe

RecipeOption = Annotated[
    str | None, typer.Option("--recipe", metavar="FILE|NAME", help="recipe file or shipped name")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="set one key of the recipe; may be repeated"),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="output folder; default: runs/NAME of the recipe"),
]

SHARED = {"recipe": RecipeOption, "overrides": SetOption, "out": OutOption}


@dataclass
class Session:
    """What the options before the command say."""

    debug: bool = False


def recipe_command(
    app: typer.Typer,
    name: str | None = None,
    *,
    sections: Sequence[str],
    default: str | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function of (loaded recipe, output folder, its own arguments) a command.

    Typer sees the function's own arguments followed by --recipe, --set and --out.

    Args:
        app: the group that gets the command.
        name: of the command; the function's by default.
        sections: of the recipe whose names are looked up before anything else happens.
        default: recipe taken where --recipe is not given.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _, _, *own = inspect.signature(function).parameters.values()

        @functools.wraps(function)
        def command(ctx: typer.Context, **values: Any) -> None:
            recipe, overrides, out = (values.pop(key) for key in SHARED)
            loaded = begin(ctx, recipe or default, overrides, sections)
            function(loaded, loaded.out_dir(out), **values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(key, keyword, default=None, annotation=kind)
            for key, kind in SHARED.items()
        ]
        ctx = inspect.Parameter("ctx", keyword, annotation=typer.Context)
        parameters = [ctx, *(one.replace(kind=keyword) for one in own), *shared]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(name)(command)
        return function

    return register


def begin(
    ctx: typer.Context, recipe: str | None, overrides: list[str] | None, sections: Sequence[str]
) -> "LoadedRecipe":
    """Start logging, read the recipe and look up the names that the command will use."""
    from wanctl.distributed import world
    from wanctl.errors import UserError
    from wanctl.log import setup_logging
    from wanctl.recipe.load import shipped_recipes
    from wanctl.recipe.validate import load_checked

    setup_logging(verbose=ctx.ensure_object(Session).debug, quiet=world.rank() > 0)
    if recipe is None:
        names = ", ".join(shipped_recipes())
        raise UserError(f"{ctx.command_path}: say which recipe: --recipe FILE or NAME ({names})")
    return load_checked(recipe, overrides or (), sections)
