"""Route to which a page sends its language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import language, routes

if TYPE_CHECKING:
    from aiohttp import web

ROUTE = "/liveportrait-v2v/language"


def add_route() -> None:
    """Add the route to which a page sends its client id and its language; note who asks for a run, too."""
    from aiohttp import web
    from server import PromptServer

    async def handle(request: web.Request) -> web.Response:
        try:
            body = await request.json()
            client, name = body["client"], body["language"]
        except (ValueError, LookupError, TypeError, RecursionError):
            client = name = None
        if not isinstance(client, str) or not isinstance(name, str) or len(client) > 100:
            raise web.HTTPBadRequest(text='send JSON such as {"client": "…", "language": "zh"}')
        language.keep(client, name)
        return web.json_response({})

    routes.add("post", ROUTE, handle)
    if getattr(PromptServer, "instance", None) is not None:
        PromptServer.instance.add_on_prompt_handler(language.of_prompt)
