"""The parts of the report that need no script: counts, tables, charts, the recipe."""

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal

import numpy as np

from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.funnel import FunnelRow
from wanctl.curate.select.selection import CROP
from wanctl.curate.timing import StageCost
from wanctl.report.charts import distribution
from wanctl.report.choose import Boundary, LabelSheet
from wanctl.report.outcome import Outcome
from wanctl.report.records import short_name
from wanctl.report.scale import brief

MAX_ASIDE = 400
"""Rows of the quarantine that are listed."""


def section(name: str, title: str, body: str, about: str = "") -> str:
    """A part of the page that the navigation leads to."""
    note = f'<p class="about">{about}</p>' if about else ""
    return f'<section id="{escape(name)}"><h2>{escape(title)}</h2>{note}{body}</section>'


def sheet(
    rows: Sequence[int],
    places: Mapping[int, int],
    total: int,
    about: str = "",
    *,
    words: Literal["reason", "score"] = "reason",
) -> str:
    """A contact sheet, which the script fills once it comes into view.

    Args:
        rows: the clips.
        places: row -> place among the records.
        total: how many there are of which these are some.
        about: the filter whose word stands under each clip.
        words: what that is; clips that are not dropped have their score there anyhow.
    """
    if not rows:
        return '<p class="soft">none</p>'
    clips = " ".join(str(places[row]) for row in rows)
    rest = total - len(rows)
    more = f'<p class="soft small">and {rest:,} more</p>' if rest > 0 else ""
    return (
        f'<div class="sheet" data-clips="{clips}" data-about="{escape(about)}" '
        f'data-words="{words}" '
        f'style="--n:{len(rows)}"></div>{more}'
    )


def overview(outcome: Outcome, sources: int, aside: int) -> str:
    """The one sentence that says what came out, and the totals."""
    seconds, kept = outcome.seconds(), outcome.kept
    share = 100 * seconds[kept].sum() / max(seconds.sum(), 1e-9)
    cropped = int((outcome.cropped() & kept).sum())
    cards = [
        (f"{sources:,}", "source files"),
        (f"{len(outcome):,}", "clips found"),
        (f"{kept.sum():,}", "clips kept"),
        (clock(seconds[kept].sum()), f"kept of {clock(seconds.sum())}"),
        (f"{cropped:,}", "kept with a crop"),
        (f"{aside:,}", "set aside"),
    ]
    boxes = "".join(f'<div class="card"><b>{n}</b>{escape(what)}</div>' for n, what in cards)
    return (
        f'<div class="share" role="img" aria-label="{share:.1f} % of the footage is kept">'
        f'<i style="width:{share:.2f}%"></i></div><div class="cards">{boxes}</div>'
    )


def funnel_table(total: int, rows: Sequence[FunnelRow], tops: Mapping[str, str]) -> str:
    """One bar per filter: what is left after it, and what it takes away at its place.

    Args:
        total: clips.
        rows: of the funnel.
        tops: filter -> its most frequent reason.
    """
    before = total
    lines = [_funnel_line(("all clips", ""), (total, 0, total), ("", "", ""), "")]
    for row in rows:
        target = "crops" if row.name == CROP else f"filter-{row.name}"
        anchor = f'<a href="#{escape(target)}">{escape(row.name)}</a>'
        counts = (f"{row.left:,}", f"{row.drops:,}", f"{row.alone:,}")
        lines.append(
            _funnel_line(
                (row.name, anchor),
                (row.left, before - row.left, total),
                counts,
                tops.get(row.name, ""),
            )
        )
        before = row.left
    return (
        '<div class="wide"><table class="funnel"><thead><tr><th>after</th><th class="scale"></th>'
        '<th class="n">left</th><th class="n">drops</th><th class="n">alone</th>'
        f"<th>mostly because</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _funnel_line(
    name: tuple[str, str], piles: tuple[int, int, int], counts: tuple[str, str, str], why: str
) -> str:
    left, lost, total = piles
    keep, drop = (100 * part / max(total, 1) for part in (left, lost))
    numbers = "".join(
        f'<td class="n">{each}</td>' for each in (counts[0] or f"{left:,}", *counts[1:])
    )
    return (
        f"<tr><th scope=row>{name[1] or escape(name[0])}</th>"
        f'<td class="scale"><div class="bar"><i class="keep" style="width:{keep:.2f}%"></i>'
        f'<i class="drop" style="width:{drop:.2f}%"></i></div></td>'
        f'{numbers}<td class="why">{escape(why)}</td></tr>'
    )


