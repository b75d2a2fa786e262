"""Rules that tidy a prompt and add nothing to it, for rewriting without a model."""

import re

from wanctl.sample.rewrite.checks import QUOTED

_PAIRS = {'"': '"', "“": "”", "「": "」", "'": "'", "‘": "’"}
_BEFORE_PUNCTUATION = re.compile(r"\s+(?=[,;:!?，。；：！？、)）])|\s+(?=\.(?:\s|$))")
_DOUBLED = re.compile(r"([,;:!?，。；：！？、])(?:\s*\1)+")
_TWO_DOTS = re.compile(r"(?<!\.)\.\.(?!\.)")


def tidy(prompt: str) -> str:
    """The prompt with single spaces and single punctuation, without quotation marks around it.

    What stands between quotation marks inside the prompt is left as it is, and so is an ellipsis.
    """
    text = _without_outer_quotes(prompt.strip())
    pieces, end = [], 0
    for match in QUOTED.finditer(text):
        pieces += [_tidied(text[end : match.start()]), match.group()]
        end = match.end()
    return "".join([*pieces, _tidied(text[end:])]).strip()


def _tidied(text: str) -> str:
    text = _TWO_DOTS.sub(".", re.sub(r"\s+", " ", text))
    return _DOUBLED.sub(r"\1", _BEFORE_PUNCTUATION.sub("", text))


def _without_outer_quotes(text: str) -> str:
    """Take quotation marks off that enclose the whole prompt, as pasted text has them."""
    while len(text) > 2 and _PAIRS.get(text[0]) == text[-1]:
        inner = text[1:-1]
        if text[0] in inner or text[-1] in inner or not inner.strip():
            break
        text = inner.strip()
    return text
