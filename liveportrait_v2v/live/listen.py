"""Lifecycle of the live page's server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ..engines.base import Engine
from ..server.connections import listen
from .app import LiveApp
from .config import LiveConfig
from .looped import LoopedSource
from .tracking import CameraTracker

_POLL_SECONDS = 0.2


async def serve_live(
    config: LiveConfig,
    engine: Engine,
    source: LoopedSource,
    stop: Callable[[], bool],
    *,
    tracker: CameraTracker | None = None,
    on_ready: Callable[[str, int], None] = lambda host, port: None,
) -> None:
    """Serve the page until `stop` returns True.

    Args:
        tracker: as in `LiveApp`; closed at the end.
        on_ready: called with host and port once the server listens.

    Raises:
        OSError: the address can't be used.
    """
    live = LiveApp(config, engine, source, tracker)
    async with contextlib.AsyncExitStack() as stack:
        listening = await listen(
            live.app(),
            (config.host, config.port),
            stack,
            connections=config.connections,
            request_seconds=config.request_seconds,
            shutdown_seconds=1.0,
        )
        if tracker is not None:
            stack.callback(tracker.close)  # threads may wait for it
        stack.push_async_callback(live.close)
        stack.callback(listening.close)
        host, port = listening.sockets[0].getsockname()[:2]
        on_ready(host, port)
        while not stop():
            await asyncio.sleep(_POLL_SECONDS)
