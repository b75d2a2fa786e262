"""Conversations that teach a captioner: the questions of the captioner, and the right answers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wanctl.caption.backends import CaptionClip
from wanctl.caption.checks.facts import MeasuredFacts, measured_facts
from wanctl.caption.hints import CAPTION_PROMPT, with_hints
from wanctl.caption.structured.caption_prompt import caption_system, caption_text
from wanctl.caption.structured.schema import CLIP_ID, structure_schema
from wanctl.caption.structured.structure_prompt import structure_system, structure_text
from wanctl.caption.variants import LANGUAGES, LENGTHS, MOTION, STYLES, parse_variant, variant_names
from wanctl.exchange.chat.confirmed import Confirmed
from wanctl.video.frame_sampling import num_frames_at
from wanctl.vlm.chat import Frames

VIDEO, IMAGE = "<video>", "<image>"
PLACEHOLDERS = (VIDEO, IMAGE, "<audio>")
"""Trainers put the media of a row in their place."""
_STRUCTURED = frozenset(
    variant_names([each for each in LENGTHS if each != MOTION], STYLES, LANGUAGES, motion=True)
)
_PIXEL = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class Pair:
    """One conversation of two turns.

    Attributes:
        clip: its id.
        system: "" for none.
        question: begins with the placeholder of the video or image where it is shown.
        answer: what is learned.
        shown: VIDEO or IMAGE; "" for text alone.
    """

    clip: str
    system: str
    question: str
    answer: str
    shown: str

    @property
    def is_ambiguous(self) -> bool:
        """Whether its text has a placeholder that a trainer would take for media."""
        text = self.system + self.question.removeprefix(self.shown) + self.answer
        return any(each in text for each in PLACEHOLDERS)


@dataclass(frozen=True)
class Sampling:
    """The frames that the questions speak of: keys of the recipe's `caption` section.

    Attributes:
        fps: frames a second.
        max_frames: of a clip at most.
    """

    fps: float
    max_frames: int


def pairs_of(clip: CaptionClip, confirmed: Confirmed, sampling: Sampling) -> Iterator[Pair]:
    """Conversations of one clip.

    With a structure: frames to structure, then per language structure to captions. Captions that
    were not written from a structure, or whose structure has a mistake: frames to caption.
    """
    still = num_frames_at(sampling.fps, clip.duration_s) == 1
    shown = IMAGE if still else VIDEO
    written = {name: text for name, text in confirmed.captions.items() if name in _STRUCTURED}
    structure = confirmed.structure
    if structure is not None and written:
        facts = measured_facts(clip.duration_s, clip.evidence)
        yield _structure_pair(clip, structure, facts, sampling, still=still)
        for language in LANGUAGES:
            own = {n: text for n, text in written.items() if parse_variant(n).language == language}
            if own:
                yield _captions_pair(clip.id, structure, own, language, still=still)
    else:
        written = {}
    for name, text in confirmed.captions.items():
        if name not in written:
            question = with_hints(CAPTION_PROMPT, clip.duration_s, clip.evidence)
            yield Pair(clip.id, "", f"{shown}{_variant_words(name)}{question}", text, shown)


def _structure_pair(
    clip: CaptionClip,
    structure: Mapping[str, Any],
    facts: MeasuredFacts,
    sampling: Sampling,
    *,
    still: bool,
) -> Pair:
    shown = IMAGE if still else VIDEO
    frames = Frames((_PIXEL,), ()) if still else _frames(clip.duration_s, sampling)
    question = structure_text(clip.id, frames, facts, still=still)
    keys = structure_schema(clip.id, still=still)["properties"]
    answer = {key: clip.id if key == CLIP_ID else structure[key] for key in keys}
    return Pair(clip.id, structure_system(still=still), shown + question, _json(answer), shown)


def _captions_pair(
    clip: str, structure: Mapping[str, Any], texts: Mapping[str, str], language: str, *, still: bool
) -> Pair:
    question = caption_text(clip, structure, tuple(texts), still=still, rejected={})
    answer = _json({CLIP_ID: clip, **texts})
    return Pair(clip, caption_system(language), question, answer, "")


def _variant_words(name: str) -> str:
    """Asks for the length, the style and the language of a variant; "" for other names."""
    if name not in _STRUCTURED:
        return ""
    variant = parse_variant(name)
    language = {"en": "English", "zh": "Chinese"}[variant.language]
    kind = " ".join(filter(None, [variant.length, variant.style]))
    only = " Tell only what moves and how." if variant.length == MOTION else ""
    return f"Write a {kind} caption in {language}.{only}\n"


def _frames(duration_s: float, sampling: Sampling) -> Frames:
    """Frames of one size at the times that the captioner samples; the pixels are not used."""
    count = num_frames_at(sampling.fps, duration_s)
    times = np.arange(count) / sampling.fps
    if count > sampling.max_frames:
        times = (np.arange(sampling.max_frames) + 0.5) / sampling.max_frames * duration_s
    return Frames((_PIXEL,) * len(times), tuple(times.tolist()))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
