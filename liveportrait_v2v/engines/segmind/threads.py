"""Asynchronous work run from synchronous code until it ends or the caller stops it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
# Interval of `cancelled`; half a second is documented.
_POLL_SECONDS = 0.1


class DaemonThreadExecutor(ThreadPoolExecutor):
    """Executor with one daemon thread per call, never joined.

    A DNS lookup can block for minutes, and the usual executor joins its threads.
    """

    def submit(self, function, /, *arguments, **named) -> Future:
        future: Future = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                result = function(*arguments, **named)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, daemon=True).start()
        return future


async def _unless(
    work: Coroutine[Any, Any, T],
    cancelled: Callable[[], bool] | None,
    stopped: Callable[[], Exception],
) -> T:
    task = asyncio.ensure_future(work)
    try:
        while True:
            await asyncio.wait({task}, timeout=_POLL_SECONDS)
            if task.done():
                return task.result()
            if cancelled is not None and cancelled():
                task.cancel()
                await asyncio.wait({task})
                if task.cancelled():
                    raise stopped()
                return task.result()
    finally:
        task.cancel()


def run_unless(
    work: Coroutine[Any, Any, T],
    cancelled: Callable[[], bool] | None,
    stopped: Callable[[], Exception],
) -> T:
    """Run work on a new event loop in the calling thread, which must not have one.

    All tasks that it started are cancelled and finished before this returns or raises.

    Args:
        cancelled: polled ten times a second; True cancels the work and raises the error of `stopped`.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(DaemonThreadExecutor())
    try:
        return loop.run_until_complete(_unless(work, cancelled, stopped))
    finally:
        # Tasks are still running after a KeyboardInterrupt or an error of a callback.
        loop.run_until_complete(_end(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _end(tasks: set[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
