"""Steps of a job from request to saved file. The journal records each, and the next run resumes from there."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from ...deadlines import OutOfTime
from ...errors import LivePortraitError, MediaError
from ...files import PartFile, sha256_of
from ...remedies import remedy
from ...text import redact
from . import journal as states
from . import locks
from .client import Client, UnclearError
from .download import AddressError, GoneError, download, keep_inline, save
from .endpoints import valid_request_id
from .errors import (
    AmbiguousJobError,
    DeadlineError,
    JobFailedError,
    JobStoppedError,
    JournalError,
    ResultLostError,
    SegmindError,
    VideoDownloadError,
)
from .http import BrokenError
from .inline import MARK
from .journal import Job, Journal, SpendingLimits
from .pacing import poll_delays
from .request import JobRequest, JobState
from .responses import COMPLETED, FAILED, Status, bill_of

# Right after the order, the status may still be 404.
_POLLS_BEFORE_HISTORY = 3
_MAX_MISSING, _MAX_MISSING_OLD = 8, 3
# Polls of a COMPLETED job without a result.
_MAX_UNREADY = 6
# Before each search of the history, which may lag.
_HISTORY_WAITS_SECONDS = (2.0, 5.0, 10.0)
_LOCK_POLL_SECONDS = 0.25
_NEVER_ORDERED = "this job was never ordered; "


class Runner:
    """Run of one job. The same inputs order at most one job, across processes and interrupted runs."""

    def __init__(
        self,
        journal: Journal,
        client: Client,
        limits: SpendingLimits,
        results: Path,
        on_state: Callable[[JobState], None],
    ):
        """Set up the run.

        Args:
            results: folder for the files as the server made them.
            on_state: called with every change of state.
        """
        self._journal = journal
        self._client = client
        self._limits = limits
        self._results = results
        self._on_state = on_state
        self._ordered = False  # by this run
        self._inline: str | PartFile | None = None  # a result given as a data URL, or as base64 text

    async def obtain(self, request: JobRequest) -> Job:
        """Return the saved job of a request: the existing one, or a new one.

        Raises:
            JobStoppedError: the task was cancelled.
            SegmindError: see its subclasses.
            OSError, MediaError: a file can't be read or written.
        """
        return await self._guarded(request.hash, request)

    async def fetch(self, request_id: str) -> Job:
        """Return the saved job of a request id, wherever it was ordered. Orders nothing; raises as `obtain`."""
        job = self._journal.find(request_id)
        if job is None or job.state in (states.FAILED, states.FORGOTTEN):
            digest = hashlib.sha256(f"request {request_id}".encode()).hexdigest()
            job = self._journal.begin(digest, self._client.endpoints.base, "fetched by its id", request_id)
        return await self.resume(job)

    async def resume(self, job: Job) -> Job:
        """Finish a job of the journal. Orders nothing; raises as `obtain`."""
        if job.state == states.INTENT:
            raise SegmindError(_NEVER_ORDERED + remedy("order"))
        if job.state == states.FAILED:
            raise JobFailedError(f"this job has failed and was not billed: {job.error}", job.request_id)
        if job.state == states.FORGOTTEN:
            raise SegmindError(f"this job was set aside; {remedy('set aside')}")
        if job.endpoint != self._client.endpoints.base:
            raise SegmindError(
                f"this job was ordered at {job.endpoint}, and SEGMIND_BASE_URL is {self._client.endpoints.base}",
                job.request_id,
            )
        return await self._guarded(job.hash)

    def report(self, state: str, job: Job | None = None) -> None:
        """Report progress to the caller of the run."""
        bill = (job.request_id, job.cost, job.remaining) if job else ()
        self._on_state(JobState(state, self._client.deadline.elapsed(), *bill))

    async def _guarded(self, digest: str, request: JobRequest | None = None) -> Job:
        try:
            async with self._locked(digest) as job:
                return await self._finish(job or await self._begin(request), request)
        except OutOfTime:
            elapsed = self._client.deadline.elapsed()
            last = f" (last problem: {self._client.problem})" if self._client.problem else ""
            problem = f"no result after {elapsed:.0f} s{last}"
            failure: type[DeadlineError | JobStoppedError] = DeadlineError
        except asyncio.CancelledError:
            problem, failure = "stopped", JobStoppedError
        left = self._journal.open_job(digest)
        raise failure(f"{problem}: {_how_to_resume(left)}", left.request_id if left else None) from None

    @asynccontextmanager
    async def _locked(self, digest: str) -> AsyncIterator[Job | None]:
        """Hold the lock of a job, waiting for other runs; yield the job, None if there is none yet."""
        watched: Job | None = None
        while (lock := locks.take(self._journal.lock_path(digest))) is None:
            watched = self._journal.open_job(digest) or (watched and self._journal.job(watched.id))
            self.report("waiting for another run of the same job", watched)
            await self._client.deadline.sleep(_LOCK_POLL_SECONDS)
        try:
            if watched is not None:
                _check_watched(self._journal.job(watched.id))
            yield self._journal.open_job(digest)
        except asyncio.CancelledError:
            job = self._journal.open_job(digest)
            if job is not None and job.state == states.SENDING:
                self._journal.advance(job, states.AMBIGUOUS, error="stopped while the order was on its way")
            raise
        finally:
            self._keep(None)
            locks.release(lock)

    async def _begin(self, request: JobRequest | None) -> Job:
        """Enter a new job in the journal."""
        if request is None:
            raise SegmindError(f"another run has just finished this job; {remedy('finished')}")
        base = self._client.endpoints.base
        return await asyncio.to_thread(self._journal.begin, request.hash, base, request.label)

    async def _finish(self, job: Job, request: JobRequest | None) -> Job:
        """Advance a job from state to state until it is SAVED."""
        while True:
            if job.state == states.SAVED:
                if await asyncio.to_thread(_intact, job):
                    self.report("done", job)
                    return job
                job = self._journal.advance(job, states.COMPLETED)
            elif job.state == states.COMPLETED:
                job = await self._download(job)
            elif job.state == states.SUBMITTED:
                job = await self._wait(job)
            elif job.state == states.INTENT:
                if request is None:
                    raise SegmindError(_NEVER_ORDERED + remedy("order"))
                job = await self._send(job, request)
            else:
                job = await self._recover(job)

    async def _send(self, job: Job, request: JobRequest) -> Job:
        """Order a job."""
        self._journal.check_seal()
        try:
            payload = await request.payload()
        except LivePortraitError as error:
            self._journal.advance(job, states.FAILED, error=str(error))
            raise
        self.report("ordering", job)
        record = _SendRecord(self._journal, job, payload, self._limits)
        try:
            if request.version == "v1":
                return await self._send_v1(record, payload)
            request_id = await self._client.submit(payload, record)
            return self._submitted(record.job, request_id)
        except UnclearError as error:
            self._ordered = True
            return self._journal.advance(record.job, states.AMBIGUOUS, error=str(error))
        except LivePortraitError as error:
            if record.job.state == states.INTENT:
                self._journal.advance(record.job, states.FAILED, error=str(error))
            raise

    def _submitted(self, job: Job, request_id: str) -> Job:
        self._ordered = True
        try:
            return self._journal.advance(job, states.SUBMITTED, request_id=request_id, error=None)
        except JournalError as error:
            failure = JournalError(
                f"{error}; job {request_id} was ordered all the same: once the journal is in order, "
                f"{remedy('fetch', job=request_id)}",
                request_id,
            )
        raise failure

    async def _send_v1(self, record: _SendRecord, payload: dict[str, Any]) -> Job:
        """Order a job through v1, whose answer is the video itself."""
        response = await self._client.submit_and_wait(payload, record)
        job, bill = record.job, bill_of(None, response.headers)
        request_id = valid_request_id(redact(response.headers.get("x-request-id", "")))
        if request_id is not None:
            job = record.job = self._submitted(job, request_id)
        target = self._target(job)
        try:
            digest = await self._client.deadline.wait(save(response, target))
        except OutOfTime:
            problem = "no end in time"
        except (BrokenError, VideoDownloadError) as error:
            problem = str(error)
        else:
            bills = {"cost": bill.cost, "remaining": bill.remaining}
            return self._journal.advance(
                job, states.SAVED, file=str(target), sha256=digest, error=None, **bills
            )
        if request_id is None:
            raise UnclearError(f"its answer was no whole video: {problem}")
        return job

    async def _recover(self, job: Job) -> Job:
        """Search the history for a job that may have been accepted."""
        problem = job.error or "the run ended while the order was on its way"
        for wait in _HISTORY_WAITS_SECONDS if self._ordered else (0.0,):
            self.report("searching the history for a job that may have been ordered", job)
            await self._client.deadline.sleep(wait)
            known = self._journal.request_ids()
            try:
                request_id = await self._client.find(job.payload or {}, job.created, known)
            except SegmindError as error:
                job = self._journal.advance(job, states.AMBIGUOUS, error=problem)
                raise _ambiguous(job, f"{problem}; {error}") from None
            if request_id is not None:
                job = self._submitted(job, request_id)
                self._ordered = False
                return job
        raise _ambiguous(self._journal.advance(job, states.AMBIGUOUS, error=problem), problem)

    async def _wait(self, job: Job) -> Job:
        """Poll a job until it is done."""
        request_id = job.request_id
        assert request_id is not None  # every SUBMITTED job has one
        waits = poll_delays()
        missing = unready = 0
        # A job of an earlier run may be done: poll it at once.
        wait = next(waits) if self._ordered else 0.0
        while True:
            self.report("waiting" if self._ordered else "polling", job)
            await self._client.deadline.sleep(wait)
            wait = next(waits)
            status = await self._client.status(request_id)
            if status is not None and status.state == COMPLETED:
                status = await self._result(job)
                if status is not None and status.output:
                    return self._completed(job, status)
                unready += 1
            elif status is None:
                missing += 1
            if status is not None and status.state == FAILED:
                self._fail(job, status.error)
            if status is not None and status.state:
                self.report(status.state, job)
            lost = missing >= (_MAX_MISSING if self._ordered else _MAX_MISSING_OLD) or unready >= _MAX_UNREADY
            if lost or (missing and (not self._ordered or missing == _POLLS_BEFORE_HISTORY)):
                entry = await self._client.history(request_id)
                if entry is not None and entry.status.state == FAILED:
                    self._fail(job, entry.status.error)
                if entry is not None and entry.status.output:
                    return self._completed(job, entry.status)
            if lost:
                raise ResultLostError(
                    f"job {request_id} has no result that can be fetched: the server no longer knows it, or "
                    "gives none, and neither does its history; ask Segmind's support with this id",
                    request_id,
                )

    async def _result(self, job: Job) -> Status | None:
        """Ask for the result of a job; a video in the answer goes into a file next to the job's."""
        assert job.request_id is not None
        try:
            part = PartFile(self._target(job))
        except OSError:
            # The state counts all the same, and the download reports the folder.
            return await self._client.result(job.request_id)
        try:
            with part.path.open("rb+") as file:
                status = await self._client.result(job.request_id, file)
            if status is not None and status.output == MARK:
                self._keep(part)
            return status
        except VideoDownloadError as error:
            raise VideoDownloadError(
                f"{_name(job)} is paid and done, but its result can't be read: {error}; "
                f"{remedy('fetch', job=job.request_id)}: neither orders anything",
                job.request_id,
            ) from None
        except OSError as error:
            raise self._unwritable(job, error) from None
        finally:
            if self._inline is not part:
                part.abandon()

    def _keep(self, part: PartFile | None) -> None:
        if isinstance(self._inline, PartFile):
            self._inline.abandon()
        self._inline = part

    def _completed(self, job: Job, status: Status) -> Job:
        output = status.output or ""
        inline = output[:5].lower() == "data:"
        if output != MARK:
            self._keep(None)
            self._inline = output if inline else None
        values: dict[str, Any] = {} if inline else {"url": output}
        bill = {"cost": status.bill.cost, "remaining": status.bill.remaining}
        values |= {name: value for name, value in bill.items() if value is not None}
        return self._journal.advance(job, states.COMPLETED, error=None, **values)

    def _fail(self, job: Job, reason: str) -> NoReturn:
        job = self._journal.advance(job, states.FAILED, error=reason or "no reason given")
        raise JobFailedError(
            f'job {job.request_id} failed, and a failed job is not billed: "{job.error}"; change the '
            "clips or the settings, or run again",
            job.request_id,
        )

    async def _download(self, job: Job) -> Job:
        self.report("downloading", job)
        first: Exception | None = None  # the problem of the first address
        url = self._inline if isinstance(self._inline, str) else job.url
        while True:
            problem: Exception
            try:
                target = self._target(job)
                if isinstance(self._inline, PartFile):
                    digest = await keep_inline(self._inline)
                elif url is None:
                    raise GoneError("no address is known")
                else:
                    digest = await download(self._client.http, url, target, self._client.deadline)
                return self._journal.advance(job, states.SAVED, file=str(target), sha256=digest, error=None)
            except VideoDownloadError as error:
                problem = error
            except OSError as error:
                raise self._unwritable(job, error) from None
            if first is None and isinstance(problem, GoneError | AddressError):
                first, url = problem, await self._another_url(job, url)
                if url is not None:
                    continue
            if isinstance(first, AddressError) and isinstance(problem, AddressError):
                problem = first
            if not isinstance(problem, GoneError):
                raise VideoDownloadError(
                    f"{_name(job)} is paid and done, but its result can't be fetched: {problem}; "
                    f"{remedy('fetch', job=job.request_id or job.id)}: neither orders anything",
                    job.request_id,
                )
            raise ResultLostError(
                f"the result of {_name(job)} is gone ({problem}); files are kept for some days only; "
                f"{remedy('reorder', job=job.id)}",
                job.request_id,
            )

    async def _another_url(self, job: Job, url: str | None) -> str | None:
        """Return another URL of a finished job's file, None if there is none."""
        if job.request_id is None:
            return None
        status = await self._result(job)
        if status is not None and status.output and status.output != url:
            return status.output
        entry = await self._client.history(job.request_id)
        found = entry.status.output if entry is not None else None
        return found if found != url else None

    def _unwritable(self, job: Job, error: OSError) -> MediaError:
        return MediaError(
            error.filename or self._results,
            f"can't be written: {error.strerror}; {_name(job)} is paid and done: run again, which fetches it and "
            "orders nothing",
        )

    def _target(self, job: Job) -> Path:
        self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._results / f"{job.id:06d}_{job.hash[:12]}.mp4"


