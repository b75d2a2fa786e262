"""`wanctl eval`: measure trained networks."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import JsonOption, local_path, source_name, start_logging
from wanctl.cli.program import eval_app

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
