"""Connections to a server of ours: how many, and what becomes of those that send nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger(f"{__name__}.http")


async def listen(
    app: web.Application,
    address: tuple[str, int],
    stack: contextlib.AsyncExitStack,
    *,
    connections: int,
    request_seconds: float,
    shutdown_seconds: float,
) -> asyncio.Server:
    """Begin to answer requests.

    Args:
        address: host and port; port 0 takes a free one.
        stack: ends what is begun here; the server is the caller's to close.
        connections: maximum number of open connections.
        request_seconds: time limit for the head of a request.
        shutdown_seconds: time that requests have to end.

    Raises:
        OSError: the address can't be used.
    """
    limit = ConnectionLimit(connections, request_seconds)
    app.middlewares.insert(0, limit.seen)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log,
        handle_signals=False,
        shutdown_timeout=shutdown_seconds,
        keepalive_timeout=request_seconds,
        auto_decompress=False,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    server = runner.server
    assert server is not None  # made by setup()
    return await asyncio.get_running_loop().create_server(lambda: limit.admit(server), *address)


class _WithoutRequests(logging.Filter):
    """Filter that reduces aiohttp's errors to their kind: their texts quote malformed requests, keys included."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "an error"
        record.msg, record.args = f"a request was given up: {kind}", ()
        record.exc_info = record.exc_text = None
        return True


_log.addFilter(_WithoutRequests())


class ConnectionLimit:
    """Limit on the number of connections, and on the time until each has sent the head of a request.

    When it is reached, a new connection takes the place of the one that has been idle longest.
    """

    def __init__(self, max_connections: int, seconds: float):
        self._max_connections, self._seconds = max_connections, seconds
        # By connection: the task that handles its last request, None before the first. The longest idle come first.
        self._tasks: dict[web.RequestHandler, asyncio.Task | None] = {}

    def admit(self, server: web.Server) -> asyncio.Protocol:
        if len(server.connections) >= self._max_connections:
            self._tasks = {one: task for one, task in self._tasks.items() if one in server.connections}
            idle = next((one for one, task in self._tasks.items() if task is None or task.done()), None)
            if idle is None:
                return _Refusal()
            self._close(idle)
        handler = server()
        self._tasks[handler] = None
        asyncio.get_running_loop().call_later(self._seconds, self._close_if_silent, handler)
        return handler

    @web.middleware
    async def seen(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._tasks.pop(request.protocol, None)
        self._tasks[request.protocol] = asyncio.current_task()  # it also sends the answer
        return await handler(request)

    def _close_if_silent(self, handler: web.RequestHandler) -> None:
        if self._tasks.get(handler, handler) is None:
            self._close(handler)

    def _close(self, handler: web.RequestHandler) -> None:
        del self._tasks[handler]
        handler.force_close()


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