class _SendRecord:
    """Journal entry of a request that may be billed; a `client.SendRecord`.

    Attributes:
        job: in its current state.
    """

    def __init__(self, journal: Journal, job: Job, payload: dict[str, Any], limits: SpendingLimits):
        self._journal = journal
        self._payload = payload
        self._limits = limits
        self.job = job

    def leaving(self) -> None:
        self.job = self._journal.send(self.job, self._payload, self._limits)

    def not_sent(self) -> None:
        self.job = self._journal.advance(self.job, states.INTENT)


def _check_watched(job: Job) -> None:
    """Check the outcome of another run after waiting for it.

    Raises:
        JobFailedError: its job failed.
        AmbiguousJobError: it is unknown whether its order was accepted.
    """
    if job.state == states.FAILED:
        raise JobFailedError(f"another run of the same job failed: {job.error}", job.request_id)
    if job.state == states.AMBIGUOUS:
        raise _ambiguous(job, job.error)


def _ambiguous(job: Job, problem: str | None) -> AmbiguousJobError:
    return AmbiguousJobError(
        f"the job may have been accepted and billed, and nobody knows ({problem}); the history does not show it "
        "yet. It is not ordered again by itself: run again to search the history once more, check Segmind's "
        f"console, or {remedy('reorder', job=job.id)}"
    )


def _how_to_resume(job: Job | None) -> str:
    """Describe the state in which a run leaves a job, and how to resume it."""
    if job is None or job.state == states.INTENT:
        return "nothing was ordered"
    if job.state in (states.SENDING, states.AMBIGUOUS):
        return (
            "the job may have been accepted and billed; run again to search the history for it: it is not ordered "
            "again by itself"
        )
    if job.state in (states.COMPLETED, states.SAVED):
        outcome = "is paid and done"
    else:
        outcome = f"continues at {job.endpoint} and may be billed"
    return (
        f"{_name(job)} {outcome}; {remedy('fetch', job=job.request_id or job.id)}, to pick it up; neither orders "
        "anything"
    )


def _name(job: Job) -> str:
    return f"job {job.request_id or job.id}"


def _intact(job: Job) -> bool:
    return job.file is not None and os.path.isfile(job.file) and sha256_of(Path(job.file)) == job.sha256
