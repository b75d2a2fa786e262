"""The Typer application and its groups. Nothing heavy is imported before a command runs."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from wanctl.cli.errors import InterruptedByUserError, PipeClosedError, exit_code
from wanctl.cli.options import Session


class Interruptible(TyperGroup):
    """Turns Ctrl-C and closed pipes into errors of ours; versions of Typer differ in them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            InterruptedByUserError: Ctrl-C, or another signal to end.
            PipeClosedError: the reader of the output has ended.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptedByUserError(exit_code(error)) from None
        except BrokenPipeError:
            raise PipeClosedError from None


app = typer.Typer(
    name="wanctl",
    cls=Interruptible,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipe_app = typer.Typer(no_args_is_help=True, help="List, print and check recipes.")
data_app = typer.Typer(no_args_is_help=True, help="Select, check and export curated clips.")
filters_app = typer.Typer(no_args_is_help=True, help="List, train and measure filters.")
weights_app = typer.Typer(no_args_is_help=True, help="Convert, inspect and check weights.")
camera_app = typer.Typer(no_args_is_help=True, help="Draw camera paths.")
eval_app = typer.Typer(no_args_is_help=True, help="Measure trained networks.")
app.add_typer(recipe_app, name="recipe", rich_help_panel="Inspect and rework")
app.add_typer(data_app, name="data", rich_help_panel="Inspect and rework")
app.add_typer(filters_app, name="filters", rich_help_panel="Inspect and rework")
app.add_typer(weights_app, name="weights", rich_help_panel="Inspect and rework")
app.add_typer(camera_app, name="camera", rich_help_panel="Inspect and rework")
app.add_typer(eval_app, name="eval", rich_help_panel="Inspect and rework")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"wanctl {version('wanctl')}")
        raise typer.Exit


@app.callback()
def _program(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="log more, show every traceback")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="log warnings and errors only, no progress")
    ] = False,
    version: Annotated[  # noqa: ARG001  (its callback prints it and exits)
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Curate and caption raw footage, train a Wan-style VAE and transformer on it, sample."""
    session = ctx.ensure_object(Session)
    session.debug, session.quiet = debug, quiet
