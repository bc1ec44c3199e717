"""What the nodes of the hosted model have in common, and the route that stores its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import host

if TYPE_CHECKING:
    from aiohttp import web

    from ..liveportrait_v2v.engines.segmind import SegmindEngine

ROUTE = "/liveportrait-v2v/segmind-key"


def deadline() -> io.Input:
    return io.Float.Input(
        "deadline",
        default=900.0,
        min=10.0,
        max=86400.0,
        step=1.0,
        advanced=True,
        tooltip="Seconds to wait. The job goes on after them: running the node again picks it up, at no further cost.",
    )


def make_engine(
    deadline: float, seed: int = 0, max_cost: float = 0.0, max_cost_per_day: float = 0.0
) -> SegmindEngine:
    """The engine with its journal and key where ComfyUI keeps what no web page is to see.

    A key that `liveportrait-v2v key set` stored serves where that folder has none.

    Args:
        deadline: seconds to wait.
        seed: another number orders the same job anew.
        max_cost, max_cost_per_day: USD, 0 = no limit.

    Raises:
        LivePortraitError: httpx is not installed.
    """
    from ..liveportrait_v2v.errors import LivePortraitError

    try:
        from ..liveportrait_v2v.engines.segmind import SegmindEngine, SpendingLimits, keys
    except ModuleNotFoundError as error:
        raise LivePortraitError(
            f"the Segmind nodes need the package {error.name}, which is not installed: run pip install -r "
            "requirements.txt in the pack's folder, with ComfyUI's Python"
        ) from error

    folder = host.system_folder()
    key_folder = folder if (folder / keys.FILE).exists() else None
    limits = SpendingLimits(max_cost or None, max_cost_per_day or None)
    return SegmindEngine(
        folder=folder / "segmind", key_folder=key_folder, seed=seed, limits=limits, deadline=deadline
    )


def add_route() -> None:
    """Has ComfyUI's server store a key: POST {"key": "…"} as JSON from a page of its own. Without a key in it, the
    request only asks. The answer says whether a key is configured, and nothing else.
    """
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        from ..liveportrait_v2v.engines.segmind import keys
        from ..liveportrait_v2v.errors import LivePortraitError

        if not _same_origin(request):
            raise web.HTTPForbidden(text="only pages of this server may do this")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send JSON")
        try:
            body = await request.json()
            key = body.get("key")
        except (ValueError, AttributeError):
            raise web.HTTPBadRequest(text='send JSON such as {"key": "…"}') from None
        folder = host.system_folder()
        try:
            if key is not None:
                keys.ApiKey(str(key).strip()).save(folder)
            found = keys.find_key(folder) or keys.find_key(keys.default_folder())
        except LivePortraitError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response({"configured": found is not None})

    host.add_post_route(ROUTE, handle)


def _same_origin(request: web.Request) -> bool:
    """Whether the page that sends is this server's: browsers say so in either header, and no page can change them."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] == request.headers.get("Host")
