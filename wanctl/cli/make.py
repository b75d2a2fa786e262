"""The five commands that make something: curate, caption, train-vae, train-dit, sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wanctl.cli.options import recipe_command
from wanctl.cli.program import app

if TYPE_CHECKING:
    from wanctl.recipe.load import LoadedRecipe

DEFAULT_SAMPLE_RECIPE = "wan2.1-t2v-1.3b"

FolderArgument = Annotated[
    str,
    typer.Argument(metavar="FOLDER", help="folder of raw footage, or its URL (s3://, https://)"),
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="work on every N-th part, beside N-1 others"),
]
PromptArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROMPT", help="what to show, or a .txt, .jsonl or .csv file of prompts"
    ),
]
RepeatOption = Annotated[
    int, typer.Option("--repeat", metavar="N", help="make each with N seeds, from its own on")
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="print time, memory and disk it would take; make nothing")
]


@recipe_command(app, sections=("curate",))
def curate(
    loaded: "LoadedRecipe", out: Path, folder: FolderArgument, shard: ShardOption = None
) -> None:
    """Find the shots in raw footage, measure them, decide which to keep."""
    from wanctl.curate.run import curate as run

    run(loaded, folder, out, shard)


@recipe_command(app, sections=("caption",))
def caption(loaded: "LoadedRecipe", out: Path) -> None:
    """Give every kept clip its words."""
    from wanctl.caption.run import caption as run

    run(loaded, out)


@recipe_command(app, sections=("model",))
def train_vae(loaded: "LoadedRecipe", out: Path) -> None:
    """Train the video VAE on the kept clips."""
    from wanctl.train.run import train_vae as run

    run(loaded, out)


@recipe_command(app, sections=("model", "train_dit"))
def train_dit(loaded: "LoadedRecipe", out: Path) -> None:
    """Train the diffusion transformer on the VAE's latents and the captions."""
    from wanctl.train.run import train_dit as run

    run(loaded, out)


@recipe_command(app, sections=("model", "sample"), default=DEFAULT_SAMPLE_RECIPE)
def sample(
    loaded: "LoadedRecipe",
    out: Path,
    prompt: PromptArgument,
    repeat: RepeatOption = 1,
    plan: PlanOption = False,
) -> None:
    """Make a video from words, pictures or footage. Without --recipe: Wan 2.1 T2V 1.3B."""
    from wanctl.sample.run import sample as run

    for path in run(loaded, prompt, out, repeat, plan_only=plan):
        typer.echo(path)
