"""`wanctl weights`: convert, inspect and check files of weights."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import JsonOption, local_path, source_name, start_logging
from wanctl.cli.program import weights_app

SourceArgument = Annotated[
    str, typer.Argument(metavar="FROM", parser=source_name, help="folder, file or hub id")
]


@weights_app.command("list")
def list_checkpoints(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", parser=local_path, help="list what is in these files and folders"
        ),
    ] = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="list what is in the hub cache as well")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models that are known, with run rule and licence; with PATH, what is there."""
    from wanctl.listing import print_json, print_rows, records

    if paths or cached:
        from wanctl.checkpoint.inspection.inventory import COLUMNS, inventory

        columns, rows = COLUMNS, list(inventory([*(paths or ()), *([_hub_cache()] * cached)]))
    else:
        from wanctl.checkpoint.registry.catalogue import COLUMNS, catalogue_rows
        from wanctl.recipe.load import shipped_recipes

        columns, rows = COLUMNS, catalogue_rows(shipped_recipes())
    if as_json:
        print_json(records(columns, rows))
    else:
        print_rows(columns, rows)


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@weights_app.command("convert")
def convert(
    ctx: typer.Context,
    source: SourceArgument,
    to: Annotated[
        Path,
        typer.Argument(
            metavar="TO", parser=local_path, help="folder, or FILE.safetensors for one part"
        ),
    ],
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar="NAME",
            help="official, diffusers or single (ComfyUI's); of a LoRA comfyui, kohya, diffusers "
            "or peft",
        ),
    ],
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", metavar="NAME", help="fp32, bf16, fp16 or fp8; default: as stored"),
    ] = None,
    max_shard_size: Annotated[
        str | None,
        typer.Option("--max-shard-size", metavar="SIZE", help="split larger files, e.g. 5GB"),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            metavar="NAME",
            help="transformer, transformer_2, vae, text_encoder, image_encoder; default: all",
        ),
    ] = None,
) -> None:
    """Convert weights or a LoRA to another layout or number format."""
    from wanctl.checkpoint.convert.lora import convert_lora
    from wanctl.checkpoint.convert.plan import ConversionOptions
    from wanctl.checkpoint.convert.run import convert as run
    from wanctl.checkpoint.convert.run import parse_size
    from wanctl.checkpoint.registry.refusals import is_lora

    start_logging(ctx)
    if is_lora(Path(source)):
        typer.echo(convert_lora(Path(source), to, layout, dtype))
        return
    options = ConversionOptions(layout, dtype, parse_size(max_shard_size), tuple(part or ()))
    for path in run(source, to, options):
        typer.echo(path)


@weights_app.command("inspect")
def inspect(ctx: typer.Context, source: SourceArgument, as_json: JsonOption = False) -> None:
    """Show what weights are, their run rule and licence, parts, sizes, and what is missing."""
    from wanctl.checkpoint.inspection.identify import notes_of
    from wanctl.checkpoint.inspection.inspect import COLUMNS, inspect, notes
    from wanctl.checkpoint.registry.refusals import is_lora
    from wanctl.listing import print_json, print_rows, records

    start_logging(ctx)
    if is_lora(Path(source)):
        _inspect_lora(Path(source), as_json=as_json)
        return
    inspection = inspect(source)
    if as_json:
        print_json(
            {
                "parts": records(COLUMNS, inspection.rows),
                "checkpoint": dict(notes_of(inspection.identity)),
                "variants": [variant.name for variant in inspection.variants],
                "missing": inspection.missing,
                "problems": inspection.problems,
                "metadata": inspection.metadata,
            }
        )
        return
    print_rows(COLUMNS, inspection.rows)
    print_rows(("", ""), notes(inspection))


def _inspect_lora(path: Path, *, as_json: bool) -> None:
    from wanctl.checkpoint.inspection.loras import COLUMNS, inspect_lora
    from wanctl.listing import print_json, print_rows, records

    row, notes, metadata = inspect_lora(path)
    if as_json:
        parts = records(COLUMNS, [row])
        print_json({"parts": parts, "checkpoint": dict(notes), "metadata": metadata})
        return
    print_rows(COLUMNS, [row])
    print_rows(("", ""), [*notes, *metadata.items()])


@weights_app.command("check")
def check(ctx: typer.Context, source: SourceArgument) -> None:
    """Read all tensors: check names, shapes, and that every number is finite."""
    from wanctl.checkpoint.inspection.check import COLUMNS
    from wanctl.checkpoint.inspection.check import check as run
    from wanctl.listing import print_rows

    start_logging(ctx)
    results = run(source)
    print_rows(COLUMNS, [result.row for result in results])
    problems = [problem for result in results for problem in result.problems]
    if problems:
        from wanctl.checkpoint.files.tensor_files import WeightsError

        raise WeightsError("; ".join(problems))
