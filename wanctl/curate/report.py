"""report.html: what came in, what was dropped and why, in one file that needs no server."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from wanctl import __version__
from wanctl.curate.charts import histogram
from wanctl.curate.registry import NamedFilter
from wanctl.data.atomic import write_bytes
from wanctl.data.dataset import DatasetDir

# Pictures per sheet; a thumbnail is about 20 kB, so a report stays at a few megabytes.
SHEET_SIZE = 18
THUMB_WIDTH_PX = 168
MAX_THUMB_HEIGHT_PX = 190


@dataclass(frozen=True)
class FunnelRow:
    """What one filter does to the set.

    Attributes:
        name: of the filter.
        left: clips that it and all filters before it keep.
        drops: clips that it would drop on its own.
        alone: clips that only it drops.
    """

    name: str
    left: int
    drops: int
    alone: int


def funnel(selection: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[FunnelRow]:
    """One row per filter, in the recipe's order."""
    by_clip = [{reason.partition(":")[0] for reason in row["reasons"]} for row in selection]
    gone: set[str] = set()
    rows = []
    for name in names:
        gone.add(name)
        rows.append(
            FunnelRow(
                name=name,
                left=sum(not (reasons & gone) for reasons in by_clip),
                drops=sum(name in reasons for reasons in by_clip),
                alone=sum(reasons == {name} for reasons in by_clip),
            )
        )
    return rows


def pick_clips(
    selection: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, list[str]]:
    """Ids of the clips on each sheet: `kept`, and one per filter with what it drops."""
    sheets = {"kept": [row["id"] for row in selection if row["kept"]]}
    for name in names:
        sheets[name] = [
            row["id"] for row in selection if any(r.startswith(f"{name}:") for r in row["reasons"])
        ]
    return {name: _spread(ids) for name, ids in sheets.items()}


def write_report(
    dataset: DatasetDir,
    selection: Sequence[Mapping[str, Any]],
    filters: Sequence[NamedFilter],
    sprites: Mapping[str, bytes],
) -> Path:
    """Write `report.html` into the data set directory.

    Args:
        dataset: the data set.
        selection: rows of the selection that is shown.
        filters: the recipe's filters, in order.
        sprites: clip id -> JPEG strip (`thumbs.collect_sprites`).
    """
    clips = {row["id"]: row for row in dataset.read("clips").to_pylist()}
    quarantine = dataset.read("quarantine").to_pylist()
    names = [named.name for named in filters]
    page = _Page(clips, {row["id"]: row for row in selection}, sprites)
    rows = funnel(selection, [*names, "crop"])
    if not rows[-1].drops:
        rows.pop()
    sheets = pick_clips(selection, names)
    body = [
        _head(dataset, clips, selection, quarantine),
        _funnel_table(len(selection), rows),
        f"<h2>Kept</h2>{page.sheet(sheets['kept'], sum(row['kept'] for row in selection))}",
        *(
            _filter_section(named, selection, page, sheets[named.name], row.drops)
            for named, row in zip(filters, rows, strict=False)
        ),
        _quarantine_table(quarantine),
        f"<details><summary>The recipe</summary><pre>{escape(dataset.recipe)}</pre></details>",
    ]
    css = files("wanctl.curate").joinpath("report.css").read_text(encoding="utf-8")
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(dataset.path.parent.name)}: curation report</title><style>{css}</style>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    path = dataset.path / "report.html"
    write_bytes(path, html.encode())
    return path


class _Page:
    """Draws clips; each sprite is embedded once, as a CSS class."""

    def __init__(
        self,
        clips: Mapping[str, Mapping[str, Any]],
        selection: Mapping[str, Mapping[str, Any]],
        sprites: Mapping[str, bytes],
    ) -> None:
        self._clips = clips
        self._selection = selection
        self._sprites = sprites
        self._embedded: set[str] = set()

    def sheet(self, ids: Sequence[str], total: int, about: str = "") -> str:
        """A contact sheet; `about` names the filter whose reason is shown."""
        if not total:
            return '<p class="soft">none</p>'
        figures = "".join(self._figure(name, about) for name in ids)
        more = total - len(ids)
        rest = f'<p class="soft">and {more} more</p>' if more > 0 else ""
        kind = "sheet dropped" if about else "sheet"
        return f'<div class="{kind}">{figures}</div>{rest}'

    def _figure(self, name: str, about: str) -> str:
        clip, chosen = self._clips[name], self._selection[name]
        height = THUMB_WIDTH_PX * clip["height"] / clip["width"]
        width = THUMB_WIDTH_PX
        if height > MAX_THUMB_HEIGHT_PX:
            width, height = width * MAX_THUMB_HEIGHT_PX / height, MAX_THUMB_HEIGHT_PX
        text = "; ".join(
            reason.partition(": ")[2] for reason in chosen["reasons"] if reason.startswith(about)
        )
        seconds = clip["end_s"] - clip["start_s"]
        return (
            f'<figure><div class="thumb" style="width:{width:.0f}px;height:{height:.0f}px">'
            f'{self._style(name)}<div class="film f{name}"></div>{_crop_box(clip, chosen)}</div>'
            f"<figcaption><b>{escape(Path(clip['source']).stem)}</b> "
            f"{clip['start_s']:.1f}+{seconds:.1f} s<br>{escape(text if about else '')}"
            "</figcaption></figure>"
        )

    def _style(self, name: str) -> str:
        if name in self._embedded or name not in self._sprites:
            return ""
        self._embedded.add(name)
        data = base64.b64encode(self._sprites[name]).decode()
        return f"<style>.f{name}{{background-image:url(data:image/jpeg;base64,{data})}}</style>"


