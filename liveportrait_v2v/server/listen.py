"""Lifecycle of a server: storage, workers, requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from .api import Api
from .config import ServerConfig
from .connections import listen
from .opening import open_stores
from .worker import ProcessWorker, Worker

_POLL_SECONDS = 0.2


async def serve(
    config: ServerConfig,
    stop: Callable[[], bool],
    *,
    on_ready: Callable[[str, int], None] = lambda host, port: None,
    workers: Sequence[Worker] | None = None,
) -> None:
    """Serve until `stop` returns True. Running jobs then wait for the next start.

    Args:
        on_ready: called with host and port once the server listens; with "" and 0 where it only computes.
        workers: compute the jobs; None starts a process for each configured device.

    Raises:
        SettingsError: the engine can't be loaded, or the data directory is not safe.
        StoreError: another server uses the data directory, or the database can't be reached.
        OSError: the address or the data directory can't be used.
    """
    roles = {"api", "worker"} if config.cluster is None else config.cluster.roles
    async with contextlib.AsyncExitStack() as stack:
        stores = open_stores(config, stack.enter_context(contextlib.ExitStack()))
        if "worker" not in roles:
            workers = ()
        elif workers is None:
            starting = asyncio.ensure_future(_start_workers(config, stack))
            stack.push_async_callback(_end, starting)
            while not starting.done():
                if stop():
                    return
                await asyncio.wait({starting}, timeout=_POLL_SECONDS)
            workers = starting.result()
        dispatch = stores.dispatch(workers)
        api = Api(config, stores.jobs, stores.files, dispatch, stores.clock)
        listening = await _listen(config, api, stack) if "api" in roles else None
        working = asyncio.ensure_future(dispatch.run())
        stack.push_async_callback(_end, working)
        if listening is None:
            on_ready("", 0)
        else:
            stack.callback(api.close)
            stack.callback(listening.close)
            on_ready(*listening.sockets[0].getsockname()[:2])
        while not stop() and not working.done():
            await asyncio.sleep(_POLL_SECONDS)
        if working.done():
            await working


async def _listen(config: ServerConfig, api: Api, stack: contextlib.AsyncExitStack) -> asyncio.Server:
    """Begin to answer requests."""
    return await listen(
        api.app(),
        (config.host, config.port),
        stack,
        connections=config.connections,
        request_seconds=config.request_seconds,
        shutdown_seconds=config.grace_seconds,
    )


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
