"""`wanctl runs`: how far each run folder is, and which command comes next."""

from pathlib import Path
from typing import Annotated

import typer

from wanctl.cli.options import JsonOption, local_path, start_logging
from wanctl.cli.program import app

FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="[FOLDER]", parser=local_path, help="searched for run folders and data sets"
    ),
]


@app.command(rich_help_panel="Inspect and rework")
def runs(
    ctx: typer.Context, folder: FolderArgument = Path("runs"), as_json: JsonOption = False
) -> None:
    """List run folders and data sets, how far each is and the command that comes next."""
    start_logging(ctx)
    from wanctl.listing import print_json, print_rows
    from wanctl.runs.run import COLUMNS, row
    from wanctl.runs.run import runs as run

    records = run(folder)
    if as_json:
        print_json(records)
    else:
        print_rows(COLUMNS, [row(record) for record in records], headers=True)
