"""Removes credentials from URLs and texts before they are stored or shown. A leaf.

`public_uri` is the form of a source that tables hold: without user and password, and without the
parameters of a signature, so that a URL that was signed anew names the same source. `redact` masks
credentials in any text: messages, logs, recipes. `wanctl.credentials` gives a stored URI its
credentials back when the source is opened.
"""

import base64
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

MASK = "***"

# these schemes put a container or a repository before the @, not a user
_NAMED_BEFORE_AT = ("abfs", "abfss", "wasb", "wasbs", "github", "git")
_LOCAL = ("file", "local")
_CHAIN = re.compile(r"::(?=[a-zA-Z][a-zA-Z0-9+.-]+:/)")
_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+):/{1,2}")
_SECRET_NAME = re.compile(
    r"token|secret|signature|passw|passphrase|api[-_]?key|access[-_]?key|account[-_]?key"
    r"|credential|auth(?!or)|jwt|session|subscription-key"
    r"|^(?:sig|sas|pw|pwd|pass|hmac|hdnea|hdnts|q-ak|x-cos-.*|security)$",
    re.IGNORECASE,
)
# parameters that accompany a signature and change with it
_SIGNED = re.compile(
    r"^(?:x-(?:amz|goog|oss|obs|bce|tos)-.*|googleaccessid|expires?|policy|key-pair-id|q-.*"
    r"|s[vrpest]|ss|srt|spr|sip|sk[vtes]|skoid|sktid|sdd|saoid|suoid|scid|ses|exp|nonce|timestamp)$",
    re.IGNORECASE,
)
# `key=` may name a file; a long value without a dot or a slash is an API key
_KEY_VALUE = re.compile(r"^[\w~+=-]{20,}$")
_IN_TEXT = (
    # headers and assignments
    (
        re.compile(
            r"(?P<kept>\b(?:proxy-)?authorization\\?[\"']?\s*[:=]\s*\\?[\"']?)"
            r"(?:(?:basic|bearer|token|digest|negotiate|apikey)\s+)?[^\s\"',;\\]+",
            re.IGNORECASE,
        ),
        rf"\g<kept>{MASK}",
    ),
    (
        re.compile(
            r"(?P<kept>[\w-]*(?:api[-_]?key|access[-_]?key|account[-_]?key|secret(?:[-_]key)?"
            r"|password|passwd|(?:auth|access|refresh|session|security|hf|id)[-_]?token)"
            r"\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\*\*\*)[^\s\"',;&\\]+",
            re.IGNORECASE,
        ),
        rf"\g<kept>{MASK}",
    ),
    (
        re.compile(r"(?P<kept>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE),
        rf"\g<kept>{MASK}",
    ),
    # tokens that are known by their form
    (
        re.compile(
            r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[opsur]_\w{20,}"
            r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}"
            r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
        ),
        MASK,
    ),
)
_URL = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+):/{1,2}"
    r"(?P<token>(?:(?!::[a-zA-Z][a-zA-Z0-9+.-]+:/)[^\s\"'<>])*)"
)
# also where it is written into HTML, `&amp;sig=VALUE`
_PARAMETER = re.compile(r"(?P<kept>[?&;#](?P<name>[\w.%~+-]+)=)(?P<value>[^&\s\"'<>#]+)")
_SECRET_KEY = re.compile(
    r"(?:^|[-_])(?:api[-_]?key|apikey|access[-_]?key|secret|secret[-_]key|password|passwd|token"
    r"|account[-_]?key|authorization|credentials?|cookie|passphrase|pwd|auth)$",
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY(?:_ID)?|ACCOUNT_KEY|SAS_TOKEN)$"
)
_LEAST_VARIABLE = 8
_LEAST_WORD = 4
_LEAST_ANYWHERE = 8

_known: set[str] = set()


def public_uri(uri: str) -> str:
    """A URI without user, password and signature; paths and other URIs are returned unchanged.

    Args:
        uri: a path, a URL, or a chain of fsspec (`zip://a.mp4::https://...`).
    """
    return "::".join(_public(piece) for piece in split_chain(uri))


def redact(text: str) -> str:
    """A text in which credentials are masked: of URLs, headers, `name=value`, known secrets."""
    for secret in _secrets():
        text = _without(text, secret)
    text = _URL.sub(_without_userinfo, text)
    text = _PARAMETER.sub(_masked_parameter, text)
    for pattern, mask in _IN_TEXT:
        text = pattern.sub(mask, text)
    return text


