"""Errors meant for the person at the terminal: one line, exit code 2, no traceback.

The message says where, what was got, what is allowed and what to do. Every boundary subclasses
`UserError` (RecipeError, VideoError, WeightsError, ...); anything else that escapes is a bug.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(ValueError):
    """An error that the user can fix. `str(error)` is the line that is printed."""


class ProblemsError(UserError):
    """Several problems of one recipe, reported together.

    Args:
        problems: (dotted recipe path, message) pairs, e.g. `("curate.filters.ocr.max", "...")`.
            The recipe loader turns each path into `file:line`.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(f"{path}: {message}" for path, message in self.problems))


def unknown(kind: str, got: str, allowed: Iterable[str]) -> str:
    """Write that a name is not in a table, with the nearest name that is."""
    names = sorted(allowed)
    near = get_close_matches(got, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {kind} named {got!r}{hint} (there are: {', '.join(names)})"
