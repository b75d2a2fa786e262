"""What a server's refusal means: try again, give one request up, or stop."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openai

from wanctl.redact import redact
from wanctl.vlm.openai_body import shortened

_REPEATED = (408, 409, 425, 429)
_NO_VISION = re.compile(
    r"\bnot (?:a |an )?(?:multi-?modal|vision)"
    r"|\bat most 0 (?:image|video)"
    r"|(?:image|vision|multi-?modal)\S*(?: \S+){0,4} (?:not|only) (?:be )?support"
    r"|not support\S*(?: \S+){0,4} (?:image|vision|multi-?modal)"
    r"|image_url\S* is only supported|unknown variant \S*image_url|mmproj",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(r"at most (\d+) (?:image|video)", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """An answer with an error status, in the terms of what follows from it.

    Attributes:
        status: of HTTP.
        message: of the server, on one line, without credentials.
        headers: of the answer.
        code: of the error, where the server has one.
    """

    status: int
    message: str
    headers: Mapping[str, str]
    code: str

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status in _REPEATED or self.status >= 500

    @property
    def no_quota(self) -> bool:
        """Whether a paid API wants money before it answers anything."""
        return self.status == 402 or self.code == "insufficient_quota"

    @property
    def no_vision(self) -> bool:
        """Whether the server says that its model takes no pictures."""
        return bool(_NO_VISION.search(self.message))

    @property
    def most_images(self) -> int | None:
        """How many pictures a request may have, where the server says so."""
        match = _TOO_MANY.search(self.message)
        return int(match[1]) if match else None

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


def read_refusal(error: openai.APIStatusError) -> Refusal:
    """The refusal in an exception of the client."""
    body: Any = error.body
    code = ""
    if isinstance(body, Mapping):
        # the client has unpacked {"error": {...}}; FastAPI has {"detail": ...}
        text = body.get("message") or body.get("detail") or body.get("error") or body
        code = str(body.get("code") or body.get("type") or "")
    else:
        text = re.sub(r"<[^>]*>", " ", str(body or error.response.text))
    message = shortened(redact(str(text))) or "no message"
    return Refusal(error.status_code, message, error.response.headers, code)


def connection_problem(error: openai.APIConnectionError) -> str:
    """Why there is no answer, in a few words."""
    if isinstance(error, openai.APITimeoutError):
        return "no answer in time"
    cause = error.__cause__
    text = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
    return shortened(redact(text))


def never_connected(error: openai.APIConnectionError) -> bool:
    """Whether there was no connection at all, rather than one that broke."""
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError")