def _crop_box(clip: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    if (chosen["crop_w"], chosen["crop_h"]) == (clip["width"], clip["height"]):
        return ""
    left, top = 100 * chosen["crop_x"] / clip["width"], 100 * chosen["crop_y"] / clip["height"]
    width, height = 100 * chosen["crop_w"] / clip["width"], 100 * chosen["crop_h"] / clip["height"]
    return (
        f'<div class="crop" style="left:{left:.2f}%;top:{top:.2f}%;'
        f'width:{width:.2f}%;height:{height:.2f}%"></div>'
    )


def _spread(ids: Sequence[str]) -> list[str]:
    """At most a sheet of them, evenly over the whole list."""
    if len(ids) <= SHEET_SIZE:
        return list(ids)
    return [ids[index * len(ids) // SHEET_SIZE] for index in range(SHEET_SIZE)]


def _head(
    dataset: DatasetDir,
    clips: Mapping[str, Mapping[str, Any]],
    selection: Sequence[Mapping[str, Any]],
    quarantine: Sequence[Mapping[str, Any]],
) -> str:
    kept = [row["id"] for row in selection if row["kept"]]
    seconds = sum(clips[name]["end_s"] - clips[name]["start_s"] for name in kept)
    whole = sum(clip["end_s"] - clip["start_s"] for clip in clips.values())
    cards = (
        (len(dataset.sources), "source files"),
        (len(clips), "clips"),
        (len(kept), "kept"),
        (_clock(seconds), f"kept of {_clock(whole)}"),
        (len(quarantine), "in quarantine"),
    )
    boxes = "".join(f'<div class="card"><b>{n}</b>{escape(what)}</div>' for n, what in cards)
    return (
        f"<h1>{escape(dataset.path.parent.name)}</h1><p>Curation report by wanctl {__version__}. "
        f'Hover a picture to play it.</p><div class="cards">{boxes}</div>'
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _funnel_table(total: int, rows: Sequence[FunnelRow]) -> str:
    lines = [_funnel_line("all clips", total, total, "", "")]
    lines += [_funnel_line(r.name, r.left, total, str(r.drops), str(r.alone)) for r in rows]
    return (
        "<h2>Funnel</h2><table><tr><th>after filter</th><th class=scale></th><th class=n>left</th>"
        "<th class=n>drops by itself</th><th class=n>dropped by it alone</th></tr>"
        f"{''.join(lines)}</table>"
    )


def _funnel_line(name: str, left: int, total: int, drops: str, alone: str) -> str:
    share = 100 * left / max(total, 1)
    return (
        f'<tr><td>{escape(name)}</td><td><div class="bar" style="width:{share:.1f}%"></div></td>'
        f"<td class=n>{left}</td><td class=n>{drops}</td><td class=n>{alone}</td></tr>"
    )


def _filter_section(
    named: NamedFilter,
    selection: Sequence[Mapping[str, Any]],
    page: _Page,
    ids: Sequence[str],
    total: int,
) -> str:
    kept, dropped = [], []
    for row in selection:
        out = any(reason.startswith(f"{named.name}:") for reason in row["reasons"])
        scores = [s["score"] for s in row["scores"] if s["filter"] == named.name]
        (dropped if out else kept).extend(scores)
    settings = named.filter.model_dump(mode="json", exclude={"optional"})
    keys = " ".join(f"<code>{escape(k)}: {escape(str(v))}</code>" for k, v in settings.items())
    chart = histogram(kept, dropped, named.filter.bounds(), named.filter.unit)
    return (
        f'<h2>{escape(named.name)}</h2><p>{keys}</p><div class="filter"><div>{chart}</div>'
        f"<div>{page.sheet(ids, total, named.name + ':')}</div></div>"
    )


def _quarantine_table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    stages = ", ".join(f"{n} x {s}" for s, n in sorted(Counter(r["kind"] for r in rows).items()))
    lines = "".join(
        f"<tr><td>{escape(Path(r['source']).name)}</td><td>{escape(r['stage'])}</td>"
        f"<td>{escape(r['kind'])}</td><td>{escape(r['error'])}</td></tr>"
        for r in rows
    )
    return (
        f"<h2>Quarantine</h2><p>{escape(stages)}</p><table><tr><th>file</th><th>stage</th>"
        f"<th>kind</th><th>reason</th></tr>{lines}</table>"
    )
