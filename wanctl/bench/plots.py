"""Dose-response and precision-recall curves as SVG, no library."""

from collections.abc import Mapping, Sequence

from wanctl.escaping import html_text

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 40
COLOURS = ("#2f6fde", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900", "#0b7285", "#c2255c", "#495057")

Curve = Sequence[tuple[float, float]]


def dose_response(curves: Mapping[str, Curve], title: str, dose: str, half: float | None) -> str:
    """Recall against dose, a line per variant; the dose at a recall of one half is marked."""
    doses = [x for curve in curves.values() for x, _ in curve]
    bounds = (min(doses, default=0.0), max(doses, default=1.0))
    body = _frame(title, dose, "recall", bounds)
    body += _level(0.5)
    if half is not None:
        x = _x(half, bounds)
        body += f'<line class="half" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        body += f'<text x="{x + 3:.1f}" y="{TOP + 10}" class="soft">half at {half:.3g}</text>'
    return _svg(body + _lines(curves, bounds))


def precision_recall(curve: Sequence[tuple[float, float, float]], title: str, at: Curve) -> str:
    """Precision against recall; `at` holds the point of the default threshold."""
    body = _frame(title, "recall", "precision", (0.0, 1.0))
    line = [(recall, precision) for _, precision, recall in curve]
    body += _lines({"": line}, (0.0, 1.0))
    for recall, precision in at:
        x, y = _x(recall, (0.0, 1.0)), _y(precision)
        body += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="at"/>'
        body += (
            f'<text x="{x - 8:.1f}" y="{y + 16:.1f}" text-anchor="end" class="soft">as set</text>'
        )
    return _svg(body)


STYLE = """
.axis { stroke: #868e96; stroke-width: 1 } .grid { stroke: #8883; stroke-width: 1 }
.half { stroke: #868e96; stroke-dasharray: 4 3 } text { font: 11px system-ui, sans-serif;
fill: currentColor } .title { font-weight: 600; font-size: 12px } .soft { fill: #868e96 }
.at { fill: none; stroke: #d9480f; stroke-width: 2 }
"""


def _svg(body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" role="img"><style>{STYLE}</style>{body}</svg>'
    )


def _frame(title: str, x_name: str, y_name: str, bounds: tuple[float, float]) -> str:
    parts = [f'<text x="{LEFT}" y="15" class="title">{html_text(title)}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>')
        value = bounds[0] + share * (bounds[1] - bounds[0])
        x = _x(value, bounds)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:.3g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{html_text(x_name)}</text>'
    )
    centre = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text transform="translate(12 {centre}) rotate(-90)" text-anchor="middle">'
        f"{html_text(y_name)}</text>"
    )
    return "".join(parts)


def _lines(curves: Mapping[str, Curve], bounds: tuple[float, float]) -> str:
    parts = []
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(f"{_x(x, bounds):.1f},{_y(y):.1f}" for x, y in curve)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{_x(x, bounds):.1f}" cy="{_y(y):.1f}" r="2.5" fill="{colour}"/>'
            for x, y in curve
        ]
        if name:
            y = HEIGHT - BOTTOM - 8 - 13 * (len(curves) - 1 - index)
            parts.append(
                f'<text x="{WIDTH - RIGHT - 4}" y="{y}" text-anchor="end" '
                f'style="fill: {colour}">{html_text(name)}</text>'
            )
    return "".join(parts)


def _level(share: float) -> str:
    y = _y(share)
    return f'<line class="half" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _x(value: float, bounds: tuple[float, float]) -> float:
    span = bounds[1] - bounds[0] or 1.0
    return LEFT + (value - bounds[0]) / span * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
