"""caption-eval.html: bars of every figure, one captioner beside another, without a script."""

from collections.abc import Mapping, Sequence

from wanctl.caption.evaluation.counterfactual.rates import TESTS
from wanctl.caption.evaluation.results import Result, captioner_names, columns_and_rows, model_names
from wanctl.caption.structured.schema import DIMENSIONS
from wanctl.escaping import html_text

COLORS = ("#1c7ed6", "#d9480f", "#2b8a3e", "#9c36b5", "#e8a200", "#0c8599", "#c2255c", "#5c5f66")
WIDTH, NAME_PX, BAR_PX, GAP_PX, TOP_PX = 880, 260, 13, 12, 22

_STYLE = """
:root { color-scheme: light dark } body { font: 15px/1.5 system-ui, sans-serif; max-width: 980px;
margin: 2rem auto; padding: 0 1rem } h2 { margin: 2.2rem 0 .3rem } svg { width: 100%;
min-width: 640px; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: currentColor } .soft { color: #868e96 }
.grid { stroke: #8884 } .error { stroke: currentColor; stroke-width: 1.2 }
.wide { overflow-x: auto } table { border-collapse: collapse } td, th { padding: .2rem 1rem .2rem 0;
text-align: left; border-bottom: 1px solid #8883; font-variant-numeric: tabular-nums }
ul.key { list-style: none; padding: 0 } ul.key i { display: inline-block; width: .8em; height: .8em;
margin-right: .5em }
"""

_F1_NOTE = (
    "F1 of what a captioner names in each dimension against the labels: 1 is right throughout. "
    "Precision and recall are in the table."
)
_TEST_NOTE = (
    "The frames of a clip are changed and the captioner is asked again. Bars: the share of clips "
    "whose answer changed the right way, minus the share whose answer did so when nothing but "
    "invisible noise was added; lines: its 95 % interval. 1: it looks. 0: it does not."
)


def render(result: Result) -> str:
    """The page as HTML."""
    names = captioner_names(result)
    parts = []
    if result["labels"]:
        scores = {each["captioner"]: each for each in result["labels"]["captioners"]}
        groups = {
            dimension: {
                name: (record["dimensions"][dimension]["f1"], 0.0)
                for name, record in scores.items()
            }
            for dimension in DIMENSIONS
            if any(dimension in record["dimensions"] for record in scores.values())
        }
        groups["mean"] = {name: (record["mean_f1"], 0.0) for name, record in scores.items()}
        parts.append(_section("Against labels", _F1_NOTE, _bars(groups, names, 0.0)))
    if result["counterfactual"]:
        records = {each["captioner"]: each["tests"] for each in result["counterfactual"]}
        groups = {
            f"{test}: {TESTS[test].expects}": {
                name: (tests[test]["rate"], tests[test]["error"])
                for name, tests in records.items()
                if tests[test]["clips"]
            }
            for test in TESTS
        }
        parts.append(_section("Against changed clips", _TEST_NOTE, _bars(groups, names, -0.5)))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\"><title>Captioners</title>"
        f"<style>{_STYLE}</style><h1>Captioners</h1>{_key(names, result)}{''.join(parts)}"
        f"<h2>Table</h2>{_table(result)}</html>"
    )


def _section(title: str, note: str, body: str) -> str:
    return f'<h2>{title}</h2><p class="soft">{note}</p>{body}'


def _key(names: Sequence[str], result: Result) -> str:
    models = model_names(result)
    lines = "".join(
        f'<li><i style="background:{COLORS[index % len(COLORS)]}"></i>{html_text(name)} '
        f'<span class="soft">{html_text(models[name])}</span></li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="key">{lines}</ul>'


def _bars(
    groups: Mapping[str, Mapping[str, tuple[float, float]]], names: Sequence[str], low: float
) -> str:
    """Horizontal bars: for each group one per captioner, from 0, with the interval's line."""
    step = BAR_PX * len(names) + GAP_PX
    height = TOP_PX + step * len(groups)
    parts = []
    ticks = [low + each * (1 - low) / 4 for each in range(5)] if not low else [-0.5, 0, 0.5, 1]
    for tick in ticks:
        x = _x(tick, low)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP_PX - 4}" y2="{height}"/>'
            f'<text x="{x:.1f}" y="12" text-anchor="middle">{tick:g}</text>'
        )
    for row, (group, values) in enumerate(groups.items()):
        top = TOP_PX + row * step
        middle = top + BAR_PX * len(names) / 2 + 4
        parts.append(
            f'<text x="{NAME_PX - 12}" y="{middle:.1f}" text-anchor="end">{html_text(group)}</text>'
        )
        for index, name in enumerate(names):
            if name in values:
                parts.append(_bar(values[name], low, top + index * BAR_PX, index, name))
    return (
        f'<div class="wide"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="bars of the table below">{"".join(parts)}</svg></div>'
    )


def _bar(value: tuple[float, float], low: float, top: float, index: int, name: str) -> str:
    share, error = value
    left, right = sorted((_x(0, low), _x(max(share, low), low)))
    y = top + BAR_PX / 2
    line = ""
    if error:
        ends = [_x(min(1, max(low, share + sign * error)), low) for sign in (-1, 1)]
        line = f'<line class="error" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}"/>'
    return (
        f'<g><title>{html_text(name)}: {share:.3f}</title><rect x="{left:.1f}" y="{top + 1}" '
        f'width="{max(right - left, 1):.1f}" height="{BAR_PX - 2}" '
        f'fill="{COLORS[index % len(COLORS)]}"/>{line}</g>'
    )


def _x(value: float, low: float) -> float:
    return NAME_PX + (value - low) / (1 - low) * (WIDTH - NAME_PX - 20)


def _table(result: Result) -> str:
    columns, rows = columns_and_rows(result)
    head = "".join(f"<th>{html_text(each)}</th>" for each in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html_text(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
