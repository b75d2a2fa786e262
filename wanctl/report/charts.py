"""The report's charts as inline SVG without a script or library, labelled for screen readers."""

import numpy as np

from wanctl.escaping import html_text
from wanctl.report.scale import Scale, format_number

WIDTH, HEIGHT = 520, 210
LEFT, RIGHT, TOP, FOOT = 2, 2, 22, 20
BINS = 40
# Where the tallest bar is this many times the lowest one, heights are logarithmic.
LOG_RATIO = 60


def distribution(
    passed: np.ndarray, dropped: np.ndarray, bounds: tuple[float, ...], unit: str
) -> str:
    """Two histograms over one axis: clips that a filter passes above it, clips it drops below it.

    Empty where nothing has a score.

    Args:
        passed: (N,) scores, NaN where there is none.
        dropped: (M,) scores.
        bounds: scores at which the verdict flips, drawn as dashed lines.
        unit: of the scores.
    """
    passed, dropped = passed[np.isfinite(passed)], dropped[np.isfinite(dropped)]
    bounds = tuple(bound for bound in bounds if np.isfinite(bound))
    values = np.concatenate([passed, dropped])
    if not len(values):
        return ""
    scale = Scale.over(values, bounds)
    heights = _Heights(_count(passed, scale), _count(dropped, scale))
    label = (
        f"{len(passed):,} clips pass, from {_range(passed)} {unit}; "
        f"{len(dropped):,} are dropped, from {_range(dropped)} {unit}"
    )
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html_text(label)}">',
        *_bars(heights, scale, unit),
        f'<line class="axis" x1="0" x2="{WIDTH}" y1="{heights.zero:.1f}" y2="{heights.zero:.1f}"/>',
        *(_bound(_x(scale, bound), format_number(bound), unit) for bound in bounds),
        *_ticks(scale, unit),
        "</svg>",
    ]
    notes = ["the axis is logarithmic"] * scale.is_log + ["so are the heights"] * heights.is_log
    if heights.is_log and not scale.is_log:
        notes = ["heights are logarithmic"]
    line = '<span><i class="bound"></i>bound of the filter</span>' if bounds else ""
    note = f"<span>{' and '.join(notes)}</span>" if notes else ""
    legend = (
        '<p class="legend"><span><i></i>clips that it passes</span>'
        f'<span><i class="drop"></i>clips that it drops</span>{line}{note}</p>'
    )
    return "".join(parts) + legend


class _Heights:
    """Bar heights of both histograms and the y position of the axis between them."""

    def __init__(self, passed: np.ndarray, dropped: np.ndarray) -> None:
        self.passed, self.dropped = passed, dropped
        counts = np.concatenate([passed, dropped])
        self.is_log = bool(counts.max() >= LOG_RATIO * counts[counts > 0].min())
        available = HEIGHT - TOP - FOOT
        up, down = (float(self._transform(each).max()) for each in (passed, dropped))
        self._px = available / (up + down)
        self.zero = TOP + up * self._px

    def of(self, counts: np.ndarray) -> np.ndarray:
        """(BINS,) in pixels; bins that are not empty are at least 1.5 high."""
        return np.where(counts > 0, np.maximum(self._transform(counts) * self._px, 1.5), 0)

    def _transform(self, counts: np.ndarray) -> np.ndarray:
        return np.log2(1 + counts) if self.is_log else counts.astype(np.float64)


def _bars(heights: _Heights, scale: Scale, unit: str) -> list[str]:
    edges = scale.value(np.arange(BINS + 1) / BINS)
    step = (WIDTH - LEFT - RIGHT) / BINS
    ups, downs = heights.of(heights.passed), heights.of(heights.dropped)
    bars = []
    for index in np.flatnonzero(heights.passed + heights.dropped):
        x = LEFT + index * step + 0.5
        title = (
            f"{format_number(edges[index])} to {format_number(edges[index + 1])} {unit}: "
            f"{heights.passed[index]:,} pass, {heights.dropped[index]:,} dropped"
        )
        rects = "".join(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{step - 1:.1f}" '
            f'height="{height:.1f}" rx="1"/>'
            for kind, y, height in (
                ("keep", heights.zero - ups[index], ups[index]),
                ("drop", heights.zero, downs[index]),
            )
            if height
        )
        bars.append(f"<g><title>{html_text(title)}</title>{rects}</g>")
    return bars


def _bound(x: float, value: str, unit: str) -> str:
    text = f"{value} {unit}".strip()
    near_end = x > WIDTH - 9 * len(text)
    anchor, shift = ("end", -5) if near_end else ("start", 5)
    return (
        f'<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{HEIGHT - FOOT}"/>'
        f'<text class="mark" x="{x + shift:.1f}" y="13" text-anchor="{anchor}">{html_text(text)}'
        "</text>"
    )


def _ticks(scale: Scale, unit: str) -> list[str]:
    ticks = [tick for tick in scale.ticks() if -0.001 <= scale.position(tick) <= 1.001]
    texts = []
    for index, tick in enumerate(ticks):
        x = _x(scale, tick)
        text = format_number(tick) + (f" {unit}" if unit and index == len(ticks) - 1 else "")
        anchor = "start" if x < 14 else "end" if x > WIDTH - 24 else "middle"
        texts.append(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - FOOT}" '
            f'y2="{HEIGHT - FOOT + 4}"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{html_text(text)}</text>'
        )
    return texts


def _x(scale: Scale, value: float) -> float:
    return LEFT + float(scale.position(value)) * (WIDTH - LEFT - RIGHT)


def _count(values: np.ndarray, scale: Scale) -> np.ndarray:
    bins = (scale.position(values) * BINS).astype(int) if len(values) else np.zeros(0, dtype=int)
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)


def _range(values: np.ndarray) -> str:
    return (
        f"{format_number(values.min())} to {format_number(values.max())}" if len(values) else "none"
    )
