"""Turns measurements into text: the template's sentence and its phrases."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from wanctl.caption.camera import describe_camera
from wanctl.video.frames import Box

Evidence = Mapping[str, Mapping[str, Any]]

# A longer list is a page of text, not something to quote.
_MAX_TEXTS = 12

TIER_WORDS = {
    "optimal": "with one subject in clear motion",
    "medium": "with some motion",
    "static": "with hardly any motion",
    "camera": "with nothing moving but the camera",
    "low_quality": "with crowded motion",
    "shaky": "with a shaking camera",
}
"""Label of the motion filter -> phrase."""

MEAN_LIGHT = "evenly lit"
"""Phrase for a mean brightness, which may be that of an even light or of strong contrast."""


def sentence(duration_s: float, width: int, height: int, evidence: Evidence) -> str:
    """Return one sentence of facts; facts that were not measured are left out.

    Args:
        duration_s: seconds.
        width: display pixels after the crop.
        height: display pixels after the crop.
        evidence: filter name -> its measurements, with the clip's label in the selection as
            `label`.
    """
    facts = [*looks(evidence), *_motion(evidence)]
    measured = f", {_listed(facts)}" if facts else ""
    text = _visible_text_phrase(evidence)
    return (
        f"A {_seconds(duration_s)} {_orientation(width, height)} video of {width} by {height} "
        f"pixels{measured}{f', {text}' if text else ''}."
    )


def visible_texts(evidence: Evidence) -> list[str]:
    """Return the strings that OCR read in the frames, each once: a caption has to quote them."""
    texts = evidence.get("ocr", {}).get("texts") or ()
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))[:_MAX_TEXTS]


def text_in_crop(evidence: Evidence, crop: Box) -> Evidence:
    """The measurements with only the text whose centre is in the crop, for example no subtitles.

    The strings have no positions: they are left out where no text remains in any frame.
    """
    ocr = evidence.get("ocr", {})
    frames = ocr.get("polygons")
    if frames is None:
        return evidence
    inside = [[each for each in frame if _centre_inside(each, crop)] for frame in frames]
    texts = ocr.get("texts") if any(inside) else ()
    return {**evidence, "ocr": {**ocr, "polygons": inside, "texts": texts}}


def _centre_inside(polygon: Sequence[float], crop: Box) -> bool:
    """Whether the centre of a flat polygon [x0, y0, x1, y1, ...] lies in a box."""
    x, y = mean(polygon[0::2]) - crop.x, mean(polygon[1::2]) - crop.y
    return 0 <= x < crop.width and 0 <= y < crop.height


def looks(evidence: Evidence) -> list[str]:
    """Return phrases on light and focus, for example `dark` and `in sharp focus`."""
    return [*_light(evidence), *_focus(evidence)]


def _seconds(duration_s: float) -> str:
    return f"{max(duration_s, 0.1):.1f}-second" if duration_s < 10 else f"{duration_s:.0f}-second"


def _orientation(width: int, height: int) -> str:
    if width > 1.1 * height:
        return "landscape"
    return "portrait" if height > 1.1 * width else "square"


def _light(evidence: Evidence) -> list[str]:
    """Brightness from the mean luma, 0 to 255; the bounds are half and double mid-grey exposure."""
    luma = _middle(evidence, "exposure", "luma")
    if luma is None:
        return []
    return ["dark" if luma < 64 else "bright" if luma > 176 else MEAN_LIGHT]


def _focus(evidence: Evidence) -> list[str]:
    """Focus from the width of the sharpest edges in pixels: 0.3 to 0.6 in sharp footage."""
    width_px = _middle(evidence, "blur", "width")
    if not width_px:
        return []
    return ["in soft focus" if width_px > 0.75 else "in sharp focus"]


def _motion(evidence: Evidence) -> list[str]:
    """The motion tier of the selection and the camera motion."""
    motion = evidence.get("motion", {})
    tier = TIER_WORDS.get(motion.get("label") or "")
    camera = describe_camera(motion)
    return [*([tier] if tier else []), *([camera] if camera else [])]


def _visible_text_phrase(evidence: Evidence) -> str:
    if texts := visible_texts(evidence):
        quoted = ", ".join(f'"{text}"' for text in texts)
        return f"with the text {quoted}"
    frames = evidence.get("ocr", {}).get("polygons") or ()
    return "with text in the picture" if 2 * sum(map(bool, frames)) > len(frames) else ""


def _middle(evidence: Evidence, name: str, column: str) -> float | None:
    """Median of a measurement over frames; None where it was not measured."""
    values = evidence.get(name, {}).get(column)
    if isinstance(values, int | float):
        return float(values)
    return median(values) if values else None


def _listed(phrases: Sequence[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
