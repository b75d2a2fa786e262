"""`wanctl eval`: measure trained networks; `wanctl data caption-eval`: measure captioners."""

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
    source_name,
    start_logging,
)
from wanctl.cli.program import data_app, eval_app

VaesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="VAE...",
        parser=source_name,
        help="run folders, weights folders, files or hub ids; tiny decoders after their VAE",
    ),
]
ClipsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--clips",
        metavar="PATH",
        parser=source_name,
        help="footage, a file or a folder; may be repeated; default: the clips held out by the "
        "first run folder, else those it keeps",
    ),
]
ChunkedOption = Annotated[
    bool | None,
    typer.Option(
        "--chunked/--whole",
        help="encode and decode piece by piece, or at once; default: piece by piece where a clip "
        "is large, as training does",
    ),
]


@eval_app.command("vae")
def eval_vae(  # noqa: PLR0913  (a command states its whole signature)
    ctx: typer.Context,
    vaes: VaesArgument,
    clips: ClipsOption = None,
    max_clips: Annotated[
        int, typer.Option("--max-clips", metavar="N", min=1, help="evenly spaced among the clips")
    ] = 200,
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=1, help="length of the window, 4n+1")
    ] = 25,
    size: Annotated[
        int,
        typer.Option(
            "--size", metavar="PX", min=32, help="limit of the shorter side; larger is scaled down"
        ),
    ] = 720,
    fps: Annotated[
        float,
        typer.Option(
            "--fps", metavar="FPS", min=0.1, max=1000, help="frame rate; at most the footage's own"
        ),
    ] = 16.0,
    chunked: ChunkedOption = None,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype", metavar="NAME", help="fp32, as the cache of latents, bf16, fp16 or auto"
        ),
    ] = "fp32",
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    ] = "auto",
    fvd: Annotated[
        Path | None,
        typer.Option(
            "--fvd",
            metavar="FILE",
            parser=local_path,
            help="I3D as TorchScript (i3d_torchscript.pt), for reconstruction FVD",
        ),
    ] = None,
    lpips: Annotated[
        list[Path] | None,
        typer.Option(
            "--lpips",
            metavar="FILE",
            parser=local_path,
            help="weights of VGG16 and of the heads of LPIPS, in one file or two; may be repeated",
        ),
    ] = None,
    as_json: JsonOption = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=local_path,
            help="folder for figures and pictures; a run that was stopped goes on there",
        ),
    ] = Path("runs/eval-vae"),
) -> None:
    """Compare VAEs on the same clips: quality, artefacts, latents, time and memory."""
    start_logging(ctx)
    from wanctl.eval.vae.run import EvalOptions, columns_and_rows
    from wanctl.eval.vae.run import eval_vae as run
    from wanctl.listing import print_json, print_rows

    options = EvalOptions(
        clips=tuple(clips or ()), max_clips=max_clips, frames=frames, size_px=size, fps=fps,
        chunked=chunked, dtype=dtype, device=device, fvd=fvd,
        lpips=tuple(lpips or ()),
    )  # fmt: skip
    result = run(vaes, options, out)
    if as_json:
        print_json(result)
    else:
        columns, rows = columns_and_rows(result)
        print_rows(columns, rows, headers=True)


@data_app.command()
def caption_eval(  # noqa: PLR0913  (a command states its whole signature)
    ctx: typer.Context,
    captioners: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CAPTIONER]...",
            help="NAME or NAME@KEY of captions to compare with labels; default: all of them",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            parser=local_path,
            help="what clips show, as JSON Lines: F1 of each dimension",
        ),
    ] = None,
    counterfactual: Annotated[
        bool,
        typer.Option(
            "--counterfactual",
            help="ask the recipe's model about clips that are mirrored, reversed, recoloured, ...",
        ),
    ] = False,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="FILE|NAME",
            help="another recipe whose model is asked as well; may be repeated",
        ),
    ] = None,
    max_clips: Annotated[
        int,
        typer.Option(
            "--max-clips", metavar="N", min=1, help="that a model is asked about, evenly spaced"
        ),
    ] = 50,
    as_json: JsonOption = False,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Measure how well captioners see: against labels, and by clips that are changed."""
    loaded = load_recipe_for(ctx, ("caption",), recipe, overrides)
    others = [load_recipe_for(ctx, ("caption",), name, None) for name in compare or ()]
    from wanctl.caption.evaluation.results import columns_and_rows
    from wanctl.caption.evaluation.run import CaptionEvalOptions
    from wanctl.caption.evaluation.run import caption_eval as run
    from wanctl.listing import print_json, print_rows

    options = CaptionEvalOptions(tuple(captioners or ()), labels, counterfactual, max_clips)
    result = run([loaded, *others], loaded.out_dir(out), options)
    if as_json:
        print_json(result)
    else:
        columns, rows = columns_and_rows(result)
        print_rows(columns, rows, headers=True)