def filter_section(
    named: NamedFilter,
    outcome: Outcome,
    boundaries: Sequence[Boundary],
    funnel: FunnelRow,
    rows: Sequence[int],
    places: Mapping[int, int],
) -> str:
    """One filter: what it is set to, how its scores lie, and the clips at its bounds."""
    column = outcome.column(named.name)
    dropped = outcome.dropped[:, column]
    scores = outcome.scores[:, column]
    bounds = tuple(each.bound for each in boundaries)
    drawn = distribution(scores[~dropped], scores[dropped], bounds, named.filter.unit)
    near = "".join(_nearest(each, named, places) for each in boundaries)
    total = int(dropped.sum())
    what = inspect.getdoc(type(named.filter)) or ""
    link = f'<p><a href="#label-{escape(named.name)}">what it sorts clips into</a></p>'
    return (
        f'<section id="filter-{escape(named.name)}" class="filter"><h3>{escape(named.name)}'
        f'<span class="count">drops {total:,} of {len(outcome):,}</span></h3>'
        f'<p class="about">{escape(what.partition(chr(10))[0])}</p>'
        f'<p class="keys">{_keys(named)}</p>{link if named.name in outcome.labels else ""}'
        + (
            f'<div class="two"><div>{drawn}{_steps(named, funnel)}</div><div>{near}</div></div>'
            if drawn
            else ""
        )
        + (f"<h4>Dropped</h4>{sheet(rows, places, total, named.name)}" if total else "")
        + "</section>"
    )


