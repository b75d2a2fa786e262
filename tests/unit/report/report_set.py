"""A synthetic data set with everything that the report shows, including hostile file names."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from wanctl.curate.api import Box, Drawing, Filter, Verdict, threshold
from wanctl.curate.registry import NamedFilter
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import CLIPS, SELECTION, evidence_schema
from wanctl.report.page import render_page
from wanctl.report.report_data import ReportData
from wanctl.report.thumbnails import encode_sprite

HOSTILE = (
    "</script><script>window.hacked=1</script>.mp4",
    "<img src=x onerror=window.hacked=1>.mp4",
    "\"'><svg onload=window.hacked=1>&lt;{title}.mp4",
    "\u202egnp.exe \u2028 日本.mp4",
)
TIERS = ("static", "medium", "shaky")


class Loud(Filter):
    """Drops what is <loud> & long."""

    unit = "dB"
    limit: float = threshold(default=60.0)
    window: str = "<b>hann</b>"

    def bounds(self):
        return (self.limit, float("inf"))

    def decide(self, clip, evidence):
        return Verdict(keep=True, crop=Box(0, 40, 640, 280) if int(clip.id, 16) % 7 == 6 else None)


class Tier(Filter):
    """Sorts by motion."""

    evidence = {"found": "polygons", "texts": "strings"}  # noqa: RUF012

    def decide(self, clip, evidence):
        return Verdict(keep=True, label="static")

    def drawings(self, batch):
        return [
            [Drawing("<b>text", line, "STOP", (at, at + 1.0)) for at, frame in enumerate(frames)
             for line in frame]
            for frames in batch.evidence["found"].to_pylist()
        ]  # fmt: skip


class Twins(Filter):
    """Finds copies."""

    scope = "set"


FILTERS = [NamedFilter("loud", Loud()), NamedFilter("tier", Tier()), NamedFilter("twins", Twins())]


@dataclass(frozen=True)
class Made:
    """A data set, the data of its report, and the page."""

    dataset: DatasetDir
    report: ReportData
    html: str


def make_report(folder: Path, clips: int, sources: int, picture: bytes | None = None) -> Made:
    """A data set in `folder / "set"` and its page, which is written there too."""
    dataset = DatasetDir.create_or_open(folder / "set", recipe="seed: 0 # <i>\n")
    fill(dataset, clips, sources)
    report = ReportData.of(dataset, "default", FILTERS)
    data = picture or encode_sprite(striped())
    shown = report.decided.ids(report.examples.thumbnails)
    html = render_page(report, dict.fromkeys(shown, data))
    (dataset.path / "report.html").write_text(html, encoding="utf-8")
    return Made(dataset, report, html)


def striped() -> np.ndarray:
    """(12, 36, 64, 3) uint8, a bar that moves from left to right."""
    frames = np.full((12, 36, 64, 3), 40, dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[:, 5 * index : 5 * index + 5] = (240, 200, 60)
    return frames


def fill(dataset: DatasetDir, count: int, sources: int) -> None:
    """Every fifth clip is too loud, every seventh cropped, every tenth a copy of the one before.

    Every eleventh is trimmed.
    """
    rows = np.arange(count)
    loud = rows % 5 == 4
    scores = np.where(loud, 61 + rows % 13, 59.5 - rows % 31).astype(float)
    ids = [f"{row:016x}" for row in rows.tolist()]
    dataset.write_part("clips", "part-00000", clip_table(ids, rows % sources, rows // sources))
    copies = rows % 10 == 9
    reasons = [
        [f"loud: {score:.0f} dB, allowed 60 <dB>"] * bool(is_loud)
        + ["twins: seen before"] * bool(copy)
        for score, is_loud, copy in zip(scores, loud, copies, strict=True)
    ]  # fmt: skip
    labels = [
        [{"filter": "tier", "label": TIERS[row % 3]}]
        + [{"filter": "twins", "label": f"twin {row // 10}"}] * (row % 10 >= 8)
        for row in rows.tolist()
    ]
    crop = np.where(rows % 7 == 6, 40, 0)
    columns = {
        "id": ids,
        "kept": [not each for each in reasons],
        "reasons": reasons,
        "scores": [[{"filter": "loud", "score": score}] for score in scores.tolist()],
        "crop_x": np.zeros(count), "crop_y": crop,
        "crop_w": np.full(count, 640), "crop_h": 360 - 2 * crop,
        "weight": np.ones(count),
        "labels": labels,
        "bucket": ["17x48x80"] * count,
        "recipe_hash": ["abcd"] * count,
        "override": [None] * count,
        "span_start_s": [0.5 if row % 11 == 10 else None for row in rows.tolist()],
        "span_end_s": [1.25 if row % 11 == 10 else None for row in rows.tolist()],
        "span_reason": ["tier: a title" if row % 11 == 10 else None for row in rows.tolist()],
    }  # fmt: skip
    table = pa.table(
        {name: pa.array(columns[name], SELECTION.field(name).type) for name in SELECTION.names}
    )
    dataset.write_part("selections/default", "", table)
    captions = [
        {"id": f"{1:016x}", "text": "a <b>fox</b> jumps", "variant": "long", "backend": "vlm"}
    ]
    dataset.write_part("captions/vlm@v1", "part-00000", captions)
    boxes = [[[0, 0, 9, 0, 9, 9]], [[10.4, 20, 630, 20, 630, 90], [0, 0, 64, 0, 64, 36]]]
    found = [{"id": name, "found": [], "texts": []} for name in ids]
    found[2:3] = [{"id": f"{2:016x}", "found": boxes, "texts": ["STOP", "<i>go"]}] * (count > 2)
    tier = FILTERS[1]
    schema = evidence_schema(tier.filter.evidence)
    dataset.write_part(tier.table, "part-00000", found, schema=schema)
    dataset.write_part("quarantine", "part-00000", quarantine_rows())


def quarantine_rows() -> list[dict[str, str]]:
    broken = {
        "source": f"/raw/{HOSTILE[0]}",
        "clip_id": "cafe",
        "kind": "error",
        "error": "cut <off>",
    }
    lone = {
        "source": "/raw/slow.mp4",
        "clip_id": "",
        "stage": "scan",
        "kind": "timeout",
        "error": "x",
    }
    return [*({**broken, "stage": stage} for stage in ("loud", "tier")), lone]


def clip_table(ids: list[str], source: np.ndarray, place: np.ndarray) -> pa.Table:
    names = [*(f"/raw/{name}" for name in HOSTILE), *(f"/raw/film {n}.mp4" for n in range(1000))]
    plain = {"codec": "h264", "pix_fmt": "yuv420p", "fps": 25.0, "width": 640,
             "height": 360, "num_frames": 50, "vfr": False, "has_audio": True}  # fmt: skip
    columns = {
        **{each.name: [plain.get(each.name)] * len(ids) for each in CLIPS},
        "id": ids,
        "source": [names[each % len(names)] for each in source.tolist()],
        "content_hash": [str(each) for each in source.tolist()],
        "start_s": 2.5 * place,
        "end_s": 2.5 * place + 2.0,
        "start_pts": 64 * place,
        "end_pts": 64 * place + 50,
    }
    return pa.table({name: pa.array(columns[name], CLIPS.field(name).type) for name in CLIPS.names})
