"""The HTML page that people label with: it plays the clips and takes keys.

The page is one file: it needs no server and sends nothing anywhere. Labels stay in the browser
until they are saved as CSV.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from wanctl.escaping import script_json
from wanctl.labels.sheet import COLUMNS
from wanctl.report.thumbnails import SpriteSpec, render_sprites
from wanctl.video.workers.worker_pool import DecodePool

# The report's thumbnails are too small to judge sharpness by.
LABEL_SPRITE = SpriteSpec(frames=8, long_side_px=512, quality=80)


def render_label_sprites(clips: Sequence[Mapping[str, Any]], pool: DecodePool) -> dict[str, bytes]:
    """Clip id -> sprite sheet; clips that cannot be decoded have none."""
    return dict(render_sprites(clips, LABEL_SPRITE, pool, "thumbnails for the page"))


def render_label_page(
    name: str,
    choices: Mapping[str, str],
    rows: list[dict[str, Any]],
    sprites: Mapping[str, bytes],
) -> str:
    """The page as HTML.

    Args:
        name: of the filter.
        choices: label -> meaning.
        rows: of the sheet.
        sprites: clip id -> sprite sheet of LABEL_SPRITE.
    """
    clips = [
        {**row, "sprite": base64.b64encode(sprites.get(row["id"], b"")).decode()} for row in rows
    ]
    data = {
        "filter": name,
        "choices": choices,
        "columns": COLUMNS,
        "frames": LABEL_SPRITE.frames,
        "clips": clips,
    }
    template, script = _asset("label.html"), _asset("label.js")
    # text that enters the page past all escaping could not run as a script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'"
    )
    parts = {"POLICY": policy, "DATA": script_json(data), "SCRIPT": script}
    return re.sub(r"\{(POLICY|DATA|SCRIPT)\}", lambda match: parts[match[1]], template)


def _asset(name: str) -> str:
    return files("wanctl.labels").joinpath("assets", name).read_text(encoding="utf-8")
