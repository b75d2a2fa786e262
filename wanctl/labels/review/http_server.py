"""The HTTP server of the review page: who gets in, files with ranges, JSON, headers.

Everything but the first visit needs the token; see `access.py`. What is answered is in `routes.py`.
"""

import json
import re
import socket
import socketserver
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from wanctl.errors import UserError
from wanctl.escaping import one_line
from wanctl.labels.review.access import HEADER, Access
from wanctl.log import log
from wanctl.redact import redact

MAX_BODY_BYTES = 1 << 20
_IDLE_S = 60.0
_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer."""


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        body: bytes, or a file that is sent in ranges.
        kind: its media type.
        status: of HTTP.
        headers: besides HEADERS.
    """

    body: bytes | Path
    kind: str
    status: HTTPStatus = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)


class RequestError(Exception):
    """A request that gets an error for an answer.

    Args:
        status: of HTTP.
        message: one line for the person at the page.
        more: further keys of the JSON.
    """

    def __init__(self, status: HTTPStatus, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.more = more


class Routes(Protocol):
    """What is answered to requests that were let in."""

    def get(self, path: str, query: dict[str, str]) -> Reply:
        """Answer GET and HEAD.

        Raises:
            RequestError: no such path, or bad values.
        """
        ...

    def post(self, path: str, body: Any) -> Reply:
        """Answer POST.

        Raises:
            RequestError: no such path, bad values, or a conflict.
        """
        ...


def json_reply(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """An answer in JSON."""
    return Reply(json.dumps(value).encode(), "application/json", status)


class ReviewServer(ThreadingHTTPServer):
    """Listens on one address; one thread per connection.

    Args:
        host: address to listen on.
        port: 0 chooses a free one.

    Raises:
        UserError: the address or the port cannot be had.
    """

    daemon_threads = True
    routes: Routes

    def __init__(self, host: str, port: int) -> None:
        try:
            self.address_family = socket.getaddrinfo(host, port)[0][0]
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UserError(
                f"--host {host} --port {port}: cannot listen there ({error.strerror or error}); "
                "leave out --port for a free one, and --host for this machine alone"
            ) from error
        self.access = Access(host, self.server_address[1])

    def server_bind(self) -> None:
        """Bind without looking up the machine's full name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        host, port = self.server_address[:2]
        shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(
            str(host), str(host)
        )
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{port}/?token={self.access.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a handler could not answer; a browser that went away is no error."""
        del request
        log.debug("%s: a request ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Lets requests in, asks the routes, writes answers."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server_version, sys_version = "wanctl", ""

    def do_GET(self) -> None:  # the standard library calls it by this name
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  of the standard library
        log.debug("%s", redact(one_line(format % args)))

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        del size
        log.debug("%s %s: %s", self.command, urlsplit(self.path).path, code)

    def _answer(self) -> None:
        try:
            reply = self._reply()
        except RequestError as error:
            reply = json_reply({"error": str(error), **error.more}, error.status)
        except UserError as error:  # a full disk, a damaged table
            reply = json_reply({"error": redact(error.lines[0])}, HTTPStatus.INTERNAL_SERVER_ERROR)
        except Exception as error:  # the page says so, and the others go on
            log.exception("%s: %s", self.command, urlsplit(self.path).path)
            message = f"the server failed ({type(error).__name__}); its log says why"
            reply = json_reply({"error": message}, HTTPStatus.INTERNAL_SERVER_ERROR)
        try:
            self._send(reply)
        except (ConnectionError, TimeoutError):  # the browser wants no more of it
            self.close_connection = True

    def _reply(self) -> Reply:
        assert isinstance(self.server, ReviewServer)
        access, routes, headers = self.server.access, self.server.routes, self.headers
        if not access.knows_host(headers["Host"]):
            self.close_connection = True
            raise RequestError(HTTPStatus.FORBIDDEN, "this server is not known under that name")
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if self.command == "POST":
            body = self._body()
            own = access.same_origin(headers["Origin"], headers["Host"])
            if not (own and access.matches(headers[HEADER])):
                raise _forbidden()
            return routes.post(url.path, body)
        if url.path == "/" and access.matches(query.get("token")):
            cookie = {"Location": "/", "Set-Cookie": access.cookie()}
            return Reply(b"", "text/plain", HTTPStatus.SEE_OTHER, cookie)
        if not access.has_cookie(headers["Cookie"]):
            raise _forbidden()
        return routes.get(url.path, query)

    def _body(self) -> Any:
        """The JSON of a request, read also where it is refused, so that the next one is found."""
        try:
            size = int(self.headers["Content-Length"] or "")
        except ValueError:
            size = -1
        if not 0 <= size <= MAX_BODY_BYTES:
            self.close_connection = True
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
        try:
            return json.loads(self.rfile.read(size))
        except (ValueError, RecursionError):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the request is no JSON") from None

    def _send(self, reply: Reply) -> None:
        body, status = reply.body, reply.status
        size = len(body) if isinstance(body, bytes) else body.stat().st_size
        start, end = 0, size
        more = dict(reply.headers)
        if isinstance(body, Path):
            more["Accept-Ranges"] = "bytes"
            try:
                wanted = byte_range(self.headers["Range"], size)
            except ValueError:
                status, start, end = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
                more["Content-Range"] = f"bytes */{size}"
            else:
                if wanted:
                    start, end = wanted
                    status = HTTPStatus.PARTIAL_CONTENT
                    more["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.send_response(status)
        for name, value in {**HEADERS, **more}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(body, bytes):
            self.wfile.write(body)
            return
        with body.open("rb") as file:
            file.seek(start)
            while start < end and (chunk := file.read(min(_CHUNK, end - start))):
                self.wfile.write(chunk)
                start += len(chunk)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, exclusive end) of a Range header; None for the whole file.

    Several ranges at once are answered with the whole file, as RFC 9110 allows.

    Raises:
        ValueError: no byte of the file is in it.
    """
    match = _RANGE.match((header or "").strip())
    if not match or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= end or start >= size:
        raise ValueError(f"{header}: the file has {size} bytes")
    return start, end


def _forbidden() -> RequestError:
    return RequestError(
        HTTPStatus.FORBIDDEN, "open the address that `wanctl data review` printed; it has the token"
    )
