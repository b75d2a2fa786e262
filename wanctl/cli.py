"""The command line: each command reads the recipe, imports what it needs and calls one `run`.

Nothing heavy is imported here, so that `wanctl --help` and mistakes in recipes cost no torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from wanctl.exits import InterruptedByUserError, lines

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe

DEFAULT_SAMPLE_RECIPE = "wan2.1-t2v-1.3b"

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
RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="recipe file or shipped name")
]


@dataclass
class Session:
    """What the options before the command say."""

    debug: bool = False


class _Interruptible(TyperGroup):
    """Turns Ctrl-C into one line before Typer makes of it what its version sees fit."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUserError from None


app = typer.Typer(
    name="wanctl",
    cls=_Interruptible,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipe_app = typer.Typer(no_args_is_help=True, help="Look at recipes and check them.")
data_app = typer.Typer(no_args_is_help=True, help="Rework a data set after curation.")
filters_app = typer.Typer(no_args_is_help=True, help="Look at the filters of curation.")
app.add_typer(recipe_app, name="recipe", rich_help_panel="Look and rework")
app.add_typer(data_app, name="data", rich_help_panel="Look and rework")
app.add_typer(filters_app, name="filters", rich_help_panel="Look and rework")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"wanctl {version('wanctl')}")
        raise typer.Exit


@app.callback()
def _program(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="log more, show every traceback")] = False,
    version: Annotated[  # noqa: ARG001  (its callback has printed it by now)
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Curate and caption raw footage, train a Wan-style VAE and transformer on it, sample."""
    ctx.ensure_object(Session).debug = debug


@app.command()
def curate(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of raw footage")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Find the shots in raw footage, measure them, decide which to keep."""
    loaded = _begin(ctx, recipe, overrides, ("curate",))
    from wanctl.curate.run import curate as run

    run(loaded, folder, loaded.out_dir(out))


@app.command()
def caption(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Give every kept clip its words."""
    loaded = _begin(ctx, recipe, overrides, ("caption",))
    from wanctl.caption.run import caption as run

    run(loaded, loaded.out_dir(out))


@app.command()
def train_vae(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Train the video VAE on the kept clips."""
    loaded = _begin(ctx, recipe, overrides, ("model",))
    from wanctl.train.run import train_vae as run

    run(loaded, loaded.out_dir(out))


@app.command()
def train_dit(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Train the diffusion transformer on the VAE's latents and the captions."""
    loaded = _begin(ctx, recipe, overrides, ("model", "train_dit"))
    from wanctl.train.run import train_dit as run

    run(loaded, loaded.out_dir(out))


@app.command()
def sample(
    ctx: typer.Context,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="what to show, or a .txt file with one per line")
    ],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Make a video from words. Without --recipe: Wan 2.1 T2V 1.3B."""
    loaded = _begin(ctx, recipe or DEFAULT_SAMPLE_RECIPE, overrides, ("model", "sample"))
    from wanctl.sample.run import sample as run

    for path in run(loaded, prompt, loaded.out_dir(out)):
        typer.echo(path)


@data_app.command("select")
def data_select(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Decide again from the measurements, in seconds, after a threshold changed."""
    loaded = _begin(ctx, recipe, overrides, ("curate",))
    from wanctl.curate.run import select as run

    run(loaded, loaded.out_dir(out))


@data_app.command("report")
def data_report(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Write report.html again: funnel, histograms, contact sheets."""
    loaded = _begin(ctx, recipe, overrides, ("curate",))
    from wanctl.curate.run import report as run

    run(loaded, loaded.out_dir(out))


@data_app.command("export")
def data_export(
    ctx: typer.Context,
    to: Annotated[Path, typer.Argument(metavar="TO", help="folder that gets the clips")],
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Cut the kept clips out as video files, with clips.csv beside them."""
    loaded = _begin(ctx, recipe, overrides, ("curate",))
    from wanctl.curate.run import export as run

    run(loaded, loaded.out_dir(out), to)


@recipe_app.command("list")
def recipe_list() -> None:
    """The recipes that come with the program."""
    from wanctl.listing import show
    from wanctl.recipe.load import shipped_recipes

    rows = [(name, _first_comment(path), str(path)) for name, path in shipped_recipes().items()]
    show(("recipe", "what for", "file"), rows)


@recipe_app.command("show")
def recipe_show(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Print a recipe with its base and all defaults filled in."""
    from wanctl.recipe.load import load_recipe

    typer.echo(load_recipe(recipe, overrides or ()).dump(), nl=False)


@recipe_app.command("check")
def recipe_check(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE]...", help="files or names; default: all shipped ones"),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Check recipes: every key, every value, every name. Prints all mistakes at once."""
    from wanctl.names import load_checked
    from wanctl.recipe.load import RecipeError, shipped_recipes

    problems = []
    for name in recipes or list(shipped_recipes()):
        try:
            typer.echo(f"{load_checked(name, overrides or ()).path}: ok")
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)


@recipe_app.command("schema")
def recipe_schema() -> None:
    """Print the JSON schema, which gives editors completion and help."""
    from wanctl.names import schema_text

    typer.echo(schema_text(), nl=False)


@filters_app.command("list")
def filters_list() -> None:
    """Every filter with its keys and whether it can run here."""
    from wanctl.doctor import show_filters

    show_filters()


@app.command(rich_help_panel="Look and rework")
def doctor() -> None:
    """Say what is installed, which models can be found and which filters can run."""
    from wanctl.doctor import examine

    examine()


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 2 something the user can mend."""
    session = Session()
    program = typer.main.get_command(app)
    try:
        code = program.main(args, prog_name="wanctl", standalone_mode=False, obj=session)
    except Exception as error:
        told = lines(error)
        if told is None or session.debug:
            raise
        _print_errors(told)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _begin(
    ctx: typer.Context, recipe: str | None, overrides: list[str] | None, sections: Sequence[str]
) -> "LoadedRecipe":
    """Start logging, read the recipe and look up the names that the command will use."""
    from wanctl.errors import UserError
    from wanctl.log import setup_logging
    from wanctl.names import load_checked
    from wanctl.recipe.load import shipped_recipes

    setup_logging(verbose=ctx.ensure_object(Session).debug)
    if recipe is None:
        names = ", ".join(shipped_recipes())
        raise UserError(f"{ctx.command_path}: say which recipe: --recipe FILE or NAME ({names})")
    return load_checked(recipe, overrides or (), sections)


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _print_errors(told: Sequence[str]) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    for line in told:
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
