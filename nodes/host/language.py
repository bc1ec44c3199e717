"""Which language a user reads: the one in which the page that asks shows the nodes.

`web/js/language.js` sends it: with each request of its own, and once for the page's client id, which ComfyUI knows a
run by. Runs that no page has queued are in English.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ..messages import LANGUAGES, translate

if TYPE_CHECKING:
    from aiohttp import web

ENGLISH = "en"
_KEPT = 1000
"""Pages whose language is kept."""
_pages: OrderedDict[str, str] = OrderedDict()
_asked: ContextVar[str | None] = ContextVar("language", default=None)
"""Language of the request that is being answered; None in a run."""


def shown(text: str) -> str:
    """Return a text in the language of the request that is being answered, or else of the run."""
    return translate(text, _current())


def _current() -> str:
    from server import PromptServer

    client = getattr(PromptServer.instance, "client_id", None) or ""
    return _asked.get() or _pages.get(client, ENGLISH)


def answering(
    handle: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a route's handler that answers in the language of the request's Accept-Language."""

    async def handler(request: web.Request) -> web.Response:
        _asked.set(_known(request.headers.get("Accept-Language")))
        return await handle(request)

    return handler


def keep(client: str, language: str) -> None:
    """Keep the language of a page."""
    _pages[client] = _known(language)
    _pages.move_to_end(client)
    while len(_pages) > _KEPT:
        _pages.popitem(last=False)


def of_prompt(asked: dict[str, Any]) -> dict[str, Any]:
    """Take the language in which a prompt's nodes are validated, from the page that sends it; return the prompt."""
    client = asked.get("client_id")
    _asked.set(_pages.get(client, ENGLISH) if isinstance(client, str) else ENGLISH)
    return asked


def _known(language: str | None) -> str:
    return language if language in LANGUAGES else ENGLISH
