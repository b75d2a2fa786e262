"""What the structured pass makes of a clip."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wanctl.caption.backends import Caption

STRUCTURE = "structure"
"""Name of the structured pass among the variants of a clip's flags.

This flag stands for all variants of the clip: without a structure none of them can be written.
"""

FAILED = "failed"
"""Name of the check of a flag where the model did not answer; a later run asks again."""


@dataclass(frozen=True)
class Flag:
    """A caption, or a structure, that failed its checks each time it was asked for.

    Attributes:
        variant: of the caption, or STRUCTURE.
        text: what the model wrote last.
        checks: `CHECK: REASON` each.
        attempts: how often it was asked for.
    """

    variant: str
    text: str
    checks: tuple[str, ...]
    attempts: int

    @property
    def is_final(self) -> bool:
        """Whether the content failed, so that a later run does not ask again."""
        return is_final(self.checks)


def is_final(checks: Iterable[str]) -> bool:
    """Whether the `CHECK: REASON`s of a flag, as the table has them, are all about content."""
    return not any(check.startswith(f"{FAILED}: ") for check in checks)


@dataclass(frozen=True)
class ClipResult:
    """All that is kept of one clip.

    Attributes:
        clip_id: of the clip.
        structure: has all keys of FIELDS, without the clip's id; None where it is flagged. It is
            the one of an earlier run where the steps were built with that.
        captions: that passed the checks.
        flags: what did not pass.
        input_tokens: of all requests of the clip.
        output_tokens: of all answers.
        attempts: requests of the structured pass; 0 where the structure is of an earlier run.
    """

    clip_id: str
    structure: Mapping[str, Any] | None
    captions: tuple[Caption, ...]
    flags: tuple[Flag, ...]
    input_tokens: int
    output_tokens: int
    attempts: int
