"""The operator's port: plain HTTP on this machine alone, to look at a replica and never to change it.

It owns three pages: `/livez` (the reactor turns), `/status` (JSON, what `gridquorum status` shows) and `/metrics`
(Prometheus text). Its rules: it listens on a loopback address or refuses to start; it answers GET and HEAD, in time
that does not grow with the chain. What the figures say is left to `metrics` and `service`.
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.web.http import NOT_ALLOWED, Request
from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import Site

REQUEST_SECONDS_MAX = 10.0  # an idle or dribbling connection is closed
BACKLOG_MAX = 16  # connections not yet accepted: an operator's tools, no crowd


class _Root(Resource):
    """The pages, and an answer without a page for every other path."""

    def getChild(self, path: bytes, request: Request) -> Any:  # noqa: N802 - twisted.web's name
        """There is nothing below a page, nor beside the pages."""
        return notFound()


class _Page(_Root):
    """One path, computed at every request."""

    def __init__(self, content_type: str, compute: Callable[[], bytes]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # twisted.web has no types
        self._content_type = content_type
        self._compute = compute

    def render(self, request: Request) -> Any:
        """The page for GET and HEAD; this port is for looking, so anything else is told so."""
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(NOT_ALLOWED)
            request.setHeader(b"allow", b"GET, HEAD")  # type: ignore[no-untyped-call]
            return b"this port answers GET and HEAD\n"
        return super().render(request)  # type: ignore[no-untyped-call]

    def render_GET(self, request: Request) -> bytes:  # noqa: N802 - twisted.web's name
        """The page."""
        request.setHeader(b"content-type", self._content_type.encode("ascii"))  # type: ignore[no-untyped-call]
        request.setHeader(b"cache-control", b"no-store")  # type: ignore[no-untyped-call]
        return self._compute()


def make_site(*, status: Callable[[], Mapping[str, Any]], metrics_text: Callable[[], bytes]) -> Site:
    """The three pages. `status` gives a JSON object, `metrics_text` the Prometheus text."""
    root: Any = _Root()  # type: ignore[no-untyped-call]
    root.putChild(b"livez", _Page("text/plain; charset=utf-8", lambda: b"live\n"))
    root.putChild(b"status", _Page("application/json", lambda: json.dumps(status()).encode() + b"\n"))
    root.putChild(b"metrics", _Page("text/plain; version=0.0.4; charset=utf-8", metrics_text))
    site = Site(root, timeout=REQUEST_SECONDS_MAX)  # type: ignore[no-untyped-call]
    site.displayTracebacks = False
    return site


def listen_ops(reactor: Any, host: str, port: int, site: Site) -> IListeningPort:
    """Listen on a loopback address; ValueError for any other, `CannotListenError` for a port that is taken."""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"the ops port listens on this machine alone: expected a loopback address, got {host}")
    listening: IListeningPort = reactor.listenTCP(port, site, backlog=BACKLOG_MAX, interface=host)
    return listening
