"""Dispatch by Procrastinate: each worker takes the next entry of its queues, wherever it runs."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import cycle

import psycopg
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as Entry
from procrastinate.jobs import Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg.rows import dict_row

from ...deadlines import Clock, Deadline, OutOfTime, to_the_end
from ..config import ClusterConfig, ServerConfig
from ..dispatch import run_all, sweep
from ..files import FilesAway, FileStore, NoSpace
from ..jobs import Job, StoreError
from ..work import Work, reason_of, stored
from ..worker import Worker, WorkerDied, WorkerTrouble
from .database import OPTIONS, Database
from .jobs import TASK, PostgresJobs

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_NEVER_SECONDS = 10 * 365 * 86400.0
_BEAT = "SELECT procrastinate_update_heartbeat_v1(id) FROM procrastinate_workers WHERE id = %s"


class ProcrastinateDispatch:
    """Dispatcher to this process's workers, which share the queue with those of other machines.

    A server that answers requests also looks for jobs of workers that have gone silent.
    """

    def __init__(
        self,
        config: ServerConfig,
        cluster: ClusterConfig,
        database: Database,
        jobs: PostgresJobs,
        files: FileStore,
        workers: Sequence[Worker],
        clock: Clock,
    ):
        self._config, self._cluster, self._database = config, cluster, database
        self._jobs, self._files, self._workers, self._clock = jobs, files, workers, clock
        self._work = Work(config, files)

    def wake(self) -> None:
        """Do nothing: PostgreSQL announces new entries itself."""

    async def run(self) -> None:
        """Dispatch until cancelled.

        Running jobs then have `drain_seconds` to end; after that they go back to the queue.
        """
        parts = [
            self._serve(worker, f"{socket.gethostname()}:{os.getpid()} {device}")
            for worker, device in zip(self._workers, cycle(self._config.devices), strict=False)
        ]
        if "api" in self._cluster.roles:
            parts += [sweep(self._config, self._jobs, self._files, self._clock), self._recover()]
        await run_all(*parts)

    async def _serve(self, worker: Worker, name: str) -> None:
        try:
            while True:
                try:
                    await self._take_entries(worker, name)
                except (_Forgotten, ConnectorException, psycopg.Error) as error:
                    _log.error("the worker registers again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await to_the_end(worker.close())

    async def _take_entries(self, worker: Worker, name: str) -> None:
        connector = PsycopgConnector(
            conninfo=self._database.url,
            min_size=1,
            max_size=3,
            timeout=10,
            reconnect_timeout=0,
            kwargs={**OPTIONS, "row_factory": dict_row},
        )
        app = App(connector=connector)
        queues = self._cluster.queues(self._config.engine)
        app.job_manager = _Manager(connector, self._jobs, name, queues)

        @app.task(name=TASK, pass_context=True)
        async def animate(context: JobContext, job_id: str) -> None:
            await self._do(context, job_id, worker)

        async with app.open_async():
            taking = asyncio.ensure_future(
                app.run_worker_async(
                    queues=queues,
                    name=name,
                    concurrency=1,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=self._cluster.poll_seconds,
                    abort_job_polling_interval=self._cluster.poll_seconds,
                    shutdown_graceful_timeout=self._cluster.drain_seconds,
                    update_heartbeat_interval=self._cluster.heartbeat_seconds,
                    # Workers that look dead after an outage are not: `_recover` waits for their heartbeats.
                    stalled_worker_timeout=_NEVER_SECONDS,
                )
            )
            try:
                await asyncio.shield(taking)
            except asyncio.CancelledError:
                # Once: a second cancellation would cut its orderly end short.
                taking.cancel()
                await to_the_end(asyncio.wait({taking}))
                if not taking.cancelled():
                    taking.exception()  # which asyncio would report as never seen
                raise

    async def _do(self, context: JobContext, job_id: str, worker: Worker) -> None:
        entry, number = context.job.id, context.job.worker_id
        assert entry is not None
        assert number is not None
        job: Job | None = None

        def begin() -> None:
            nonlocal job
            job = self._jobs.begin(job_id, entry, number)

        try:
            await self._settled(begin)
            if job is not None:
                await self._attempt(job, worker)
        except asyncio.CancelledError:
            if job is not None:
                current = job
                await self._settled(lambda: self._jobs.requeue(current))
                _log.info("job %s is stopped", current.id)
            raise

    async def _attempt(self, job: Job, worker: Worker) -> None:
        """Compute a job and end this attempt, unless another one has replaced it."""
        _log.info("job %s started, attempt %d", job.id, job.attempt)
        try:
            output = await self._compute(job, worker)
        except _Replaced:
            _log.warning("job %s was given to another worker", job.id)
        except WorkerDied as error:
            _log.warning("job %s loses an attempt: %s", job.id, ascii(str(error)))
            await self._settled(lambda: self._jobs.lose(job))
        except (WorkerTrouble, NoSpace, FilesAway, StoreError, OSError) as error:
            reason = reason_of(error, job)
            _log.warning("job %s loses an attempt: %s", job.id, ascii(reason))
            await self._settled(lambda: self._jobs.lose(job, reason))
        except Exception as error:
            failure = reason_of(error, job)
            _log.info("job %s failed: %s", job.id, ascii(failure))
            await self._settled(lambda: self._jobs.finish(job, error=failure))
        else:
            await self._publish(job, output)

    async def _compute(self, job: Job, worker: Worker) -> str:
        share = told = 0.0

        def report(done: int, total: int) -> None:
            nonlocal share
            share = done / max(total, 1)

        computing = asyncio.ensure_future(self._work.compute(job, worker, report))
        try:
            while not (await asyncio.wait({computing}, timeout=self._cluster.heartbeat_seconds))[0]:
                if share != told:
                    told = share
                    if not await self._is_current(job, share):
                        raise _Replaced
            return computing.result()
        except (asyncio.CancelledError, _Replaced):
            computing.cancel()
            await to_the_end(asyncio.wait({computing}))
            if not computing.cancelled() and computing.exception() is None:
                await self._remove(computing.result())
            raise

    async def _is_current(self, job: Job, share: float) -> bool:
        try:
            return await asyncio.to_thread(self._jobs.set_progress, job, share)
        except StoreError as error:
            _log.warning("%s", error)
            return True

    async def _publish(self, job: Job, output: str) -> None:
        finished: bool | None = None

        def finish() -> None:
            nonlocal finished
            finished = self._jobs.finish(job, output=output)

        try:
            await self._settled(finish)
        finally:
            # None: unknown, so that the file stays until it expires.
            if finished is False:
                await self._remove(output)
        _log.info(
            "job %s %s", job.id, "completed" if finished else "was given to another worker or cancelled"
        )

    async def _remove(self, name: str) -> None:
        try:
            await asyncio.shield(asyncio.to_thread(self._files.remove, name))
        except (FilesAway, StoreError, OSError) as error:
            _log.warning("a file is left until it expires: %s", error)

    async def _settled(self, call: Callable[[], object]) -> None:
        """Call the job store until it succeeds; after a cancellation for `grace_seconds` at most."""
        settling = asyncio.ensure_future(stored(call))
        try:
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            with suppress(OutOfTime):
                await Deadline(self._config.grace_seconds).wait(settling)
            raise

    async def _recover(self) -> None:
        """Look for jobs of silent workers, again and again."""
        seconds = self._cluster.stalled_seconds
        since = time.monotonic()
        while True:
            await asyncio.sleep(seconds / 3)
            try:
                # A server that was cut off itself has seen no heartbeats.
                if time.monotonic() - since > seconds:
                    count = await asyncio.to_thread(self._jobs.recover, seconds)
                    if count:
                        _log.warning("%d jobs of silent workers wait again", count)
                else:
                    await asyncio.to_thread(self._database.time)
            except StoreError as error:
                _log.error("%s", error)
                since = time.monotonic()


class _Forgotten(Exception):
    """A worker was taken for dead and has to register again."""


class _Replaced(Exception):
    """Another attempt has become the current one."""


class _Manager(JobManager):
    """Procrastinate's queries for one worker, which survive a database that is away for a while."""

    def __init__(self, connector: PsycopgConnector, jobs: PostgresJobs, name: str, queues: list[str]):
        super().__init__(connector)
        self._connector = connector
        self._jobs, self._name, self._queues = jobs, name, queues
        self._unsure = self._is_forgotten = False

    async def register_worker(self) -> int:
        number = await super().register_worker()
        await self.connector.execute_query_async(
            "INSERT INTO workers (id, name, queues) VALUES (%(number)s, %(name)s, %(queues)s)",
            number=number,
            name=self._name,
            queues=self._queues,
        )
        return number

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Entry | None:
        if self._is_forgotten:
            raise _Forgotten("it was silent for too long")
        try:
            if self._unsure:
                await asyncio.to_thread(self._jobs.release, worker_id)
                self._unsure = False
            return await super().fetch_job(queues, worker_id)
        except (ConnectorException, StoreError) as error:
            if isinstance(error.__cause__, psycopg.errors.ForeignKeyViolation):
                raise _Forgotten("it was silent for too long") from error
            # An entry may have been delivered with an answer that got lost.
            self._unsure = True
            _log.error("no job can be taken: %s", error.__cause__ or error)
            return None

    async def update_heartbeat(self, worker_id: int) -> None:
        """Note a heartbeat; where that fails, try soon again: nobody may take this worker for dead after an outage."""
        while True:
            try:
                async with self._connector.pool.connection(timeout=_RETRY_SECONDS) as connection:
                    beaten = await connection.execute(_BEAT, [worker_id])
                self._is_forgotten = not beaten.rowcount
                return
            except psycopg.Error as error:
                _log.error("no heartbeat: %s", error)
                await asyncio.sleep(_RETRY_SECONDS / 2)

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        while True:
            try:
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            except (ConnectorException, psycopg.Error) as error:
                _log.error("no announcements of jobs: %s", error.__cause__ or error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def finish_job(self, job: Entry, status: Status, delete_job: bool) -> None:
        """Do nothing: an entry ends with its job, in one transaction."""

    async def retry_job(
        self,
        job: Entry,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Do nothing: an entry returns to the queue with its job, in one transaction."""
