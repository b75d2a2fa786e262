"""The report's drawings: a histogram as inline SVG, no script, no library."""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, FOOT = 400, 120, 18
BINS = 28


def histogram(
    kept: Sequence[float], dropped: Sequence[float], bounds: Sequence[float], unit: str
) -> str:
    """Stacked bars of the scores of kept and dropped clips, with the bounds as dashed lines."""
    scores = [value for value in (*kept, *dropped, *bounds) if math.isfinite(value)]
    if not scores:
        return '<p class="soft">no scores</p>'
    low, high = min(scores), max(scores)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    kept_bins, dropped_bins = _count(kept, low, high), _count(dropped, low, high)
    tallest = max(k + d for k, d in zip(kept_bins, dropped_bins, strict=True)) or 1
    step = WIDTH / BINS
    bars = []
    for index, (k, d) in enumerate(zip(kept_bins, dropped_bins, strict=True)):
        k_px, d_px = HEIGHT * k / tallest, HEIGHT * d / tallest
        x = index * step
        if k:
            bars.append(_bar("keep", x, HEIGHT - k_px, step, k_px))
        if d:
            bars.append(_bar("drop", x, HEIGHT - k_px - d_px, step, d_px))
    lines = [
        f'<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}"/>'
        for bound in bounds
        if math.isfinite(bound)
        for x in [(bound - low) / (high - low) * WIDTH]
    ]
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" width="{WIDTH}" role="img">'
        f"{''.join(bars)}{''.join(lines)}"
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>'
        f'<text x="0" y="{HEIGHT + 14}">{low:.4g} {escape(unit)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{high:.4g} {escape(unit)}</text>'
        "</svg>"
    )


def _count(values: Sequence[float], low: float, high: float) -> list[int]:
    bins = [0] * BINS
    for value in values:
        if math.isfinite(value):
            bins[min(BINS - 1, int((value - low) / (high - low) * BINS))] += 1
    return bins


def _bar(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x + 0.5:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
        f'height="{height:.1f}"/>'
    )
