"""Runs the checks of one answer, one structure, one caption. Each finding has a name and a reason.

Repetition across clips is not among them, because it needs the other captions (`repetition.py`),
nor what needs frames (`similarity.py`, `detector.py`).
"""

from collections.abc import Mapping
from typing import Any

from wanctl.caption.checks.camera_check import (
    check_camera,
    check_camera_of_structure,
    check_structure_camera,
)
from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.checks.language import check_language, check_length
from wanctl.caption.checks.movement import check_movement
from wanctl.caption.checks.objects import check_colors, check_counts, check_structure_counts
from wanctl.caption.checks.quotes import check_quotes, check_structure_text
from wanctl.caption.checks.repeats import check_repeats
from wanctl.caption.checks.text import MAX_CHARACTERS, caption_problem
from wanctl.caption.checks.wording import (
    check_echo,
    check_end,
    check_guesses,
    check_markup,
    check_opener,
    check_refusal,
)
from wanctl.vlm.chat import ChatAnswer

Structure = Mapping[str, Any]


def check_answer(answer: ChatAnswer) -> list[Finding]:
    """Findings on how an answer ended: cut off, refused by a filter, failed, or empty."""
    match answer.finish:
        case "length":
            return [Finding("truncation", "the answer reached the limit of tokens; be shorter")]
        case "refused":
            return [Finding("refusal", "the server's content filter stopped the answer")]
        case "failed":
            return [Finding("failure", answer.error or "no answer came")]
    return [] if answer.text.strip() else [Finding("empty", "the answer is empty; answer in text")]


def check_structure(structure: Structure, facts: MeasuredFacts) -> list[Finding]:
    """Findings on a structure that is valid against its schema: contradictions with the facts."""
    return [
        *check_structure_camera(structure.get("camera_motion", ()), facts),
        *check_structure_text(structure, facts),
        *check_structure_counts(structure, facts),
    ]


def check_caption(
    text: str, variant: str, structure: Structure | None, facts: MeasuredFacts
) -> list[Finding]:
    """Findings on one caption.

    Args:
        text: of the caption, as the model wrote it.
        variant: LENGTH-STYLE-LANGUAGE or motion-LANGUAGE; with another name no length or language
            is required.
        structure: that the caption was written from; None where there is none.
        facts: measured of the clip.
    """
    if problem := _unusable(text):
        return [Finding("empty", f"the caption {problem}; describe what is seen")]
    findings = check_refusal(text)
    if findings:  # a refusal is also too short, without quotes, ...: one reason is enough
        return findings
    markup = check_markup(text)
    findings = [
        *markup,
        *([] if markup else check_end(text)),  # a bracket at the end is no sentence end
        *(check_language(text, variant) or check_length(text, variant, structure)),
        *_check_characters(text),
        *check_echo(text),
        *check_opener(text),
        *check_guesses(text, variant),
        *check_repeats(text),
        *check_movement(text, variant),
        *check_camera(text, facts),
        *check_quotes(text, facts),
        *check_counts(text, structure, facts),
    ]
    if structure is not None:
        findings += check_camera_of_structure(text, structure.get("camera_motion", ()))
        findings += check_colors(text, structure)
    return _once(findings)


def _unusable(text: str) -> str:
    return caption_problem(" ".join(text.split()), "person")


def _check_characters(text: str) -> list[Finding]:
    if len(text) <= MAX_CHARACTERS:
        return []
    return [Finding("length", f"too long with {len(text)} characters; {MAX_CHARACTERS} at most")]


def _once(findings: list[Finding]) -> list[Finding]:
    """The first finding of each check: one reason for each is what a model acts on."""
    return list({each.check: each for each in reversed(findings)}.values())[::-1]
