"""Numbers and colours of a caption's objects against its structure and against a detector.

A caption is written from the structure alone, so a number or a colour that the structure has not is
invented. The checks speak up where a noun is the same and the statement cannot be a part of it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.checks.language import without_quotes
from wanctl.caption.checks.nouns import (
    PEOPLE,
    Mention,
    color_families,
    differ,
    mentions,
    singular,
)

# Where a caption tells of the rest as well, a smaller number is a part of the whole.
_REST = re.compile(
    r"\b(?:others?|another|rest|remaining|more|additional|both|of (?:the|them)|among)\b"
    r"|其他|其余|另|还有|其中"
)
_TEXT_FIELDS = ("subjects", "action", "event", "object_category", "scene")


def check_counts(
    text: str, structure: Mapping[str, Any] | None, facts: MeasuredFacts
) -> list[Finding]:
    """Findings where a caption's number of an object is not that of the structure or detector."""
    plain = without_quotes(text)
    counts = _counts(structure or {})
    nouns = frozenset({*counts, *map(singular, facts.counts), *PEOPLE})
    found = [each for each in mentions(plain, nouns) if each.number is not None]
    has_rest = bool(_REST.search(plain.lower()))
    findings = []
    for noun, number in facts.counts.items():
        findings += _wrong_number(singular(noun), [number], found, has_rest, "a detector counts")
    for noun, numbers in counts.items():
        if noun not in facts.counts:
            findings += _wrong_number(noun, numbers, found, has_rest, "the structure has")
    return findings


def check_structure_counts(structure: Mapping[str, Any], facts: MeasuredFacts) -> list[Finding]:
    """Findings where `object_counting` of a structure has more than a detector is sure of."""
    counts = _counts(structure)
    findings = []
    for name, number in facts.counts.items():
        noun = singular(name)
        stated = sum(counts.get(noun, ()))
        if noun == "person":
            stated = max(stated, sum(sum(counts.get(each, ())) for each in PEOPLE - {"person"}))
        if stated > number:
            reason = f"object_counting has {stated} of {name}; a detector counts {number}"
            findings.append(Finding("count", reason))
    return findings


def check_colors(text: str, structure: Mapping[str, Any]) -> list[Finding]:
    """A finding where a caption gives an object a colour that the structure has not."""
    known: dict[str, frozenset[str]] = {}
    for entry in structure.get("object_color", ()):
        noun = singular(entry["object"])
        known[noun] = known.get(noun, frozenset()) | color_families(entry["color"])
    nouns = frozenset(noun for noun, colors in known.items() if noun and colors)
    if not nouns:
        return []
    for each in mentions(_prose(structure), nouns):
        known[each.noun] |= each.colors
    for each in mentions(without_quotes(text), nouns):
        if each.colors and differ(each.colors, known[each.noun]):
            right, wrong = (", ".join(sorted(colors)) for colors in (known[each.noun], each.colors))
            return [Finding("color", f"the {each.noun} is {right}, not {wrong}")]
    return []


def _counts(structure: Mapping[str, Any]) -> dict[str, list[int]]:
    """Noun in the singular -> the numbers of its entries in `object_counting`."""
    counts: dict[str, list[int]] = {}
    for entry in structure.get("object_counting", ()):
        if noun := singular(entry["object"]):
            counts.setdefault(noun, []).append(entry["count"])
    return counts


def _wrong_number(
    noun: str, numbers: list[int], found: list[Mention], has_rest: bool, source: str
) -> Iterator[Finding]:
    """A finding where the numbers that were found for a noun cannot be right."""
    total = sum(numbers)
    own = [each for each in found if each.noun == noun]
    stated = [each.number or 0 for each in own]
    most = max(stated, default=0)
    if noun == "person" and not own:
        kinds = PEOPLE - {noun}
        most = sum(
            max((m.number or 0 for m in found if m.noun == kind), default=0) for kind in kinds
        )
    if most > total or (
        most > 1
        and own
        and not has_rest
        and all(each.is_bare and not each.colors for each in own)
        and not {*stated, sum(stated)} & {*numbers, total}
    ):
        yield Finding("count", f"{source} {total} of {noun}, not {most}")


def _prose(structure: Mapping[str, Any]) -> str:
    parts = []
    for field in _TEXT_FIELDS:
        value = structure.get(field, ())
        parts += [value] if isinstance(value, str) else value
    return " . ".join(parts)
