"""What the structured pass makes of a clip."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wanctl.caption.backends import Caption

STRUCTURE = "structure"
"""Name of the structured pass among the variants of a clip's flags."""


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


@dataclass(frozen=True)
class ClipResult:
    """All that is kept of one clip.

    Attributes:
        clip_id: of the clip.
        structure: valid against `structure_schema`, without the clip's id; None where it is
            flagged.
        captions: that passed the checks.
        flags: what did not pass.
        input_tokens: of all requests of the clip.
        output_tokens: of all answers.
        attempts: requests of the structured pass.
    """

    clip_id: str
    structure: Mapping[str, Any] | None
    captions: tuple[Caption, ...]
    flags: tuple[Flag, ...]
    input_tokens: int
    output_tokens: int
    attempts: int
