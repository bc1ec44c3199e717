"""Work on a job, wherever it came from: download of the clips, computation by a worker, storage of the result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from ..deadlines import Deadline
from ..errors import LivePortraitError
from ..web import fetch_to_file
from .config import ServerConfig
from .files import FilesAway, FileStore, NoSpace
from .jobs import Job, StoreError
from .worker import JobFailed, Task, Worker, WorkerTrouble

T = TypeVar("T")
_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_RETRY_WAITS_SECONDS = (0.0, 2.0, 10.0, 30.0)


class Work:
    """Work on one job after the other, for any number of workers at once."""

    def __init__(self, config: ServerConfig, files: FileStore):
        self._config, self._files = config, files

    async def compute(
        self, job: Job, worker: Worker, report: Callable[[int, int], None] = lambda done, total: None
    ) -> str:
        """Compute a job, and again where it was the server that failed.

        Args:
            report: called with the frames that are done and those in all.

        Returns:
            name of the result's file.

        Raises:
            Exception: the job failed; `reason_of` has the words for the client.
        """
        for seconds in _RETRY_WAITS_SECONDS:
            try:
                return await self._compute(job, worker, report)
            except (WorkerTrouble, NoSpace, FilesAway, StoreError, OSError) as error:
                _log.warning("job %s is tried again in %g s: %s", job.id, seconds, ascii(str(error)))
            await asyncio.sleep(seconds)
        return await self._compute(job, worker, report)

    async def _compute(self, job: Job, worker: Worker, report: Callable[[int, int], None]) -> str:
        # Both clips and the result.
        with self._files.workplace(3 * self._config.clip_bytes) as place:
            async with (
                self._clip(job.source, place / "source", "input_video") as source,
                self._clip(job.driving, place / "driving", "driving_video") as driving,
            ):
                result = place / "result.mp4"
                await worker.run(Task(source, driving, result, job.settings, report))
                return await self._files.add(result, result.suffix)

    @asynccontextmanager
    async def _clip(self, location: str, path: Path, parameter: str) -> AsyncIterator[Path]:
        """Context manager of a clip's file: the server's own, or the one at a URL, downloaded to `path`."""
        if "/" not in location:
            async with self._files.find(location) as found:
                if found is None:
                    raise JobFailed(f"{parameter}: the uploaded file has expired; upload it again")
                yield found
            return
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
        yield path


def reason_of(error: Exception, job: Job) -> str:
    """Return why a job failed, in words for the client; the log gets what is unexpected."""
    if isinstance(error, LivePortraitError):
        return str(error)
    if isinstance(error, OSError):
        return f"the server can't handle the files: {error.strerror or type(error).__name__}"
    _log.error("job %s", job.id, exc_info=error)
    return f"internal error ({type(error).__name__})"


async def stored(call: Callable[[], T]) -> T:
    """Call the job store and retry until it succeeds, so that a full disk loses no job."""
    while True:
        try:
            return await asyncio.shield(asyncio.to_thread(call))
        except StoreError as error:
            _log.error("%s", error)
            await asyncio.sleep(_RETRY_SECONDS)
