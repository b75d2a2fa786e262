"""The requests of one clip, one after the other, and what becomes of their answers. Does no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from wanctl.caption.structured.result import ClipResult
from wanctl.vlm.chat import ChatAnswer, ChatRequest

Role = Literal["vision", "text"]


@dataclass(frozen=True)
class Ask:
    """A request and which model answers it."""

    role: Role
    request: ChatRequest


class ClipSteps(Protocol):
    """The work on one clip.

    Ask everything that `start` returns; give every answer to `take`, which returns what is to be
    asked next. When all requests are answered, `result` is set.
    """

    @property
    def clip_id(self) -> str:
        """Of the clip."""
        ...

    def start(self) -> Sequence[Ask]:
        """The first requests."""
        ...

    def take(self, answer: ChatAnswer) -> Sequence[Ask]:
        """Take the answer to a request of this clip; the requests that follow from it.

        Raises:
            ValueError: the answer's id belongs to no open request of this clip.
        """
        ...

    @property
    def result(self) -> ClipResult | None:
        """None while requests are open."""
        ...
