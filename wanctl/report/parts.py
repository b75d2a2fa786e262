"""HTML parts that every section is built from: sections, contact sheets, bars, lists of facts."""

from collections.abc import Mapping, Sequence
from typing import Literal

from wanctl.escaping import html_text


def section(name: str, title: str, body: str, about: str = "") -> str:
    """A part of the page that the navigation leads to."""
    note = f'<p class="about">{about}</p>' if about else ""
    return f'<section id="{html_text(name)}"><h2>{html_text(title)}</h2>{note}{body}</section>'


def contact_sheet(
    rows: Sequence[int],
    record_index: Mapping[int, int],
    total: int,
    filter_name: str = "",
    *,
    words: Literal["reason", "score"] = "reason",
) -> str:
    """A contact sheet, which the script fills when it comes into view.

    Args:
        rows: the clips.
        record_index: row -> index among the clip records of the page.
        total: number of clips that these are examples of.
        filter_name: the filter whose reason or score is shown under each clip.
        words: which of the two; clips that the filter keeps show their score in any case.
    """
    if not rows:
        return '<p class="soft">none</p>'
    clips = " ".join(str(record_index[row]) for row in rows)
    rest = total - len(rows)
    more = f'<p class="soft small">and {rest:,} more</p>' if rest > 0 else ""
    return (
        f'<div class="sheet" data-clips="{clips}" data-filter="{html_text(filter_name)}" '
        f'data-words="{words}" '
        f'style="--n:{len(rows)}"></div>{more}'
    )


def bar(*shares: tuple[str, float], title: str = "") -> str:
    """A horizontal stacked bar.

    Args:
        shares: (CSS class, width in percent).
        title: what its parts are shares of, in words and numbers.
    """
    pieces = "".join(f'<i class="{name}" style="width:{width:.2f}%"></i>' for name, width in shares)
    label = (
        f' role="img" aria-label="{html_text(title)}" title="{html_text(title)}"' if title else ""
    )
    return f'<div class="bar"{label}>{pieces}</div>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """A definition list of names and values."""
    lines = "".join(
        f"<dt>{html_text(name)}</dt><dd>{html_text(value)}</dd>" for name, value in pairs
    )
    return f'<dl class="facts">{lines}</dl>'


def clock(seconds: float) -> str:
    """Format a duration as 4.2 s, 3:07 or 2:41:09."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(float(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
