"""Sections that need no script: overview, funnel, throughput, quarantine, training shapes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wanctl.curate.select.funnel import FunnelRow
from wanctl.curate.select.overrides import OVERRIDE
from wanctl.curate.select.selection_rows import CROP
from wanctl.curate.timing import StageCost
from wanctl.escaping import html_text
from wanctl.report.decided_clips import DecidedClips
from wanctl.report.parts import bar, clock
from wanctl.report.records.clip_records import short_name
from wanctl.report.records.reasons import ReasonKinds
from wanctl.report.scale import format_number

MAX_QUARANTINED = 400
"""Rows of the quarantine that are listed."""


def overview(decided: DecidedClips, num_sources: int, num_quarantined: int) -> str:
    """The share of the footage that is kept, and the totals."""
    seconds, kept = decided.seconds(), decided.kept
    kept_s = decided.span_seconds()[kept].sum()
    share = 100 * kept_s / max(seconds.sum(), 1e-9)
    cropped = int((decided.cropped() & kept).sum())
    trimmed = int((decided.trimmed() & kept).sum())
    cards = [
        (f"{num_sources:,}", "source files"),
        (f"{len(decided):,}", "clips found"),
        (f"{kept.sum():,}", "clips kept"),
        (clock(kept_s), f"kept of {clock(seconds.sum())}"),
        (f"{cropped:,}", "kept with a crop"),
        *([(f"{trimmed:,}", "kept and trimmed in time")] if trimmed else []),
        (f"{num_quarantined:,}", "quarantined"),
    ]
    boxes = "".join(f'<div class="card"><b>{n}</b>{html_text(label)}</div>' for n, label in cards)
    note = (
        f'<p class="legend"><span><i></i>kept: {share:.1f} % of the footage, by length</span>'
        '<span><i class="drop"></i>dropped</span></p>'
    )
    return (
        f'<div class="share" role="img" aria-label="{share:.1f} % of the footage is kept">'
        f'<i style="width:{share:.2f}%"></i></div>{note}<div class="cards">{boxes}</div>'
    )


def funnel_table(total: int, rows: Sequence[FunnelRow], reasons: ReasonKinds) -> str:
    """One bar per filter: the clips left after it, and those that it removes at its position.

    Args:
        total: number of clips.
        rows: one per filter.
        reasons: of which the most frequent one of each filter is shown.
    """
    before = total
    lines = [_funnel_line(("all clips", ""), (total, 0, total), ("", "", ""), "")]
    for row in rows:
        target = {CROP: "crops", OVERRIDE: "overrides"}.get(row.name, f"filter-{row.name}")
        anchor = f'<a href="#{html_text(target)}">{html_text(row.name)}</a>'
        counts = (f"{row.left:,}", f"{row.drops:,}", f"{row.alone:,}")
        lines.append(
            _funnel_line(
                (row.name, anchor),
                (row.left, before - row.left, total),
                counts,
                _why(row, reasons),
            )
        )
        before = row.left
    return (
        '<div class="wide"><table class="funnel"><thead><tr><th>after</th>'
        '<th class="scale">share of all clips</th>'
        '<th class="n">left</th><th class="n">drops</th><th class="n">alone</th>'
        '<th class="why">most frequent reason</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _why(row: FunnelRow, reasons: ReasonKinds) -> str:
    if row.name == OVERRIDE and row.restores:
        return f"kept by people against the filters: {row.restores:,}"
    kinds = reasons.of_filter(row.name)
    return kinds[0].example if kinds else ""


def _funnel_line(
    name: tuple[str, str], widths: tuple[int, int, int], counts: tuple[str, str, str], why: str
) -> str:
    left, removed, total = widths
    keep, drop = (100 * part / max(total, 1) for part in (left, removed))
    title = f"{keep:.1f} % of all clips left, {drop:.1f} % removed here"
    numbers = "".join(
        f'<td class="n">{each}</td>' for each in (counts[0] or f"{left:,}", *counts[1:])
    )
    return (
        f"<tr><th scope=row>{name[1] or html_text(name[0])}</th>"
        f'<td class="scale">{bar(("keep", keep), ("drop", drop), title=title)}</td>'
        f'{numbers}<td class="why">{html_text(why)}</td></tr>'
    )


def throughput(stages: Mapping[str, StageCost]) -> str:
    """Seconds of footage per core second of each stage."""
    rates = {name: stage.rate for name, stage in stages.items() if stage.rate}
    if not rates:
        return ""
    slowest = max(stage.cpu_s for stage in stages.values())
    lines = "".join(
        f"<tr><th scope=row>{html_text(name)}</th>"
        f'<td class="scale">{_cost_bar(stages[name], slowest)}</td>'
        f'<td class="n">{stages[name].cpu_s:,.1f} s</td><td class="n">{stages[name].items:,}</td>'
        f'<td class="n">{clock(stages[name].video_s)}</td>'
        f'<td class="n">{format_number(float(f"{rate:.3g}"))}</td></tr>'
        for name, rate in rates.items()
    )
    return (
        '<div class="wide"><table class="costs"><thead><tr><th>stage</th>'
        '<th class="scale">core time, relative to the slowest</th>'
        '<th class="n">core time</th><th class="n">items</th><th class="n">footage</th>'
        '<th class="n">footage seconds per core second</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cost_bar(stage: StageCost, slowest_s: float) -> str:
    share = 100 * stage.cpu_s / slowest_s
    return bar(("cost", share), title=f"{share:.0f} % of the core time of the slowest stage")


def quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    """Quarantined files and clips by kind; one that fails for several filters is one line."""
    lines: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        key = (row["kind"], row["source"], row["clip_id"], row["error"])
        lines.setdefault(key, []).append(row["stage"])
    kinds = Counter(key[0] for key in lines)
    return "".join(
        _quarantine_kind(kind, count, {key: lines[key] for key in lines if key[0] == kind})
        for kind, count in kinds.most_common()
    )


def _quarantine_kind(
    kind: str, count: int, lines: Mapping[tuple[str, str, str, str], Sequence[str]]
) -> str:
    body = "".join(
        f'<tr><td title="{html_text(source)}">{html_text(short_name(source))}'
        f"{f' <code>{html_text(clip)}</code>' if clip else ''}</td>"
        f"<td>{html_text(', '.join(dict.fromkeys(stages)))}</td>"
        f"<td>{html_text(error.removeprefix(source).removeprefix(': '))}</td></tr>"
        for (_, source, clip, error), stages in list(lines.items())[:MAX_QUARANTINED]
    )
    more = (
        f'<p class="soft small">and {count - MAX_QUARANTINED:,} more</p>'
        if count > MAX_QUARANTINED
        else ""
    )
    return (
        f'<details><summary>{html_text(kind)} <span class="count">{count:,}</span></summary>'
        '<div class="wide"><table><thead><tr><th>file</th><th>stage</th><th>reason</th></tr>'
        f"</thead><tbody>{body}</tbody></table></div>{more}</details>"
    )


def bucket_table(decided: DecidedClips) -> str:
    """Number of kept clips per training bucket."""
    no_bucket = "fits no bucket"
    values = decided.selection.filter(decided.kept)["bucket"].value_counts().to_pylist()
    counts = Counter({each["values"] or no_bucket: each["counts"] for each in values})
    if not counts:
        return ""
    largest = max(counts.values())
    lines = "".join(
        f'<tr><th scope=row>{html_text(name)}</th><td class="scale">'
        + bar(
            ("drop" if name == no_bucket else "keep", 100 * count / largest),
            title=f"{count / largest:.0%} of the fullest bucket",
        )
        + f'</td><td class="n">{count:,}</td></tr>'
        for name, count in counts.most_common()
    )
    return (
        '<div class="wide"><table class="shapes"><thead><tr><th>bucket</th>'
        '<th class="scale">relative to the fullest</th><th class="n">kept clips</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def crop_note(decided: DecidedClips) -> str:
    """A sentence on the share of the frame that crops of kept clips leave."""
    rows = decided.cropped() & decided.kept
    if not rows.any():
        return "No kept clip is cropped."
    share = decided.crop_share()[rows]
    return (
        f"{rows.sum():,} kept clips are cropped; {np.median(share):.0%} of the frame is left in "
        f"the median clip, {share.min():.0%} in the smallest."
    )