def _steps(named: NamedFilter, funnel: FunnelRow) -> str:
    """What moving each bound a little would change."""
    if not funnel.steps:
        return ""
    now = f"<tr><th scope=row>as it is</th><td class=n>{funnel.drops:,}</td>"
    lines = [f"{now}<td class=n>{funnel.alone:,}</td></tr>"]
    lines += [
        f"<tr><th scope=row>{escape(brief(step.moved))} {escape(named.filter.unit)} "
        f'<span class="soft">instead of {escape(brief(step.bound))}</span></th>'
        f"<td class=n>{step.drops:,}</td><td class=n>{step.alone:,}</td></tr>"
        for step in funnel.steps
    ]
    return (
        '<table class="steps"><thead><tr><th>a bound moved by a tenth</th><th class="n">drops</th>'
        f'<th class="n">alone</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def _keys(named: NamedFilter) -> str:
    settings = named.filter.model_dump(mode="json", exclude={"optional"})
    measured = set(named.filter.measure_fields())
    return " ".join(
        f'<code class="{"" if key in measured else "decides"}">{escape(key)}: '
        f"{escape(_said(value))}</code>"
        for key, value in settings.items()
    )


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _nearest(boundary: Boundary, named: NamedFilter, places: Mapping[int, int]) -> str:
    if not boundary.kept and not boundary.dropped:
        return ""
    bound = f"{brief(boundary.bound)} {named.filter.unit}".strip()
    sides = "".join(
        f'<div><h5 class="{kind}">{title}</h5>'
        f"{sheet(rows, places, len(rows), named.name, words='score')}</div>"
        for kind, title, rows in (
            ("keep", "just passes", boundary.kept),
            ("drop", "just dropped", boundary.dropped),
        )
    )
    return f'<h4>Nearest to {escape(bound)}</h4><div class="near">{sides}</div>'


def classes(sheets: Sequence[LabelSheet], places: Mapping[int, int]) -> str:
    """A row of clips for each class."""
    largest = max((each.total for each in sheets), default=1)
    return "".join(
        f'<div class="class">{_class_title(each)}<div class="bar"><i class="keep" style="width:'
        f'{100 * each.num_kept / largest:.2f}%"></i><i class="drop" style="width:'
        f'{100 * (each.total - each.num_kept) / largest:.2f}%"></i></div>'
        f"{sheet(each.rows, places, each.total)}</div>"
        for each in sheets
    )


def groups(sheets: Sequence[LabelSheet], places: Mapping[int, int]) -> str:
    """Small classes side by side."""
    boxes = "".join(
        f'<div class="group" style="--n:{len(each.rows)}">{_class_title(each)}'
        f"{sheet(each.rows, places, each.total)}</div>"
        for each in sheets
    )
    return f'<div class="groups">{boxes}</div>' if boxes else ""


def _class_title(sheet: LabelSheet) -> str:
    kept = f"{sheet.num_kept:,} kept of {sheet.total:,}"
    return f'<h4>{escape(sheet.name)}<span class="count">{kept}</span></h4>'


def throughput(stages: Mapping[str, StageCost]) -> str:
    """Seconds of footage per core second, stage by stage."""
    rates = {name: stage.rate for name, stage in stages.items() if stage.rate}
    if not rates:
        return ""
    slowest = max(stage.cpu_s for stage in stages.values())
    lines = "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        f'<td class="scale"><div class="bar"><i class="cost" style="width:'
        f'{100 * stages[name].cpu_s / slowest:.2f}%"></i></div></td>'
        f'<td class="n">{stages[name].cpu_s:,.1f} s</td><td class="n">{stages[name].items:,}</td>'
        f'<td class="n">{clock(stages[name].video_s)}</td>'
        f'<td class="n">{brief(float(f"{rate:.3g}"))}</td></tr>'
        for name, rate in rates.items()
    )
    return (
        '<div class="wide"><table><thead><tr><th>stage</th><th class="scale"></th>'
        '<th class="n">core time</th><th class="n">items</th><th class="n">footage</th>'
        '<th class="n">footage seconds per core second</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was set aside, by kind; a file that fails for several filters is one line."""
    lines: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        key = (row["kind"], row["source"], row["clip_id"], row["error"])
        lines.setdefault(key, []).append(row["stage"])
    kinds = Counter(key[0] for key in lines)
    return "".join(
        _aside(kind, count, {key: lines[key] for key in lines if key[0] == kind})
        for kind, count in kinds.most_common()
    )


def _aside(kind: str, count: int, lines: Mapping[tuple[str, str, str, str], Sequence[str]]) -> str:
    body = "".join(
        f'<tr><td title="{escape(source)}">{escape(short_name(source))}'
        f"{f' <code>{escape(clip)}</code>' if clip else ''}</td>"
        f"<td>{escape(', '.join(dict.fromkeys(stages)))}</td>"
        f"<td>{escape(error.removeprefix(source).removeprefix(': '))}</td></tr>"
        for (_, source, clip, error), stages in list(lines.items())[:MAX_ASIDE]
    )
    more = f'<p class="soft small">and {count - MAX_ASIDE:,} more</p>' if count > MAX_ASIDE else ""
    return (
        f'<details><summary>{escape(kind)} <span class="count">{count:,}</span></summary>'
        '<div class="wide"><table><thead><tr><th>file</th><th>stage</th><th>reason</th></tr>'
        f"</thead><tbody>{body}</tbody></table></div>{more}</details>"
    )


def buckets(outcome: Outcome) -> str:
    """How many kept clips serve each training shape."""
    none = "fits no bucket"
    found = outcome.selection.filter(outcome.kept)["bucket"].value_counts().to_pylist()
    counts = Counter({each["values"] or none: each["counts"] for each in found})
    if not counts:
        return ""
    largest = max(counts.values())
    lines = "".join(
        f'<tr><th scope=row>{escape(name)}</th><td class="scale"><div class="bar"><i class="'
        f'{"drop" if name == none else "keep"}" style="width:{100 * count / largest:.2f}%"></i>'
        f'</div></td><td class="n">{count:,}</td></tr>'
        for name, count in counts.most_common()
    )
    return f'<div class="wide"><table class="shapes"><tbody>{lines}</tbody></table></div>'


def clock(seconds: float) -> str:
    """4.2 s, 3:07, 2:41:09."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(float(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """A list of names and values."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="facts">{lines}</dl>'


def crop_note(outcome: Outcome) -> str:
    """How much the crops of kept clips leave."""
    rows = outcome.cropped() & outcome.kept
    if not rows.any():
        return "No kept clip is cropped."
    share = outcome.crop_share()[rows]
    return (
        f"{rows.sum():,} kept clips lose part of their picture; {np.median(share):.0%} of it is "
        f"left in the middle one, {share.min():.0%} in the worst."
    )
