"""Credentials of remote footage, kept in memory for the present run. A leaf.

Tables hold URIs without credentials (`redact.public_uri`). The URL that a command was given, the
entries of its listing, and the environment variable WANCTL_SOURCES (URLs with credentials,
separated by spaces) are remembered here, and `with_credentials` completes a stored URI when its
source is opened. Worker processes get a copy of the table over their pipe.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from wanctl.redact import (
    basic_header,
    hide,
    named_before_at,
    public_uri,
    split_chain,
    split_query,
    split_userinfo,
)

VARIABLE = "WANCTL_SOURCES"

_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+):/{1,2}")
_LEAST_SECRET = 4


class Credential(NamedTuple):
    """What `public_uri` removed: user and password, and parameters of a signature."""

    userinfo: str
    parameters: tuple[str, ...]


_table: dict[str, Credential] = {}


def remember(uri: str) -> str:
    """Keep a URI's credentials for this run; returns the URI without them."""
    public = public_uri(uri)
    if public == uri:
        return uri
    for piece in split_chain(uri):
        if (found := _credential(piece)) is not None:
            _table[_folder(public_uri(piece))] = found
            _hide(found)
    return public


def with_credentials(uri: str) -> str:
    """A stored URI with the credentials of this run; unchanged where there are none for it."""
    if not _SCHEME.match(uri) or public_uri(uri) != uri:
        return uri
    _read_environment()
    if not _table:
        return uri
    return "::".join(_completed(piece) for piece in split_chain(uri))


def snapshot() -> dict[str, Credential]:
    """A copy of the table, for a worker process."""
    _read_environment()
    return dict(_table)


def restore(table: Mapping[str, Credential]) -> None:
    """Take over the table of another process."""
    for place, (userinfo, parameters) in table.items():
        _table[place] = Credential(userinfo, tuple(parameters))
        _hide(_table[place])


def _credential(uri: str) -> Credential | None:
    match = _SCHEME.match(uri)
    if match is None:
        return None
    userinfo, rest = split_userinfo(uri[match.end() :])
    if userinfo and named_before_at(match["scheme"], userinfo):
        userinfo = ""
    _, secret = split_query(rest)
    return Credential(userinfo, tuple(secret)) if userinfo or secret else None


def _completed(uri: str) -> str:
    match = _SCHEME.match(uri)
    place = _folder(uri)
    found = _table.get(place)
    while found is None and "/" in place.partition("://")[2]:
        place = place.rpartition("/")[0]
        found = _table.get(place)
    if match is None or found is None:
        found = _of_host(uri)
    if match is None or found is None:
        return uri
    rest = uri[match.end() :].partition("#")[0]
    at = f"{found.userinfo}@" if found.userinfo else ""
    mark = "&" if "?" in rest else "?"
    query = mark + "&".join(found.parameters) if found.parameters else ""
    return f"{match['scheme']}://{at}{rest}{query}"


def _of_host(uri: str) -> Credential | None:
    """User and password that are known for the host: they hold for all of it."""
    host = _host(uri)
    for place, found in _table.items():
        if found.userinfo and _host(place) == host:
            return Credential(found.userinfo, ())
    return None


def _host(uri: str) -> str:
    match = _SCHEME.match(uri)
    rest = uri[match.end() :] if match else uri
    return f"{match['scheme'].lower() if match else ''}://{re.split(r'[/?#]', rest)[0].lower()}"


def _folder(uri: str) -> str:
    """The key of a URI in the table: two slashes after the scheme, none at the end."""
    match = _SCHEME.match(uri)
    return f"{match['scheme']}://{uri[match.end() :]}".rstrip("/") if match else uri.rstrip("/")


def _read_environment() -> None:
    for uri in os.environ.get(VARIABLE, "").split():
        remember(uri)


def _hide(found: Credential) -> None:
    user, _, password = found.userinfo.partition(":")
    secrets = [password or user] if found.userinfo else []
    if password:
        secrets.append(basic_header(found.userinfo))
    secrets += [each.partition("=")[2] for each in found.parameters if _is_long(each)]
    hide(each for each in secrets if len(each) >= _LEAST_SECRET)


def _is_long(parameter: str) -> bool:
    # a signature comes with short parameters, `se=2026-01-01`, which are no secrets
    name, _, value = parameter.partition("=")
    return len(value) >= _LEAST_SECRET and bool(
        re.search(r"token|secret|sig|passw|key|credential|auth|jwt|session", name, re.IGNORECASE)
    )
