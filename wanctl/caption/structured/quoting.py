"""Checks that text in the picture gets from OCR into the structure, and then into captions."""

from collections.abc import Mapping
from typing import Any

from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.checks.quotes import unread
from wanctl.caption.checks.text import unquoted
from wanctl.caption.variants import parse_variant

CHECK = "quoting"


def check_structure_quotes(structure: Mapping[str, Any], facts: MeasuredFacts) -> list[Finding]:
    """Strings that OCR read and the structure lacks."""
    missing = unread(facts.texts or (), structure["ocr_text"])
    return [Finding(CHECK, f"ocr_text lacks {_listed(missing)}, which OCR read")] if missing else []


def check_caption_quotes(text: str, variant: str, structure: Mapping[str, Any]) -> list[Finding]:
    """Strings of the structure that a long caption omits; shorter ones may leave text out."""
    if parse_variant(variant).length != "long":
        return []
    missing = unquoted(text, structure["ocr_text"])
    return [Finding(CHECK, f"the caption omits the text {_listed(missing)}")] if missing else []


def _listed(texts: list[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)
