"""Measurements in words: the template's sentence, and hints for models that look at frames."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from wanctl.caption.camera import camera_words

Evidence = Mapping[str, Mapping[str, Any]]

# A longer list of words is a page of text, not something to read out.
_MAX_WORDS_SEEN = 12

_TIER_WORDS = {
    "optimal": "with one subject in clear motion",
    "medium": "with some motion",
    "static": "with hardly any motion",
    "camera": "with nothing moving but the camera",
    "low_quality": "with crowded motion",
    "shaky": "with a shaking camera",
}
"""The motion filter's labels."""

CAPTION_PROMPT = (
    "Describe this video for somebody who cannot see it: who or what is in it and how many, what "
    "happens in which order, where it is, the light and the colours, how the camera is placed and "
    "how it moves, and the style. Quote text that can be read. Say only what can be seen. "
    "Do not begin with words such as 'The video shows'."
)
"""Instruction for a vision-language model; `with_hints` appends what has been measured."""


def sentence(duration_s: float, width: int, height: int, evidence: Evidence) -> str:
    """One sentence of facts. What was not measured is left out.

    Args:
        duration_s: seconds.
        width: display pixels.
        height: display pixels.
        evidence: filter name -> its measurements, and as `label` the class that the selection
            sorted the clip into.
    """
    facts = [*_light(evidence), *_focus(evidence), *_motion(evidence)]
    looks = f", {_listed(facts)}" if facts else ""
    text = _text_seen(evidence)
    return (
        f"A {_seconds(duration_s)} {_orientation(width, height)} video of {width} by {height} "
        f"pixels{looks}{f', {text}' if text else ''}."
    )


def with_hints(prompt: str, evidence: Evidence) -> str:
    """The prompt for a model, followed by measured facts it should agree with."""
    facts = [*_light(evidence), *_focus(evidence), *_motion(evidence)]
    hints = [*facts, *([text] if (text := _text_seen(evidence)) else [])]
    told = f"{prompt}\nMeasured: {'; '.join(hints)}." if hints else prompt
    return f"{told} Quote the text exactly as it is written." if words_seen(evidence) else told


def words_seen(evidence: Evidence) -> list[str]:
    """Strings that were read in the picture, each once; what a caption has to quote."""
    texts = evidence.get("ocr", {}).get("texts") or ()
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))[:_MAX_WORDS_SEEN]


def _seconds(duration_s: float) -> str:
    return f"{max(duration_s, 0.1):.1f}-second" if duration_s < 10 else f"{duration_s:.0f}-second"


def _orientation(width: int, height: int) -> str:
    if width > 1.1 * height:
        return "landscape"
    return "portrait" if height > 1.1 * width else "square"


def _light(evidence: Evidence) -> list[str]:
    """From the mean luma, 0 to 255; the bounds halve and double a mid-grey exposure."""
    luma = _middle(evidence, "exposure", "luma")
    if luma is None:
        return []
    return ["dark" if luma < 64 else "bright" if luma > 176 else "evenly lit"]


def _focus(evidence: Evidence) -> list[str]:
    """From the width of the sharpest edges in pixels: 0.3 to 0.6 in sharp footage."""
    width_px = _middle(evidence, "blur", "width")
    if not width_px:
        return []
    return ["in soft focus" if width_px > 0.75 else "in sharp focus"]


def _motion(evidence: Evidence) -> list[str]:
    """The selection's motion tier and the camera's path."""
    motion = evidence.get("motion", {})
    tier = _TIER_WORDS.get(motion.get("label") or "")
    camera = camera_words(motion)
    return [*([tier] if tier else []), *([camera] if camera else [])]


def _text_seen(evidence: Evidence) -> str:
    if words := words_seen(evidence):
        quoted = ", ".join(f'"{word}"' for word in words)
        return f"with the text {quoted}"
    frames = evidence.get("ocr", {}).get("polygons") or ()
    return "with text in the picture" if 2 * sum(map(bool, frames)) > len(frames) else ""


def _middle(evidence: Evidence, name: str, column: str) -> float | None:
    """Median of a measurement over frames; None where it was not taken."""
    values = evidence.get(name, {}).get(column)
    if isinstance(values, int | float):
        return float(values)
    return median(values) if values else None


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
