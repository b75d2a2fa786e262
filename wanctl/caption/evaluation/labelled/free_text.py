"""Reads the values of the dimensions out of free captions, guided by the expected ones.

A captioner without structures is measured by the label words in its captions. Of objects, actions,
events, scenes, styles and strings only the expected ones are looked for, so that nothing too much
can be found; of camera, colour and number every value is looked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wanctl.caption.evaluation.labelled.labels import ENUMS, OPEN, PAIRS, LabelledClip
from wanctl.caption.evaluation.labelled.words import (
    HUES_DEG,
    colors,
    count_of,
    edit_similarity,
    normal,
    words,
)

_NEAR = 3
"""Words before an object among which its colour and number are looked for."""
_GAP = 2
"""Words that may lie between "pan" and "left"."""
_OCR_LIKENESS = 0.8


def structure_from_text(label: LabelledClip, caption: str) -> dict[str, Any]:
    """The labelled dimensions as a structure: what a caption says of them."""
    text = [stem for word in words(caption) for stem in normal(word)]
    plain = words(caption)
    structure: dict[str, Any] = {}
    for dimension in label.dimensions:
        if dimension in PAIRS:
            structure[dimension] = _pairs(dimension, label.pairs[dimension], plain)
        elif dimension in ENUMS:
            found = [each for each in ENUMS[dimension] if each != OPEN and _holds(text, each)]
            structure[dimension] = found
        else:
            expected = (one for several in label.values[dimension] for one in several)
            holds = _reads if dimension == "ocr_text" else _says
            structure[dimension] = [each for each in expected if holds(caption, text, each)]
    return structure


def _says(caption: str, text: Sequence[str], phrase: str) -> bool:
    del caption
    return _run(text, normal(phrase), 1) is not None or _in_sentence(text, normal(phrase))


def _reads(caption: str, text: Sequence[str], string: str) -> bool:
    """Whether a part of a caption is nearly the string."""
    del text
    plain = words(caption)
    size = len(words(string))
    return any(
        edit_similarity(" ".join(plain[start : start + size]), string) >= _OCR_LIKENESS
        for start in range(max(1, len(plain) - size + 1))
    )


def _holds(text: Sequence[str], value: str) -> bool:
    return _run(text, normal(value), _GAP + 1) is not None


def _in_sentence(text: Sequence[str], stems: Sequence[str]) -> bool:
    """Whether a phrase of several words is there in another order."""
    return len(stems) > 1 and set(stems) <= set(text)


def _run(text: Sequence[str], stems: Sequence[str], step: int) -> int | None:
    """Where the stems stand one after the other, at most `step` words apart; else None."""
    for start, word in enumerate(text):
        if word != stems[0]:
            continue
        at = start
        for stem in stems[1:]:
            near = text[at + 1 : at + 1 + step]
            if stem not in near:
                break
            at += 1 + near.index(stem)
        else:
            return start
    return None


def _pairs(
    dimension: str, expected: Mapping[str, Iterable[str]], plain: list[str]
) -> list[dict[str, Any]]:
    stems = [(normal(word) or (word,))[0] for word in plain]
    pairs: list[dict[str, Any]] = []
    for name in expected:
        start = _run(stems, normal(name), 1)
        if start is None:
            continue
        before = plain[max(0, start - _NEAR) : start]
        if dimension == "object_counting":
            counts = [count for word in before if (count := count_of(word)) is not None]
            pairs += [{"object": name, "count": counts[-1]}] if counts else []
        else:
            after = plain[start + 1 : start + 1 + _NEAR] if "is" in plain[start + 1 :][:2] else []
            named = [each for each in colors(" ".join([*before, *after])) if each in HUES_DEG]
            pairs += [{"object": name, "color": " ".join(sorted(named))}] if named else []
    return pairs
