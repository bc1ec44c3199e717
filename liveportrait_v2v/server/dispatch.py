"""Dispatch of waiting jobs to the workers of this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..deadlines import Clock, Deadline, OutOfTime
from .config import ServerConfig
from .files import FileStore
from .jobs import Job, JobStore, SqliteJobs, StoreError
from .work import Work, reason_of, stored
from .worker import Worker

_log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_SWEEP_SECONDS = 60.0


class Dispatcher(Protocol):
    """Dispatcher of waiting jobs to workers."""

    def wake(self) -> None:
        """Announce a new job, so that a free worker takes it before its next poll."""

    async def run(self) -> None:
        """Dispatch until cancelled; running jobs then go back to the queue."""


class LocalDispatch:
    """Dispatcher to this process's own workers, in order of arrival."""

    def __init__(
        self,
        config: ServerConfig,
        jobs: SqliteJobs,
        files: FileStore,
        workers: Sequence[Worker],
        clock: Clock,
    ):
        self._config, self._jobs, self._files, self._workers = config, jobs, files, workers
        self._clock = clock
        self._work = Work(config, files)
        self._new = asyncio.Event()

    def wake(self) -> None:
        self._new.set()

    async def run(self) -> None:
        await run_all(
            *(self._serve(worker) for worker in self._workers),
            sweep(self._config, self._jobs, self._files, self._clock),
        )

    async def _serve(self, worker: Worker) -> None:
        try:
            while True:
                job = await stored(self._jobs.claim)
                if job is not None:
                    await self._do(job, worker)
                    continue
                with suppress(OutOfTime):
                    await Deadline(_POLL_SECONDS).wait(self._new.wait())
                self._new.clear()
        finally:
            await worker.close()

    async def _do(self, job: Job, worker: Worker) -> None:
        _log.info("job %s started", job.id)
        try:
            output = await self._work.compute(job, worker)
        except asyncio.CancelledError:
            with suppress(StoreError):  # the next start recovers the job, too
                self._jobs.requeue(job)
            _log.info("job %s is requeued", job.id)
            raise
        except Exception as error:
            reason = reason_of(error, job)
            await stored(lambda: self._jobs.finish(job, error=reason))
            _log.info("job %s failed: %s", job.id, ascii(reason))
        else:
            await stored(lambda: self._jobs.finish(job, output=output))
            _log.info("job %s completed", job.id)


async def run_all(*parts: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one of them fails or this one is cancelled; all have ended then."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sweep(config: ServerConfig, jobs: JobStore, files: FileStore, clock: Clock) -> None:
    """Delete expired files and forget old jobs, again and again."""
    while True:
        try:
            await asyncio.to_thread(files.expire)
            await asyncio.to_thread(jobs.forget, clock.time() - config.history_seconds)
        except (OSError, StoreError) as error:
            _log.error("%s", error)
        await asyncio.sleep(_SWEEP_SECONDS)
