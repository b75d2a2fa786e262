"""Hashes of the prompts, so that a changed prompt gets tables of its own.

The prompts of an invented clip with every kind of fact are hashed rather than the constants they
are made of: code that words a prompt counts too, as do the words of `checks/facts.py`.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from wanctl.caption.camera import CAMERA_PHRASES
from wanctl.caption.checks.facts import MeasuredFacts
from wanctl.caption.measured_words import TIER_WORDS
from wanctl.caption.structured.caption_prompt import Rejection, caption_system, caption_text
from wanctl.caption.structured.schema import captions_schema, structure_schema
from wanctl.caption.structured.structure_prompt import structure_system, structure_text
from wanctl.caption.variants import LANGUAGES, LENGTHS, STYLES, variant_names
from wanctl.vlm.chat import Frames

_ID = "0123456789abcdef"
_STRUCTURE: Mapping[str, Any] = {
    "subjects": ["a man"], "event": [], "camera_angle": "low angle", "camera_motion": ["pan left"],
    "ocr_text": ["SALE 折扣"], "mood": "calm",
}  # fmt: skip


def structure_version() -> str:
    """Sixteen hex digits of all that the structured pass says to a model, its schema included."""
    texts: list[Any] = []
    for still in (False, True):
        texts += [structure_system(still=still), structure_schema(_ID, still=still)]
    for times in ((), (0.0,), (0.0, 0.5), (0.0, 0.5, 2.0)):
        for motion, read in product(TIER_WORDS, ((), ("SALE 折扣",))):
            facts = MeasuredFacts(
                4.0, tuple(CAMERA_PHRASES), read, {"person": 2}, "close-up", "food", motion,
                ("dark", "in soft focus"),
            )  # fmt: skip
            frames = _frames(times)
            texts.append(
                structure_text(_ID, frames, facts, still=not times, reasons=("schema: reason",))
            )
    return _digest(texts)


def caption_version() -> str:
    """Sixteen hex digits of all that the text-only pass says to a model, its schema included."""
    texts: list[Any] = []
    for language in LANGUAGES:
        variants = variant_names([*LENGTHS][:-1], STYLES, [language], motion=True)
        rejected = {variants[0]: Rejection("A man.", ("length: reason",))}
        texts += [caption_system(language), captions_schema(_ID, variants)]
        texts += [
            caption_text(_ID, _STRUCTURE, variants, still=still, rejected=rejected)
            for still in (False, True)
        ]
    return _digest(texts)


def table_key(values: Mapping[str, Any]) -> str:
    """Eight hex digits for the name of a table, as those of filters."""
    return _digest(values)[:8]


def _frames(times: tuple[float, ...]) -> Frames:
    sizes = (2, 1, 1)[: max(1, len(times))]
    return Frames(tuple(np.zeros((size, size, 3), np.uint8) for size in sizes), times)


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
