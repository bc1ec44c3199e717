"""What Load Model would find: said on the node as soon as it is in a graph, before anything runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .host import language, paths, reports, routes
from .load_model import MODEL_TYPES

if TYPE_CHECKING:
    from aiohttp import web

ROUTE = "/liveportrait-v2v/weights"


def add_route() -> None:
    """Add the route that says whether the weights are there: a GET request with Load Model's widgets as the query."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        chosen = request.query.get("weights", "auto")
        if chosen not in ("auto", *map(str, paths.model_folders())):
            raise web.HTTPBadRequest(text="weights: send a choice of Load Model")
        model = request.query.get("model_type", "humans")
        if model not in MODEL_TYPES:
            raise web.HTTPBadRequest(text="model_type: send a choice of Load Model")
        text = await asyncio.to_thread(_missing, chosen, model)
        if text and request.query.get("download") == "true":
            text = language.shown("the next run downloads the weights: 520 MB")
            return web.json_response({"text": text, "error": False})
        return web.json_response({"text": text, "error": bool(text)})

    routes.add("get", ROUTE, handle)


def _missing(chosen: str, model: str) -> str:
    """Return what is missing and what to do, or an empty text."""
    from ..liveportrait_v2v.engines.liveportrait.weights import WeightsError, find_weights

    try:
        find_weights(paths.model_folders() if chosen == "auto" else [chosen], model)
    except WeightsError as error:
        return reports.message(error)
    return ""
