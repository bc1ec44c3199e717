"""Asynchronous work run to its end from synchronous code, or until the caller asks to stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
# How often the caller is asked. Half a second is promised.
_POLL_SECONDS = 0.1


class DaemonThreadExecutor(ThreadPoolExecutor):
    """A daemon thread for each call, never joined.

    A look-up of a name can hang for longer than anyone wants to wait; the usual executor's threads are joined.
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
    """Run the work on an event loop of its own in the calling thread, which must not have one.

    Whatever ends it, all that it started is cancelled and has come to its end before this returns.

    Args:
        cancelled: asked ten times a second; once it says True, the work is cancelled and what `stopped` makes raised.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(DaemonThreadExecutor())
    try:
        return loop.run_until_complete(_unless(work, cancelled, stopped))
    finally:
        # What is left was interrupted from outside, by a KeyboardInterrupt or by what a callback raised.
        loop.run_until_complete(_end(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _end(tasks: set[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
