"""Patterns for the names of layers and parameters, as a recipe writes them.

A pattern is one or more parts of a dotted name, with shell wildcards in each part: `self_attn`,
`self_attn.q`, `blocks.*.ffn`, `blocks.[0-9].cross_attn.k*`. It matches a name that has these parts
one after the other, anywhere.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

ALL = "all"


def matches(pattern: str, name: str) -> bool:
    """Whether a name has the parts of a pattern, one after the other."""
    wanted, parts = pattern.split("."), name.split(".")
    return any(
        all(map(fnmatchcase, parts[start : start + len(wanted)], wanted))
        for start in range(len(parts) - len(wanted) + 1)
    )


def unmatched(pattern: str, names: Iterable[str], what: str) -> str:
    """The message for a pattern that matches none of the names; says which are near.

    Args:
        pattern: that matches nothing.
        names: that it may match.
        what: they are, e.g. `linear layer`.
    """
    known: set[str] = set()
    for name in names:
        parts = ["*" if part.isdigit() else part for part in name.split(".")]
        for start in range(len(parts)):
            known |= {".".join(parts[start:end]) for end in range(start + 1, len(parts) + 1)}
    near = get_close_matches(pattern, sorted(known - {"*"}), n=3, cutoff=0.4)
    hint = f"; near are {', '.join(near)}" if near else ""
    return (
        f"got {pattern!r}, which matches no {what}{hint}; a pattern is parts of a name, * stands "
        "for anything within a part, e.g. blocks.*.self_attn"
    )
