"""Draws docs/demo-curves.svg from the metrics of demo runs.

    python docs/draw_demo_curves.py runs/tiny [LABEL=FOLDER ...]

Left: PSNR and ST-LPIPS of the VAE's training batches. Right: the transformer's loss. Each line is a
running mean, since batches differ in their clips, frames and noise levels.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

PICTURE = Path(__file__).parent / "demo-curves.svg"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 240, 46, 14, 34, 36
COLOURS = ("#2f6fde", "#d9480f", "#2b8a3e", "#9c36b5")
MEAN_OF = 25  # steps
PANELS = (
    ("vae", "psnr", "VAE: PSNR of training batches, dB"),
    ("vae", "perceptual", "VAE: ST-LPIPS of training batches"),
    ("dit", "loss", "transformer: squared error of the velocity"),
)
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#22303c}.title{font-weight:600}"
    ".soft{fill:#5b6b7a}.grid{stroke:#ced4da;stroke-width:1}"
)

Curve = Sequence[tuple[float, float]]


def curve(folder: Path, network: str, figure: str) -> Curve:
    """Running mean of one figure of a run over its steps; evaluations are left out."""
    path = folder / network / "metrics.jsonl"
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    points = [(x["step"], x[figure]) for x in lines if "eval" not in x and x.get(figure)]
    return [
        (
            points[i][0],
            sum(y for _, y in points[max(0, i - MEAN_OF + 1) : i + 1]) / min(i + 1, MEAN_OF),
        )
        for i in range(MEAN_OF // 2, len(points), 5)
    ]


def panel(title: str, curves: Mapping[str, Curve]) -> str:
    """One chart with a line per run."""
    points = [point for each in curves.values() for point in each]
    last = max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    span = (high - low) or 1.0

    def x_px(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last

    def y_px(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - low) / span

    parts = [f'<text x="{LEFT}" y="18" class="title">{escape(title)}</text>']
    for share in (0, 0.5, 1):
        value = low + share * span
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_px(value):.1f}" '
            f'y2="{y_px(value):.1f}"/><text x="{LEFT - 6}" y="{y_px(value) + 4:.1f}" '
            f'text-anchor="end" class="soft">{value:.3g}</text>'
        )
        parts.append(
            f'<text x="{x_px(share * last):.1f}" y="{HEIGHT - 18}" text-anchor="middle" '
            f'class="soft">{share * last:.0f}</text>'
        )
    for number, (label, each) in enumerate(curves.items()):
        line = " ".join(f"{x_px(x):.1f},{y_px(y):.1f}" for x, y in each)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        parts.append(
            f'<text x="{LEFT + 90 * number}" y="{HEIGHT - 4}" style="fill:{colour}">'
            f"{escape(label)}</text>"
        )
    return "".join(parts)


def draw(runs: Mapping[str, Path]) -> str:
    """The picture as SVG."""
    charts = []
    for column, (network, figure, title) in enumerate(PANELS):
        curves = {label: curve(folder, network, figure) for label, folder in runs.items()}
        charts.append(f'<g transform="translate({column * WIDTH} 0)">{panel(title, curves)}</g>')
    width = WIDTH * len(PANELS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}">'
        f'<style>{STYLE}</style><rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>'
        f"{''.join(charts)}</svg>\n"
    )


def main(arguments: Sequence[str]) -> None:
    """Draw the runs that the command line names."""
    runs = {}
    for argument in arguments:
        label, _, folder = argument.rpartition("=")
        runs[label or "step"] = Path(folder)
    PICTURE.write_text(draw(runs), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
