"""Draws docs/architecture.svg: the packages in layers, and the way of a clip through them.

`make docs` runs it; a test compares the file with what it draws. Layers are those of the contract
in pyproject.toml, summaries the first lines of the packages' docstrings.
"""

import ast
import sys
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"

# Package -> what happens to a clip there; the numbers of the picture, in reading order.
STEPS = (
    ("wanctl.cli", "a command reads the recipe and calls its run module"),
    ("wanctl.video", "a source file is probed and its frames are decoded in a killable process"),
    ("wanctl.curate", "shots become rows of the clips table; filters measure and decide"),
    ("wanctl.data", "rows, evidence, selection and captions lie in the data set directory"),
    ("wanctl.caption", "every kept clip gets its captions"),
    ("wanctl.train", "windows of clips become batches; the VAE, then the transformer is trained"),
    ("wanctl.checkpoint", "weights are found, read and written in any layout"),
    ("wanctl.model", "the networks"),
    ("wanctl.sample", "a prompt becomes latents, then a file"),
    ("wanctl.diffusion", "a solver follows the velocity from noise to latents"),
)

WIDTH, MARGIN, GAP = 1180, 20, 12
LINE, TITLE, PAD = 15, 20, 8
CHARACTER = 6.7  # mean width of the summary font, in px
COLOURS = ("#f4efe6", "#e8eef5")
LEGEND = "Imports point downwards only. The way of a clip:"
INK, PALE, STEP = "#22303c", "#5b6b7a", "#c2410c"


def layers() -> list[list[str]]:
    """Rows of module names, top to bottom, of the first `layers` contract in pyproject.toml."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    (found, *_) = [each for each in contracts if each["type"] == "layers"]
    rows = []
    for row in found["layers"]:
        # `a.x : a.y` are modules of one package, which is drawn as one box
        package = row.partition(".")[0] if " : " in row else None
        rows.append([package] if package else [name.strip() for name in row.split("|")])
    return [[f"wanctl.{name}" for name in row] for row in rows]


def summary(module: str) -> str:
    """First line of a module's or package's docstring."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def draw() -> str:
    """The picture as SVG text."""
    numbers: dict[str, list[int]] = {}
    for number, (package, _) in enumerate(STEPS, 1):
        numbers.setdefault(package, []).append(number)
    body: list[str] = []
    top = MARGIN
    for index, row in enumerate(layers()):
        top += _row(body, row, top, COLOURS[index % 2], numbers) + GAP
    top += _legend(body, top + LINE)
    height = top + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="Helvetica, Arial, sans-serif">'
    )
    back = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, back, *body, "</svg>"]) + "\n"


def _row(
    body: list[str], row: list[str], top: int, colour: str, numbers: dict[str, list[int]]
) -> int:
    """Boxes of one layer, side by side; returns their height."""
    width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
    columns = int((width - 2 * PAD) / CHARACTER)
    texts = [textwrap.wrap(summary(name), max(columns, 8))[:6] for name in row]
    height = PAD + TITLE + LINE * max(map(len, texts)) + PAD
    for index, (name, lines) in enumerate(zip(row, texts, strict=True)):
        left = MARGIN + index * (width + GAP)
        body.append(
            f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="6" '
            f'fill="{colour}" stroke="#c5ced8"/>'
        )
        title = name.removeprefix("wanctl.")
        body.append(_text(left + PAD, top + PAD + 13, title, size=15, weight="bold"))
        for number, line in enumerate(lines, 1):
            body.append(_text(left + PAD, top + PAD + 13 + LINE * number + 3, line, fill=PALE))
        right = left + width - 14
        for number in reversed(numbers.get(name, [])):
            body.append(f'<circle cx="{right:.0f}" cy="{top + 16}" r="10" fill="{STEP}"/>')
            body.append(
                _text(right, top + 20, str(number), fill="#ffffff", weight="bold", anchor="middle")
            )
            right -= 24
    return height


def _legend(body: list[str], top: int) -> int:
    body.append(_text(MARGIN, top, LEGEND, weight="bold"))
    half = (len(STEPS) + 1) // 2
    for index, (package, text) in enumerate(STEPS):
        left = MARGIN + (index // half) * WIDTH / 2
        line = f"{index + 1}  {package.removeprefix('wanctl.')}: {text}"
        body.append(_text(left, top + LINE * (index % half + 1) + 4, line, fill=PALE))
    return LINE * (half + 2)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    fill: str = INK,
    size: int = 12,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    picture = draw()
    if "--check" in sys.argv[1:]:
        sys.exit(PICTURE.read_text(encoding="utf-8") != picture)
    PICTURE.write_text(picture, encoding="utf-8")
