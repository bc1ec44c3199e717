"""Routes on ComfyUI's server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from . import language

if TYPE_CHECKING:
    from aiohttp import web


def add(method: str, path: str, handle: Callable[[web.Request], Awaitable[web.Response]]) -> None:
    """Register a route, "post" or "get"; no-op without a server."""
    from server import PromptServer

    if getattr(PromptServer, "instance", None) is not None:
        getattr(PromptServer.instance.routes, method)(path)(language.answering(handle))


def check_sender(request: web.Request) -> None:
    """Check that a page of this server sent the request, by headers that browsers set and pages can't change.

    Raises:
        HTTPForbidden: another one did.
    """
    from aiohttp import web

    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    own = origin is not None and origin.partition("://")[2] == request.headers.get("Host")
    if site != "same-origin" if site is not None else not own:
        raise web.HTTPForbidden(text="only pages of this server may do this")