def redact_values(value: Any, key: str = "") -> Any:
    """A JSON-like value in which credentials are masked; keys such as `api_key` lose their value.

    Args:
        value: mappings, lists, texts, numbers.
        key: the name that `value` has in its mapping.
    """
    if isinstance(value, Mapping):
        secret = key if _SECRET_KEY.search(key) else ""
        return {name: redact_values(each, secret or str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(each, key) for each in value]
    if not isinstance(value, str):
        return value
    if value and _SECRET_KEY.search(key):
        return MASK
    return redact(public_uri(value)) if _is_url(value) else redact(value)


def hide(secrets: Iterable[str]) -> None:
    """Mask these texts wherever `redact` meets them, in this process."""
    for secret in secrets:
        for form in (secret, unquote(secret)):
            if len(form) >= _LEAST_WORD:
                _known.add(form)


def split_chain(uri: str) -> list[str]:
    """The pieces of an fsspec chain: `zip://a.mp4::https://host/b.zip` has two."""
    return _CHAIN.split(uri)


def split_userinfo(rest: str) -> tuple[str, str]:
    """(user and password, the rest) of what follows `scheme://`.

    A password with a slash that is not percent-encoded makes a host whose port is no number; then
    everything up to the last @ counts as user and password.
    """
    end = re.search(r"[/?#]|$", rest)
    host = rest[: end.start()] if end else rest
    if "@" in host:
        userinfo, _, _ = host.rpartition("@")
        return userinfo, rest[len(userinfo) + 1 :]
    port = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else ""
    if port and not port.isdecimal() and "@" in rest:
        userinfo, _, after = rest.rpartition("@")
        return userinfo, after
    return "", rest


def split_query(rest: str) -> tuple[str, list[str]]:
    """(what follows `scheme://` without its secret parameters, these parameters).

    A fragment that names a secret is removed; servers never see fragments.
    """
    head, mark, fragment = rest.partition("#")
    base, _, query = head.partition("?")
    parameters = query.split("&")
    secret = [each for each in parameters if _is_secret(each)]
    if secret:
        secret = [each for each in parameters if _is_secret(each) or _SIGNED.match(_name(each))]
    if mark and any(_is_secret(each) for each in fragment.split("&")):
        mark = fragment = ""
    if not secret:
        return head + mark + fragment, []
    public = "&".join(each for each in parameters if each not in secret)
    return base + ("?" + public if public else "") + mark + fragment, secret


def named_before_at(scheme: str, userinfo: str) -> bool:
    """Whether what stands before the @ names a container or repository, not a user."""
    if scheme.lower() in ("github", "git"):
        return True
    return scheme.lower() in _NAMED_BEFORE_AT and ":" not in userinfo


def basic_header(userinfo: str) -> str:
    """What an HTTP client sends for a user and password, without the word `Basic`."""
    return base64.b64encode(unquote(userinfo).encode()).decode()


def _public(uri: str) -> str:
    match = _SCHEME.match(uri)
    if match is None or match["scheme"].lower() in _LOCAL:
        return uri
    userinfo, rest = split_userinfo(uri[match.end() :])
    if userinfo and named_before_at(match["scheme"], userinfo):
        rest = uri[match.end() :]
    return match[0] + split_query(rest)[0]


def _is_url(text: str) -> bool:
    return bool(_SCHEME.match(text)) and not any(each.isspace() for each in text)


def _is_secret(parameter: str) -> bool:
    name, equals, value = parameter.partition("=")
    if not equals:
        return False
    if name.lower() == "key":
        return bool(_KEY_VALUE.match(value))
    return bool(_SECRET_NAME.search(unquote(name)))


def _name(parameter: str) -> str:
    return unquote(parameter.partition("=")[0])


def _without_userinfo(match: re.Match[str]) -> str:
    userinfo, rest = split_userinfo(match["token"])
    if not userinfo or named_before_at(match["scheme"], userinfo):
        return match[0]
    start = match[0][: len(match[0]) - len(match["token"])]
    return start + rest


def _masked_parameter(match: re.Match[str]) -> str:
    secret = _is_secret(f"{match['name']}={match['value']}")
    return match["kept"] + MASK if secret else match[0]


def _without(text: str, secret: str) -> str:
    if secret not in text:
        return text
    if len(secret) >= _LEAST_ANYWHERE:
        return text.replace(secret, MASK)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)


def _secrets() -> list[str]:
    """Secrets of this process and of its environment, the longest first."""
    variables = {
        value
        for name, value in os.environ.items()
        if len(value) >= _LEAST_VARIABLE and _SECRET_VARIABLE.search(name.upper())
    }
    return sorted(_known | variables, key=len, reverse=True)
