"""A page of all disagreements between labels and verdicts, each with a strip of its frames."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wanctl.atomic import write_bytes
from wanctl.bench.labelled.clips.decided import DecidedClip
from wanctl.escaping import html_text
from wanctl.report.thumbnails import SpriteSpec, render_sprites
from wanctl.video.workers.worker_pool import DecodePool

STRIP = SpriteSpec(frames=5, long_side_px=320, quality=60)
WORKERS, TIMEOUT_S, MEMORY_BYTES = 2, 120, 4 * 2**30

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1640px; margin: 1.5rem auto;
  padding: 0 1rem }
figure { margin: 1rem 0 } figcaption { overflow-wrap: anywhere } .soft { color: #868e96 }
.strip { position: relative } .strip img { display: block; width: 100% }
.strip i { position: absolute; outline: 2px solid #f59f00 }
"""


@dataclass(frozen=True)
class Disagreement:
    """A label and a verdict that differ.

    Attributes:
        measure: row of the table.
        what: missed, false alarm, or what was said instead.
        clip: the clip to look at.
        note: the filter's words.
    """

    measure: str
    what: str
    clip: DecidedClip
    note: str


def write_page(path: Path, disagreements: Sequence[Disagreement]) -> None:
    """Write the page; clips that cannot be decoded have no picture."""
    rows = list({each.clip.row["id"]: each.clip.row for each in disagreements}.values())
    with DecodePool(WORKERS, TIMEOUT_S, MEMORY_BYTES) as pool:
        strips = dict(render_sprites(rows, STRIP, pool, "pictures of disagreements"))
    measures = dict.fromkeys(each.measure for each in disagreements)
    sections = "".join(
        f"<h2>{html_text(name)}</h2>"
        + "".join(_figure(each, strips) for each in disagreements if each.measure == name)
        for name in measures
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv='
        '"Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>Disagreements</title><style>{_STYLE}</style>"
        f"<h1>{len(disagreements)} disagreements between labels and verdicts</h1>{sections}</html>"
    )
    write_bytes(path, page.encode())


def _figure(each: Disagreement, strips: Mapping[str, bytes]) -> str:
    row = each.clip.row
    name = Path(row["source"]).name
    where = f"{row['start_s']:.1f} to {row['end_s']:.1f} s"
    caption = (
        f"<b>{html_text(each.what)}</b> {html_text(name)} "
        f'<span class="soft">{where}; {html_text(each.note)}</span>'
    )
    strip = strips.get(row["id"])
    if strip is None:
        return f"<figure><figcaption>{caption}</figcaption></figure>"
    data = base64.b64encode(strip).decode()
    picture = f'<img alt="" src="data:image/webp;base64,{data}">{_crops(each.clip)}'
    return f'<figure><figcaption>{caption}</figcaption><div class="strip">{picture}</div></figure>'


def _crops(clip: DecidedClip) -> str:
    """The verdict's crop, drawn on each frame of the strip."""
    crop = clip.verdict.crop
    if crop is None:
        return ""
    width, height = clip.row["width"], clip.row["height"]
    share = 100 / STRIP.frames
    top, high = 100 * crop.y / height, 100 * crop.height / height
    return "".join(
        f'<i style="left:{share * (index + crop.x / width):.2f}%;top:{top:.2f}%;'
        f'width:{share * crop.width / width:.2f}%;height:{high:.2f}%"></i>'
        for index in range(STRIP.frames)
    )
