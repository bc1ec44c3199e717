"""Dispatch of jobs: download of the clips, computation by a worker, storage of the result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..deadlines import Clock, Deadline, OutOfTime
from ..errors import LivePortraitError
from ..web import fetch_to_file
from .config import ServerConfig
from .files import Files, NoSpace
from .jobs import Job, JobStore, StoreError
from .worker import JobFailed, Task, Worker, WorkerTrouble

_log = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_RETRY_WAITS_SECONDS = (0.0, 2.0, 10.0, 30.0)
_SWEEP_SECONDS = 60.0


class Dispatch:
    """Dispatcher of waiting jobs to free workers, in order of arrival."""

    def __init__(
        self, config: ServerConfig, jobs: JobStore, files: Files, workers: Sequence[Worker], clock: Clock
    ):
        self._clock = clock
        self._config, self._jobs, self._files, self._workers = config, jobs, files, workers
        self._new = asyncio.Event()

    def wake(self) -> None:
        """Announce a new job, so that a free worker takes it before its next poll."""
        self._new.set()

    async def run(self) -> None:
        """Dispatch until cancelled; running jobs then go back to the queue."""
        tasks = [asyncio.ensure_future(self._serve(worker)) for worker in self._workers]
        tasks.append(asyncio.ensure_future(self._sweep()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, worker: Worker) -> None:
        try:
            while True:
                job = await self._stored(self._jobs.claim)
                if job is not None:
                    await self._work(job, worker)
                    continue
                with suppress(OutOfTime):
                    await Deadline(_POLL_SECONDS).wait(self._new.wait())
                self._new.clear()
        finally:
            await worker.close()

    async def _work(self, job: Job, worker: Worker) -> None:
        _log.info("job %s started", job.id)
        try:
            output = await self._computed(job, worker)
        except asyncio.CancelledError:
            with suppress(StoreError):  # the next start recovers the job, too
                self._jobs.requeue(job.id)
            _log.info("job %s is requeued", job.id)
            raise
        except LivePortraitError as error:
            reason = str(error)
        except OSError as error:
            reason = f"the server can't handle the files: {error.strerror or type(error).__name__}"
        except Exception as error:
            _log.exception("job %s", job.id)
            reason = f"internal error ({type(error).__name__})"
        else:
            await self._stored(lambda: self._jobs.finish(job.id, output=output))
            _log.info("job %s completed", job.id)
            return
        await self._stored(lambda: self._jobs.finish(job.id, error=reason))
        _log.info("job %s failed: %s", job.id, ascii(reason))

    async def _computed(self, job: Job, worker: Worker) -> str:
        """Compute a job, and again where it was the server that failed."""
        for seconds in _RETRY_WAITS_SECONDS:
            try:
                return await self._compute(job, worker)
            except (WorkerTrouble, NoSpace, OSError) as error:
                _log.warning("job %s is tried again in %g s: %s", job.id, seconds, ascii(str(error)))
            await asyncio.sleep(seconds)
        return await self._compute(job, worker)

    async def _compute(self, job: Job, worker: Worker) -> str:
        # Both clips and the result.
        with self._files.workplace(3 * self._config.clip_bytes) as place:
            source = await self._clip(job.source, place / "source", "input_video")
            driving = await self._clip(job.driving, place / "driving", "driving_video")
            result = place / "result.mp4"
            await worker.run(Task(source, driving, result, job.settings))
            return self._files.add(result, result.suffix)

    async def _clip(self, location: str, path: Path, parameter: str) -> Path:
        """Return the file of a clip: the server's own, or the one at a URL, downloaded to `path`."""
        if "/" not in location:
            found = self._files.find(location)
            if found is None:
                raise JobFailed(f"{parameter}: the uploaded file has expired; upload it again")
            return found
        try:
            await fetch_to_file(
                location,
                path,
                max_bytes=self._config.clip_bytes,
                deadline=Deadline(self._config.transfer_seconds),
                allow_loopback=self._config.allow_loopback,
            )
        except LivePortraitError as error:
            raise JobFailed(f"{parameter}: {error}") from error
        return path

    async def _stored(self, call: Callable[[], Job | None]) -> Job | None:
        """Call the job store and retry until it succeeds, so that a full disk loses no job."""
        while True:
            try:
                return await asyncio.shield(asyncio.to_thread(call))
            except StoreError as error:
                _log.error("%s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _sweep(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._files.expire)
                await asyncio.to_thread(self._jobs.forget, self._clock.time() - self._config.history_seconds)
            except (OSError, StoreError) as error:
                _log.error("%s", error)
            await asyncio.sleep(_SWEEP_SECONDS)
