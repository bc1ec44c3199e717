"""Lifecycle of a server: storage, workers, connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from aiohttp import web

from ..deadlines import SteadyClock
from .api import Api, Handler
from .config import ServerConfig
from .dispatch import Dispatch
from .files import Files
from .jobs import SqliteJobs
from .worker import ProcessWorker, Worker

_POLL_SECONDS = 0.2
_log = logging.getLogger(f"{__name__}.http")


async def serve(
    config: ServerConfig,
    stop: Callable[[], bool],
    *,
    on_ready: Callable[[str, int], None] = lambda host, port: None,
    workers: Sequence[Worker] | None = None,
) -> None:
    """Serve until `stop` returns True. Running jobs then wait for the next start.

    Args:
        on_ready: called with host and port once the server listens.
        workers: compute the jobs; None starts a process for each configured device.

    Raises:
        SettingsError: the engine can't be loaded, or the data directory is not safe.
        StoreError: another server uses the data directory.
        OSError: the address or the data directory can't be used.
    """
    clock = SteadyClock()
    files = Files(config.data, quota=config.quota_bytes, lifetime=config.file_seconds, clock=clock)
    jobs = SqliteJobs(config.data / "jobs.sqlite3", config.queue, clock)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(jobs.close)
        # The store's lock is held: no other server uses this directory.
        files.clear_work()
        if workers is None:
            starting = asyncio.ensure_future(_start_workers(config, stack))
            stack.push_async_callback(_end, starting)
            while not starting.done():
                if stop():
                    return
                await asyncio.wait({starting}, timeout=_POLL_SECONDS)
            workers = starting.result()
        dispatch = Dispatch(config, jobs, files, workers, clock)
        api = Api(config, jobs, files, dispatch, clock)
        limit = ConnectionLimit(config.connections, config.request_seconds)
        app = api.app()
        app.middlewares.insert(0, limit.seen)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_log,
            handle_signals=False,
            shutdown_timeout=config.grace_seconds,
            keepalive_timeout=config.request_seconds,
            auto_decompress=False,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        server = runner.server
        assert server is not None  # made by setup()
        listening = await asyncio.get_running_loop().create_server(
            lambda: limit.admit(server), config.host, config.port
        )
        working = asyncio.ensure_future(dispatch.run())
        stack.push_async_callback(_end, working)
        stack.callback(api.close)
        stack.callback(listening.close)
        host, port = listening.sockets[0].getsockname()[:2]
        on_ready(host, port)
        while not stop() and not working.done():
            await asyncio.sleep(_POLL_SECONDS)
        if working.done():
            await working


async def _start_workers(config: ServerConfig, stack: contextlib.AsyncExitStack) -> list[ProcessWorker]:
    workers = []
    for device in config.devices:
        worker = ProcessWorker(
            config.engine,
            device,
            start_seconds=config.start_seconds,
            job_seconds=config.job_seconds,
            grace_seconds=config.grace_seconds,
            max_bytes=config.clip_bytes,
        )
        stack.push_async_callback(worker.close)
        workers.append(worker)
    starts = [asyncio.ensure_future(worker.start()) for worker in workers]
    try:
        await asyncio.gather(*starts)
    finally:
        await asyncio.gather(*(_end(start) for start in starts))
    return workers


async def _end(task: asyncio.Future) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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
