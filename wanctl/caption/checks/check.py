"""Runs the checks of one answer, one structure, one caption. Each finding has a name and a reason.

Repetition across clips is not among them, because it needs the other captions (`repetition.py`),
nor what needs frames (`similarity.py`, `detector.py`).
"""

from collections.abc import Mapping
from typing import Any

from wanctl.caption.checks.facts import Finding, MeasuredFacts
from wanctl.caption.checks.text import caption_problem
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
    del structure, facts
    return []


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
    del variant, structure, facts
    problem = caption_problem(" ".join(text.split()), "model")
    return [Finding("text", f"the caption {problem}; describe what is seen")] if problem else []
