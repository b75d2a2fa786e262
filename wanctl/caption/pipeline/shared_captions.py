"""Sets captions of the model aside that several unrelated sources share, after the run."""

from collections.abc import Collection

import pyarrow as pa

from wanctl.caption.checks.similar_captions import CaptionIndex
from wanctl.data.dataset import DatasetDir
from wanctl.log import log

# Two sources may be two copies of one film. Short captions fit many clips ("A man talks."): only
# that a model writes the same again and again is a fault.
_MIN_SOURCES, _MIN_SOURCES_SHORT = 3, 50


def set_shared_aside(dataset: DatasetDir, captions: str, parts: Collection[str]) -> int:
    """Move the captions that several sources share to the flags, and log some; their number.

    A caption is read again at the end, because the others have to be there; its flag is `shared`,
    and `--retry shared` asks for it again.

    Args:
        dataset: opened for writing.
        captions: table of the model's captions; their flags are in the table of the same key.
        parts: that may be changed; those of other shards are read only.
    """
    flags = captions.replace("captions/", "caption_flags/", 1)
    index = CaptionIndex(min_sources=_MIN_SOURCES, min_sources_short=_MIN_SOURCES_SHORT)
    places: list[tuple[str, int]] = []
    for part, clips in dataset.clips_by_part(["id", "source"]):
        if not dataset.has_part(captions, part):
            continue
        sources = dict(zip(clips["id"].to_pylist(), clips["source"].to_pylist(), strict=True))
        rows = dataset.read(captions, ["id", "text"], parts=[part])
        pairs = zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)
        for number, (clip, text) in enumerate(pairs):
            index.add(text, sources.get(clip, clip))
            places.append((part, number))
    reasons: dict[str, dict[int, str]] = {}
    for group in index.groups():
        for caption in group.ids:
            part, number = places[caption]
            if part in parts:
                reasons.setdefault(part, {})[number] = str(group.finding)
    for part, found in reasons.items():
        _move(dataset, captions, flags, part, found)
    moved = sum(map(len, reasons.values()))
    if moved:
        log.warning(
            "%d captions are those of several sources, or nearly so, and are set aside; "
            "--retry shared asks for them again",
            moved,
        )
    return moved


def _move(
    dataset: DatasetDir, captions: str, flags: str, part: str, reasons: dict[int, str]
) -> None:
    """Move rows of a part; first written as flags, so that a kill in between loses none."""
    rows = dataset.read(captions, parts=[part])
    new = [
        {"id": row["id"], "variant": row["variant"], "text": row["text"],
         "checks": [reasons[number]], "attempts": 1, "span": row["span"]}
        for number, row in enumerate(rows.to_pylist()) if number in reasons
    ]  # fmt: skip
    moved = {(row["id"], row["variant"]) for row in new}
    old = dataset.read(flags, parts=[part]).to_pylist() if dataset.has_part(flags, part) else []
    kept = [row for row in old if (row["id"], row["variant"]) not in moved]
    merged = sorted([*kept, *new], key=lambda row: (row["id"], row["variant"]))
    dataset.write_part(flags, part, merged)
    rest = [number not in reasons for number in range(rows.num_rows)]
    dataset.write_part(captions, part, rows.filter(pa.array(rest, pa.bool_())))
