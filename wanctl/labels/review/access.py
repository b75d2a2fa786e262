"""Who may talk to the review server: a random token, and names under which it is known.

Pages of other sites can make a browser send requests to 127.0.0.1. They cannot read the token, and
a name of theirs that suddenly stands for 127.0.0.1 (DNS rebinding) is refused by the Host header.
The port of the Host header is free, so that `ssh -L` may lead to the server.
"""

import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

HEADER = "X-Review-Token"
"""Every POST states the token in it; pages of other sites cannot set it."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Access:
    """The token of one run of the server.

    Args:
        host: the address that the server listens on.
        port: its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        # browsers share cookies between the ports of a host
        self._cookie = f"wanctl-review-{port}"
        self._names = {*_LOOPBACK, host.lower()}
        self._any_address = host not in _LOOPBACK
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def cookie(self) -> str:
        """Value of the Set-Cookie header that carries the token."""
        return f"{self._cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    def matches(self, token: str | None) -> bool:
        """Whether this is the token."""
        return token is not None and secrets.compare_digest(token.encode(), self.token.encode())

    def has_cookie(self, header: str | None) -> bool:
        """Whether a Cookie header carries the token."""
        try:
            cookie = SimpleCookie(header or "")
        except CookieError:
            return False
        return self._cookie in cookie and self.matches(cookie[self._cookie].value)

    def knows_host(self, header: str | None) -> bool:
        """Whether a Host header names this machine; where `--host` was given, any IP address."""
        name = _host_name(header)
        if name is None:
            return False
        return name in self._names or (self._any_address and _is_address(name))

    @staticmethod
    def same_origin(origin: str | None, host: str | None) -> bool:
        """Whether an Origin header, where there is one, is the page's own."""
        return origin is None or urlsplit(origin).netloc == host


def _host_name(header: str | None) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname if header else None
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
