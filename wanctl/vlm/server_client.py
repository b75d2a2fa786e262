"""The connection to an OpenAI-compatible server: its address, its key, and what must not be shown.

A user and password in the URL go into a header, secret parameters into the query; the client's URL
has neither, and `redact` masks all of them from then on.
"""

import os
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import openai

from wanctl.redact import basic_header, hide, public_uri, split_userinfo
from wanctl.vlm.chat import ChatError, ChatModelOptions

_PLACEHOLDERS = frozenset({"none", "empty", "dummy", "token", "key", "test", "local", "unused"})
"""What people state as the key of a server that needs none."""

CONNECT_S = 10.0
"""Time for a connection."""


@dataclass(frozen=True)
class Server:
    """A client and the words for messages about it.

    Attributes:
        client: of the `openai` package; repeats nothing by itself.
        url: without credentials.
        key_problem: what to say where the server refuses the key.
    """

    client: openai.OpenAI
    url: str
    key_problem: str


def connect(options: ChatModelOptions) -> Server:
    """The client for a server; nothing is sent yet.

    Raises:
        ChatError: the URL is no URL of HTTP, or the key cannot be sent.
    """
    url = options.url or ""
    scheme, separator, rest = url.partition("://")
    userinfo, rest = split_userinfo(rest)
    if not separator or scheme.lower() not in ("http", "https") or not urlsplit(f"//{rest}").netloc:
        raise ChatError(
            f"url: got {public_uri(url)!r}; the address of an OpenAI-compatible server up to and "
            "with /v1, e.g. http://127.0.0.1:8000/v1"
        )
    parts = urlsplit(f"{scheme}://{rest}")
    query = dict(parse_qsl(parts.query))
    shown = public_uri(url)
    # what the shown URL lacks is secret
    hide(value for value in query.values() if value not in shown)
    headers = {}
    if userinfo:
        header = basic_header(userinfo)
        hide([header, userinfo, userinfo.partition(":")[2]])
        headers["Authorization"] = f"Basic {header}"
    key = _key(options.api_key_variable)
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=None, max_keepalive_connections=options.parallel
    )
    client = openai.OpenAI(
        base_url=f"{parts.scheme}://{parts.netloc}{parts.path}",
        api_key=key or "none",
        default_headers=headers,
        default_query=query,
        max_retries=0,
        timeout=openai.Timeout(options.timeout_s, connect=min(CONNECT_S, options.timeout_s)),
        http_client=openai.DefaultHttpxClient(limits=limits),
    )
    name = options.api_key_variable
    state = f"the server refuses the key in {name}" if key else f"it needs a key; set {name}"
    return Server(client, shown, f"{state} (the environment variable of `api_key_variable`)")


def _key(variable: str) -> str:
    """The server's key; "" where the variable is not set, as many servers need none."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ChatError(
            f"the environment variable {variable} holds a space or a letter that no key has"
        )
    if key.casefold() not in _PLACEHOLDERS:  # "none" is also a word of messages
        hide([key])
    return key
