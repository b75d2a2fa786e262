"""The five commands of the pipeline: curate, caption, train-vae, train-dit, sample."""

from typing import Annotated

import typer

from wanctl.cli.options import JsonOption, OutOption, RecipeOption, SetOption, load_recipe_for
from wanctl.cli.program import app

DEFAULT_SAMPLE_RECIPE = "wan2.1-t2v-1.3b"
# Without --recipe the weights decide what is run, and without weights the recipe's own model is.
OF_THE_WEIGHTS = "model.variant=null"

FolderArgument = Annotated[
    str,
    typer.Argument(metavar="FOLDER", help="folder of raw footage, or its URL (s3://, https://)"),
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="work on every N-th part, as one of N processes"),
]
RetryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--retry",
        metavar="KIND",
        help="try quarantined files and clips of this kind again, e.g. error; crash, memory, "
        "timeout and unreachable always are",
    ),
]
RetryCaptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--retry",
        metavar="NAME",
        help="ask again for captions that failed this check, or all checks (flagged), and decode "
        "clips with this kind of failure again (error); what the model or the machine failed at "
        "always is",
    ),
]
PromptArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROMPT", help="text of the prompt, or a .txt, .jsonl or .csv file of prompts"
    ),
]
RepeatOption = Annotated[
    int,
    typer.Option("--repeat", metavar="N", help="use N seeds per prompt, counted up from its own"),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="print files, hours, time and disk space; write nothing"),
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="print time, memory and disk space; generate nothing")
]


@app.command()
def curate(
    ctx: typer.Context,
    folder: FolderArgument,
    shard: ShardOption = None,
    retry: RetryOption = None,
    dry_run: DryRunOption = False,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Split raw footage into clips, measure them, decide which to keep."""
    loaded = load_recipe_for(ctx, ("curate",), recipe, overrides)
    from wanctl.curate.run import curate as run
    from wanctl.report.run import report_curated

    if dry_run:
        from wanctl.curate.dry_run import COLUMNS
        from wanctl.curate.run import dry_run as forecast
        from wanctl.listing import print_rows

        print_rows(COLUMNS, forecast(loaded, folder, loaded.out_dir(out)))
        return
    if curated := run(loaded, folder, loaded.out_dir(out), shard, retry or ()):
        report_curated(loaded, curated)


@app.command()
def caption(
    ctx: typer.Context,
    shard: ShardOption = None,
    retry: RetryCaptionsOption = None,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Caption every kept clip."""
    loaded = load_recipe_for(ctx, ("caption",), recipe, overrides)
    from wanctl.caption.run import caption as run

    run(loaded, loaded.out_dir(out), shard, retry or ())


@app.command()
def train_vae(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Train the video VAE on the kept clips."""
    loaded = load_recipe_for(ctx, ("model", "train_vae"), recipe, overrides)
    from wanctl.exchange.imports.run import prepare_dataset
    from wanctl.train.vae.run import train_vae as run

    folder = loaded.out_dir(out)
    recipe_to_train, prepare = prepare_dataset(loaded, folder)
    run(recipe_to_train, folder, prepare)


@app.command()
def train_dit(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Train the diffusion transformer on the VAE's latents and the captions."""
    loaded = load_recipe_for(ctx, ("model", "train_dit"), recipe, overrides)
    from wanctl.exchange.imports.run import prepare_dataset
    from wanctl.train.dit.run import train_dit as run

    folder = loaded.out_dir(out)
    recipe_to_train, prepare = prepare_dataset(loaded, folder)
    run(recipe_to_train, folder, prepare)


@app.command()
def sample(
    ctx: typer.Context,
    prompt: PromptArgument,
    repeat: RepeatOption = 1,
    plan: PlanOption = False,
    as_json: JsonOption = False,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Generate a video from text, images or video. Without --recipe: Wan 2.1 T2V 1.3B.

    `--set model.weights=FILE` alone samples from any checkpoint that is known, by its own rule.
    """
    if recipe is None:
        recipe, overrides = DEFAULT_SAMPLE_RECIPE, [OF_THE_WEIGHTS, *(overrides or ())]
    loaded = load_recipe_for(ctx, ("model", "sample"), recipe, overrides)
    from wanctl.listing import print_json
    from wanctl.sample.run import sample as run

    paths = run(loaded, prompt, loaded.out_dir(out), repeat, plan_only=plan, as_json=as_json)
    if as_json and not plan:
        print_json([str(path) for path in paths])
    else:
        for path in paths:
            typer.echo(path)
