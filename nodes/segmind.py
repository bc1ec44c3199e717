"""Shared parts of the nodes for the hosted model, and the HTTP route that stores its key."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..liveportrait_v2v.errors import LivePortraitError
from .host import language, paths, reports, routes

if TYPE_CHECKING:
    from aiohttp import web

    from ..liveportrait_v2v.engines.segmind import SegmindEngine

ROUTE = "/liveportrait-v2v/segmind-key"
PRICE_ROUTE = "/liveportrait-v2v/segmind-price"
HOSTS = "LPV2V_ALLOWED_HOSTS"
"""Variable with the host names, separated by commas, under which the key may be stored."""
_EXPECTED = 'send JSON such as {"key": "…"}'


def deadline() -> io.Input:
    """Return the input for the number of seconds to wait."""
    return io.Float.Input(
        "deadline",
        default=900.0,
        min=10.0,
        max=86400.0,
        step=1.0,
        advanced=True,
        tooltip="Seconds to wait. After that the job continues: run the node again to pick it up at no further cost.",
    )


def make_engine(
    deadline: float, seed: int = 0, max_cost: float = 0.0, max_cost_per_day: float = 0.0
) -> SegmindEngine:
    """Create the engine, with its journal and key in ComfyUI's system user folder, which is never served over HTTP.

    If that folder has no key, the one that the command stored is used.

    Args:
        deadline: seconds to wait.
        seed: another number orders the same job again.
        max_cost, max_cost_per_day: USD, 0 = no limit.

    Raises:
        LivePortraitError: httpx is not installed.
    """
    try:
        from ..liveportrait_v2v.engines.segmind import SegmindEngine, SpendingLimits, keys
    except ModuleNotFoundError as error:
        raise LivePortraitError(
            f"the Segmind nodes need the package {error.name}, which is not installed: run pip install -r "
            "requirements.txt in the pack's folder, with ComfyUI's Python"
        ) from error

    folder = paths.system_folder()
    key_folder = folder if (folder / keys.FILE).exists() else None
    limits = SpendingLimits(max_cost or None, max_cost_per_day or None)
    return SegmindEngine(
        folder=folder / "segmind", key_folder=key_folder, seed=seed, limits=limits, deadline=deadline
    )


def add_route() -> None:
    """Add the routes that store the API key and tell a job's price to ComfyUI's server."""
    routes.add("post", ROUTE, store_key)
    routes.add("get", PRICE_ROUTE, tell_price)


async def store_key(request: web.Request) -> web.Response:
    """Store the API key of a POST request from one of the server's own pages.

    Its JSON is {"key": "…"}, or {"remove": true}, which removes it; {} does nothing. The response only contains whether
    a key is configured.
    """
    from aiohttp import web

    from ..liveportrait_v2v.engines.segmind import keys
    from ..liveportrait_v2v.web import is_trusted_host

    if not is_trusted_host(request.headers.get("Host", ""), os.environ.get(HOSTS, "").split(",")):
        raise web.HTTPForbidden(
            text=language.shown(
                f"the key is stored under localhost or an IP address only; to allow a name, list it in {HOSTS}"
            )
        )
    routes.check_sender(request)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send JSON")
    try:
        body = await request.json()
        key, remove = body.get("key"), body.get("remove") is True
    except (ValueError, AttributeError, LookupError, RecursionError):
        raise web.HTTPBadRequest(text=_EXPECTED) from None
    if key is not None and not isinstance(key, str):
        raise web.HTTPBadRequest(text=_EXPECTED)
    folder = paths.system_folder()
    try:
        if remove:
            keys.remove_key(folder)
        elif key is not None:
            keys.ApiKey(key.strip()).save(folder)
        found = keys.find_key(folder) or keys.find_key(keys.default_folder())
    except LivePortraitError as error:
        raise web.HTTPBadRequest(text=reports.message(error)) from None
    return web.json_response({"configured": found is not None})


async def tell_price(_: web.Request) -> web.Response:
    """Return the price of a job."""
    from aiohttp import web

    return web.json_response({"usd": await asyncio.to_thread(_price)})


def _price() -> float:
    """Return the price of a job in USD: the last one that the journal has, else the usual one."""
    from ..liveportrait_v2v.engines.segmind.endpoints import Endpoints
    from ..liveportrait_v2v.engines.segmind.journal import FILE, USUAL_COST, Journal

    folder = paths.system_folder() / "segmind"
    if not (folder / FILE).exists():
        return USUAL_COST
    with closing(Journal(folder, time.time)) as journal:
        return journal.expected_cost(Endpoints.of().base)
