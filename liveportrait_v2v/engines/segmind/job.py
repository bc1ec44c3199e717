"""A job's way from the wish to the saved file, in steps that each leave the journal where the next run goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ...errors import LivePortraitError, MediaError
from ...files import sha256_of
from . import journal as states
from .client import Client, UnclearError
from .download import DownloadError, GoneError, download, save
from .endpoints import valid_request_id
from .errors import (
    AmbiguousJobError,
    DeadlineError,
    JobFailedError,
    JobStoppedError,
    JournalError,
    ResultLostError,
    SegmindError,
)
from .http import BrokenError
from .journal import Job, Journal, SpendingLimits
from .pacing import OutOfTime, poll_delays
from .request import JobRequest, JobState
from .responses import COMPLETED, FAILED, Status, bill_of

# A job that was just ordered may be unknown for a moment.
_LOOKS_BEFORE_HISTORY = 3
_MAX_MISSING, _MAX_MISSING_OLD = 8, 3
# Looks at a COMPLETED job whose result is not there yet.
_MAX_UNREADY = 6
# Seconds before each look into the history, which may lag behind.
_HISTORY_WAITS = (2.0, 5.0, 10.0)
_FOLLOW_SECONDS = 0.25


class Runner:
    """One run. At most one job of its inputs is ordered, whoever else works on them, however often runs end early."""

    def __init__(
        self,
        journal: Journal,
        client: Client,
        limits: SpendingLimits,
        results: Path,
        tell: Callable[[JobState], None],
    ):
        """
        Args:
            results: folder for the files as the server made them.
            tell: called with every change of state.
        """
        self._journal = journal
        self._client = client
        self._limits = limits
        self._results = results
        self._caller = tell
        self._job: Job | None = None
        self._order: JobRequest | None = None
        self._fresh = False
        self._inline: str | None = None

    async def obtain(self, order: JobRequest) -> Job:
        """The saved job of this order: the one that is there already, or a new one.

        Raises:
            SegmindError: its classes say what.
            OSError, MediaError: a file can't be read or written.
        """
        self._order = order
        return await self._guarded(order.hash)

    async def fetch(self, request_id: str) -> Job:
        """The saved job of this request id, whoever ordered it. Nothing is ordered. Raises as `obtain`."""
        job = self._journal.find(request_id)
        if job is None or job.state in (states.FAILED, states.FORGOTTEN):
            digest = hashlib.sha256(f"request {request_id}".encode()).hexdigest()
            job = self._journal.begin(digest, self._client.endpoints.base, "fetched by its id", request_id)
        return await self.resume(job)

    async def resume(self, job: Job) -> Job:
        """Brings a job of the journal to its end. Nothing is ordered. Raises as `obtain`."""
        if job.state == states.INTENT:
            raise SegmindError("this job was never ordered; run the same command again to do so")
        if job.state == states.FAILED:
            raise JobFailedError(f"this job has failed and was not billed: {job.error}", job.request_id)
        if job.state == states.FORGOTTEN:
            raise SegmindError(
                "this job was set aside; `jobs fetch` with its request id still gets its result"
            )
        if job.endpoint != self._client.endpoints.base:
            raise SegmindError(
                f"this job was ordered at {job.endpoint}, and SEGMIND_BASE_URL says {self._client.endpoints.base}",
                job.request_id,
            )
        return await self._guarded(job.hash)

    def stopped(self) -> JobStoppedError:
        """What to say when the caller has asked to stop."""
        return JobStoppedError(f"stopped: {self._whereabouts()}", self._job and self._job.request_id)

    async def _guarded(self, hash: str) -> Job:
        try:
            async with self._alone(hash):
                return await self._to_the_end()
        except OutOfTime:
            elapsed = self._client.deadline.elapsed()
        except asyncio.CancelledError:
            if self._job is not None and self._journal.job(self._job.id).state == states.SENDING:
                self._advance(states.AMBIGUOUS, error="stopped while the order was on its way")
            raise
        trouble = f" (at last: {self._client.trouble})" if self._client.trouble else ""
        raise DeadlineError(
            f"no result after {elapsed:.0f} s{trouble}: {self._whereabouts()}",
            self._job and self._job.request_id,
        )

    @asynccontextmanager
    async def _alone(self, hash: str) -> AsyncIterator[None]:
        """Waits until nobody else works on the job, then picks it up."""
        lock, watched = self._journal.lock(hash), None
        while not lock.take():
            watched = self._journal.open_job(hash) or (watched and self._journal.job(watched.id))
            self._job = watched
            self.tell("waiting for another run of the same job")
            await self._client.deadline.sleep(_FOLLOW_SECONDS)
        try:
            if watched is not None:
                watched = self._journal.job(watched.id)
                if watched.state == states.FAILED:
                    raise JobFailedError(
                        f"another run of the same job failed: {watched.error}", watched.request_id
                    )
                if watched.state == states.AMBIGUOUS:
                    raise self._ambiguous(watched.error)
            self._job = self._journal.open_job(hash)
            yield
        finally:
            lock.release()

    async def _to_the_end(self) -> Job:
        if self._job is None:
            if self._order is None:
                raise SegmindError("another run has just ended this job; see `liveportrait-v2v jobs list`")
            base = self._client.endpoints.base
            self._job = await asyncio.to_thread(
                self._journal.begin, self._order.hash, base, self._order.label
            )
        while True:
            state = self._job.state
            if state == states.SAVED:
                if await asyncio.to_thread(_intact, self._job):
                    self.tell("done")
                    return self._job
                self._advance(states.COMPLETED)
            elif state == states.COMPLETED:
                await self._download()
            elif state == states.SUBMITTED:
                await self._wait()
            elif state == states.INTENT:
                await self._send()
            else:
                await self._recover()

    async def _send(self) -> None:
        try:
            payload = await self._order.payload()
            self.tell("ordering")
            if self._order.version == "v1":
                await self._send_v1(payload)
            else:
                request_id = await self._client.submit(payload, lambda leaving: self._mark(leaving, payload))
                self._submitted(request_id)
        except UnclearError as error:
            self._fresh = True
            self._advance(states.AMBIGUOUS, error=str(error))
        except LivePortraitError as error:
            if self._job.state == states.INTENT:
                self._advance(states.FAILED, error=str(error))
            raise

    def _mark(self, leaving: bool, payload: dict[str, Any]) -> None:
        if leaving:
            self._job = self._journal.send(self._job, payload, self._limits)
        else:
            self._advance(states.INTENT)

    def _submitted(self, request_id: str) -> None:
        self._fresh = True
        try:
            self._advance(states.SUBMITTED, request_id=request_id, error=None)
        except JournalError as error:
            failure = JournalError(
                f"{error}; job {request_id} was ordered all the same: once the journal is in order, fetch it with "
                f"`liveportrait-v2v jobs fetch {request_id}`",
                request_id,
            )
        else:
            return
        raise failure

    async def _send_v1(self, payload: dict[str, Any]) -> None:
        response = await self._client.submit_and_wait(payload, lambda leaving: self._mark(leaving, payload))
        bill = bill_of(None, response.headers)
        request_id = valid_request_id(self._client.http.redact(response.headers.get("x-request-id", "")))
        if request_id is not None:
            self._submitted(request_id)
        target, left = self._target(), self._client.deadline.left()
        try:
            digest = await asyncio.wait_for(save(response, target), left)
        except asyncio.TimeoutError:
            problem = "no end in time"
        except (BrokenError, DownloadError) as error:
            problem = str(error)
        else:
            self._advance(
                states.SAVED,
                file=str(target),
                sha256=digest,
                cost=bill.cost,
                remaining=bill.remaining,
                error=None,
            )
            return
        if request_id is None:
            raise UnclearError(f"its answer was no whole video: {problem}")

    async def _recover(self) -> None:
        """Looks whether the history has the job that may have been accepted."""
        problem = self._job.error or "the run ended while the order was on its way"
        for wait in _HISTORY_WAITS if self._fresh else (0.0,):
            self.tell("looking into the history for a job that may have been ordered")
            await self._client.deadline.sleep(wait)
            known = self._journal.request_ids()
            try:
                request_id = await self._client.find(self._job.payload, self._job.created, known)
            except SegmindError as error:
                self._advance(states.AMBIGUOUS, error=problem)
                raise self._ambiguous(f"{problem}; {error}") from None
            if request_id is not None:
                self._submitted(request_id)
                self._fresh = False
                return
        self._advance(states.AMBIGUOUS, error=problem)
        raise self._ambiguous(problem)

    def _ambiguous(self, problem: str | None) -> AmbiguousJobError:
        return AmbiguousJobError(
            f"the job may have been accepted and billed, and nobody knows ({problem}); the history does not show it "
            "yet. It is not ordered again by itself: run again to look into the history once more, look at Segmind's "
            f"console, or `liveportrait-v2v jobs forget {self._job.id}` and run again to order a new one"
        )

    async def _wait(self) -> None:
        request_id = self._job.request_id
        waits = poll_delays()
        missing = unready = 0
        # The first look at an old job is not put off.
        wait = next(waits) if self._fresh else 0.0
        while True:
            self.tell("waiting" if self._fresh else "looking")
            await self._client.deadline.sleep(wait)
            wait = next(waits)
            status = await self._client.status(request_id)
            if status is not None and status.state == COMPLETED:
                status = await self._client.result(request_id)
                if status is not None and status.output:
                    return self._completed(status)
                unready += 1
            elif status is None:
                missing += 1
            if status is not None and status.state == FAILED:
                self._fail(status.error)
            if status is not None and status.state:
                self.tell(status.state)
            lost = missing >= (_MAX_MISSING if self._fresh else _MAX_MISSING_OLD) or unready >= _MAX_UNREADY
            if lost or (missing and (not self._fresh or missing == _LOOKS_BEFORE_HISTORY)):
                entry = await self._client.history(request_id)
                if entry is not None and entry.status.state == FAILED:
                    self._fail(entry.status.error)
                if entry is not None and entry.status.output:
                    return self._completed(entry.status)
            if lost:
                raise ResultLostError(
                    f"job {request_id} has no result that can be fetched: the server does not know it any more, or "
                    "gives none, and neither does its history; ask Segmind's support with this id",
                    request_id,
                )

    def _completed(self, status: Status) -> None:
        inline = status.output[:5].lower() == "data:"
        self._inline = status.output if inline else None
        values = {} if inline else {"url": status.output}
        bill = {"cost": status.bill.cost, "remaining": status.bill.remaining}
        values |= {name: value for name, value in bill.items() if value is not None}
        self._advance(states.COMPLETED, error=None, **values)

    def _fail(self, said: str) -> None:
        self._advance(states.FAILED, error=said or "no reason given")
        raise JobFailedError(
            f'job {self._job.request_id} failed, and a failed job is not billed: "{self._job.error}"; change the '
            "clips or the settings, or run again",
            self._job.request_id,
        )

    async def _download(self) -> None:
        self.tell("downloading")
        asked, url = False, self._inline or self._job.url
        while True:
            try:
                if url is None:
                    raise GoneError("no address is known")
                target = self._target()
                digest = await download(self._client.http, url, target, self._client.deadline)
                self._advance(states.SAVED, file=str(target), sha256=digest, error=None)
                return
            except GoneError as error:
                gone: GoneError | None = error
            except DownloadError as error:
                gone, problem = None, error
            except OSError as error:
                raise MediaError(
                    error.filename or self._results,
                    f"can't be written: {error.strerror}; {self._name()} is paid and done: run again, "
                    "which fetches it and orders nothing",
                ) from None
            if gone is not None and not asked:
                asked, url = True, await self._another_url(url)
                if url is not None:
                    continue
            if gone is not None:
                raise ResultLostError(
                    f"the result of {self._name()} is gone ({gone}); files are kept for some days only. "
                    f"`liveportrait-v2v jobs forget {self._job.id}` and run again to order a new one",
                    self._job.request_id,
                )
            raise DownloadError(
                f"{self._name()} is paid and done, but its result can't be fetched: {problem}; run again, "
                f"or `liveportrait-v2v jobs fetch {self._job.request_id or self._job.id}`: neither orders anything",
                self._job.request_id,
            )

    async def _another_url(self, url: str | None) -> str | None:
        """Where else a finished job's file may lie."""
        request_id = self._job.request_id
        if request_id is None:
            return None
        status = await self._client.result(request_id)
        if status is not None and status.output and status.output != url:
            return status.output
        entry = await self._client.history(request_id)
        found = entry and entry.status.output
        return found if found != url else None

    def _target(self) -> Path:
        self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._results / f"{self._job.id:06d}_{self._job.hash[:12]}.mp4"

    def _advance(self, state: str, **values: Any) -> None:
        self._job = self._journal.advance(self._job, state, **values)

    def tell(self, state: str) -> None:
        """Tells the caller of the run what is going on."""
        job = self._job
        bill = (job.request_id, job.cost, job.remaining) if job else ()
        self._caller(JobState(state, self._client.deadline.elapsed(), *bill))

    def _whereabouts(self) -> str:
        """Where the job is, for whoever has to leave it there."""
        job = self._job
        if job is None or job.state == states.INTENT:
            return "nothing was ordered"
        if job.state in (states.SENDING, states.AMBIGUOUS):
            return (
                "the job may have been accepted and billed; run again to look it up in the history: it is not ordered "
                "again by itself"
            )
        if job.state in (states.COMPLETED, states.SAVED):
            where = "is paid and done"
        else:
            where = f"goes on at {job.endpoint} and may be billed"
        return (
            f"{self._name()} {where}; run again, or `liveportrait-v2v jobs fetch {job.request_id or job.id}`, to pick "
            "it up; neither orders anything"
        )

    def _name(self) -> str:
        return f"job {self._job.request_id or self._job.id}"


def _intact(job: Job) -> bool:
    return os.path.isfile(job.file) and sha256_of(Path(job.file)) == job.sha256
