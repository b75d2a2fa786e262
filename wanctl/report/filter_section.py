"""The section of one filter, and those of the classes and groups that filters sort clips into."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from wanctl.curate.registry import NamedFilter
from wanctl.curate.select.funnel import FunnelRow
from wanctl.escaping import html_text
from wanctl.report.charts import distribution
from wanctl.report.decided_clips import DecidedClips
from wanctl.report.examples import BoundExamples, ClassExamples
from wanctl.report.parts import bar, contact_sheet
from wanctl.report.records.reasons import ReasonKind, ReasonKinds
from wanctl.report.scale import format_number


def filter_section(
    named: NamedFilter,
    decided: DecidedClips,
    bound_examples: Sequence[BoundExamples],
    funnel: FunnelRow,
    rows: Sequence[int],
    record_index: Mapping[int, int],
    reasons: ReasonKinds,
) -> str:
    """One filter: its settings, the histogram of its scores, and the clips nearest its bounds."""
    column = decided.column(named.name)
    dropped = decided.dropped[:, column]
    scores = decided.scores[:, column]
    bounds = tuple(each.bound for each in bound_examples)
    chart = distribution(scores[~dropped], scores[dropped], bounds, named.filter.unit)
    near = "".join(_nearest_clips(each, named, record_index) for each in bound_examples)
    total = int(dropped.sum())
    doc = inspect.getdoc(type(named.filter)) or ""
    link = f'<p><a href="#label-{html_text(named.name)}">clips by class</a></p>'
    return (
        f'<section id="filter-{html_text(named.name)}" class="filter"><h3>{html_text(named.name)}'
        f'<span class="count">drops {total:,} of {len(decided):,}</span></h3>'
        f'<p class="about">{html_text(doc.partition(chr(10))[0])}</p>'
        f'<p class="keys">{_keys(named)}</p>{link if named.name in decided.labels else ""}'
        + (
            f'<div class="two"><div>{chart}{_steps(named, funnel)}</div><div>{near}</div></div>'
            if chart
            else ""
        )
        + (
            f"<h4>Dropped</h4>{_reason_links(reasons.of_filter(named.name))}"
            f"{contact_sheet(rows, record_index, total, named.name)}"
            if total
            else ""
        )
        + "</section>"
    )


def _reason_links(kinds: Sequence[ReasonKind]) -> str:
    """The reasons of a filter with their counts; each leads to its clips."""
    links = "".join(
        f'<li><a href="#{html_text(_view_of(kind))}">{html_text(kind.text)}</a>'
        f'<span class="count">{kind.count:,}</span></li>'
        for kind in kinds
    )
    return f'<ul class="kinds">{links}</ul>' if kinds else ""


def _view_of(kind: ReasonKind) -> str:
    """The page's address of the clips that are dropped for such a reason."""
    reason = f"{kind.filter_name}: {kind.text}"
    return "clips?" + urlencode({"show": "all", "reason": reason})


def _steps(named: NamedFilter, funnel: FunnelRow) -> str:
    """A table of what each bound would drop if it were a tenth lower or higher."""
    if not funnel.steps:
        return ""
    current = f"<tr><th scope=row>current</th><td class=n>{funnel.drops:,}</td>"
    lines = [f"{current}<td class=n>{funnel.alone:,}</td></tr>"]
    lines += [
        f"<tr><th scope=row>{html_text(format_number(step.moved))} {html_text(named.filter.unit)} "
        f'<span class="soft">instead of {html_text(format_number(step.bound))}</span></th>'
        f"<td class=n>{step.drops:,}</td><td class=n>{step.alone:,}</td></tr>"
        for step in funnel.steps
    ]
    return (
        '<table class="steps"><thead><tr><th>bound moved by 10 %</th><th class="n">drops</th>'
        f'<th class="n">alone</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )


def _keys(named: NamedFilter) -> str:
    settings = named.filter.model_dump(mode="json", exclude={"optional"})
    measured = set(named.filter.measure_fields())
    return " ".join(
        f'<code class="{"" if key in measured else "decides"}">{html_text(key)}: '
        f"{html_text(_format_value(value))}</code>"
        for key, value in settings.items()
    )


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _nearest_clips(
    examples: BoundExamples, named: NamedFilter, record_index: Mapping[int, int]
) -> str:
    if not examples.kept and not examples.dropped:
        return ""
    bound = f"{format_number(examples.bound)} {named.filter.unit}".strip()
    sides = "".join(
        f'<div><h5 class="{kind}">{title}</h5>'
        f"{contact_sheet(rows, record_index, len(rows), named.name, words='score')}</div>"
        for kind, title, rows in (
            ("keep", "just passes", examples.kept),
            ("drop", "just dropped", examples.dropped),
        )
    )
    return f'<h4>Nearest to {html_text(bound)}</h4><div class="near">{sides}</div>'


def class_sheets(examples: Sequence[ClassExamples], record_index: Mapping[int, int]) -> str:
    """A contact sheet for each class, with the share of its clips that is kept."""
    largest = max((each.total for each in examples), default=1)
    note = (
        '<p class="legend"><span><i></i>kept</span><span><i class="drop"></i>dropped</span>'
        "<span>length: clips of the class, relative to the largest one</span></p>"
    )
    return note + "".join(
        f'<div class="class">{_class_title(each)}'
        + bar(
            ("keep", 100 * each.num_kept / largest),
            ("drop", 100 * (each.total - each.num_kept) / largest),
            title=f"{each.num_kept:,} kept of {each.total:,}; the largest class has {largest:,}",
        )
        + f"{contact_sheet(each.rows, record_index, each.total)}</div>"
        for each in examples
    )


def group_sheets(examples: Sequence[ClassExamples], record_index: Mapping[int, int]) -> str:
    """Small classes next to each other, such as groups of duplicates."""
    boxes = "".join(
        f'<div class="group" style="--n:{len(each.rows)}">{_class_title(each)}'
        f"{contact_sheet(each.rows, record_index, each.total)}</div>"
        for each in examples
    )
    return f'<div class="groups">{boxes}</div>' if boxes else ""


def _class_title(examples: ClassExamples) -> str:
    kept = f"{examples.num_kept:,} kept of {examples.total:,}"
    return f'<h4>{html_text(examples.name)}<span class="count">{kept}</span></h4>'
