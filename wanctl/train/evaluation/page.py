"""previews.html: the previews of all steps beside those before training, a row per step.

The page refers to the files in previews/ and plays them without a server.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.escaping import html_text
from wanctl.train.objective import Objective
from wanctl.train.previews import preview_sheet, preview_video, sheet_captions

NAME = "previews.html"


def write_page(
    folder: Path, objective: Objective[Any], evaluations: Sequence[Mapping[str, Any]]
) -> None:
    """Write the page anew from the files in `folder/previews`.

    Args:
        folder: of the run.
        objective: names the run, and the figure that is shown for each step.
        evaluations: lines of metrics.jsonl.
    """
    previews = folder / "previews"
    numbers = [path.stem.removeprefix("step-") for path in previews.glob("step-*.png")]
    steps = sorted(int(number) for number in numbers if number.isdigit())
    captions = {step: sheet_captions(preview_sheet(previews, step)) for step in steps}
    losses = {line["step"]: line.get(objective.judged) for line in evaluations}
    newest = captions[steps[-1]]
    rows = []
    for step in sorted(steps, key=lambda step: (step > 0, -step)):  # step 0, then the newest
        loss = losses.get(step)
        figure = "" if loss is None else f"{objective.judged} {loss:.4g}"
        rows.append(_row(folder, step, figure, captions[step], newest))
    code = _asset("previews.js")
    values = {
        # text that enters the page past all escaping could not run as a script
        "policy": "default-src 'none'; style-src 'unsafe-inline'; img-src file: http: https:; "
        f"media-src file: http: https:; script-src 'sha256-{_digest(code)}'",
        "title": html_text(f"{objective.name}: previews"),
        "style": _asset("previews.css"),
        "headline": html_text(f"{len(steps)} times, up to step {steps[-1]}"),
        "captions": "".join(f"<th>{html_text(caption)}</th>" for caption in newest),
        "rows": "".join(rows),
        "script": code,
    }
    write_bytes(folder / NAME, _asset("previews.html").format_map(values).encode())


def _row(
    folder: Path, step: int, figure: str, captions: Sequence[str], newest: Sequence[str]
) -> str:
    """A step; stills have no files of their own and are shown as one sheet.

    A caption is shown where it differs from the newest one of its column.
    """
    cells = []
    for number, caption in enumerate(captions, start=1):
        path = preview_video(folder / "previews", step, number)
        if path.exists():
            same = caption == (newest[number - 1] if number <= len(newest) else "")
            note = "" if same else f"<p>{html_text(caption)}</p>"
            source = html_text(path.relative_to(folder).as_posix())
            cells.append(
                f'<td><video data-src="{source}" title="{html_text(caption)}" loop muted '
                f"playsinline controls></video>{note}</td>"
            )
    if not cells:
        sheet = html_text(preview_sheet(folder / "previews", step).relative_to(folder).as_posix())
        cells = [f'<td colspan="{len(captions)}"><img src="{sheet}" alt="" loading="lazy"></td>']
    name = "before training" if step == 0 else f"step {step}"
    kind = ' class="base"' if step == 0 else ""
    head = f"<th>{html_text(name)}<small>{html_text(figure)}</small></th>"
    return f"<tr{kind}>{head}{''.join(cells)}</tr>"


def _asset(name: str) -> str:
    return files("wanctl.train.evaluation").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
