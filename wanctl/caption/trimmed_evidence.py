"""Measurements of the part of a clip that a selection keeps."""

from collections.abc import Mapping
from typing import Any

from wanctl.video.frames import CLIP_DURATION, SPAN

Evidence = Mapping[str, Mapping[str, Any]]


def evidence_in_span(evidence: Evidence, row: Mapping[str, Any]) -> Evidence:
    """The measurements without the text that is shown outside the span that is kept.

    Titles that were trimmed away must not be quoted. Other filters measure means over the clip,
    which stay.

    Args:
        evidence: filter name -> its measurements of the whole clip.
        row: of `wanctl.video.frames.trimmed`; of a whole clip, nothing changes.
    """
    ocr = evidence.get("ocr", {})
    start_s, end_s = (row.get(name) for name in SPAN)
    if start_s is None or end_s is None or ocr.get("polygons") is None:
        return evidence
    frames = ocr["polygons"]
    # text is detected at even distances from the first frame on
    step_s = row[CLIP_DURATION] / max(1, len(frames))
    inside = [frame for number, frame in enumerate(frames) if start_s <= number * step_s < end_s]
    shown = zip(
        ocr.get("track_texts") or (), ocr.get("track_first_s") or (), ocr.get("track_last_s") or (),
        strict=False,
    )  # fmt: skip
    texts = [text for text, first, last in shown if text and first < end_s and last >= start_s]
    return {**evidence, "ocr": {**ocr, "polygons": inside, "texts": list(dict.fromkeys(texts))}}
