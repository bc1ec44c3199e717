"""The Segmind engine: uploads whole clips, downloads a whole clip, and pays for a job once."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from ...deadlines import Clock, Deadline, OutOfTime
from ...errors import Cancelled, SettingsError
from ...files import TemporaryFolder, atomic_write
from ...media import Clip
from ...plan import RunPlan
from ...web import Resolver, redact_url, resolve
from ..base import HostedResult
from . import keys
from .client import Client
from .conform import conform, max_result_pixels
from .download import download
from .endpoints import Endpoints, valid_request_id
from .errors import SegmindError
from .http import Http, Timeouts
from .job import Runner
from .journal import Job, Journal, SpendingLimits
from .payload import RemoteClip, check, driving_clip, hash_of, name_of, payload_of, prepare_clips
from .request import JobRequest, JobState
from .threads import run_unless
from .upload import upload

DEADLINE = 900.0
"""Seconds after which a run stops waiting; its job continues and can be resumed."""


class SegmindEngine:
    """The hosted model `live-portrait-video-to-video`.

    The clips are uploaded to public, unlisted URLs, which can't be deleted. They are first cut to the needed frames,
    and for pairing "time" the driving clip is resampled to the source's rate, because the model pairs frame n with
    frame n. The model's clip is converted to the frame count, rate and size that every engine gives for the same
    clips and settings.

    Of `MotionOptions` only `pairing` is supported; other values than the defaults are refused before anything is
    spent.

    The same clips and settings are paid for once: a running job is resumed, and an existing result is reused. Several
    threads may share one engine.
    """

    name = "segmind"
    supports = frozenset({"pairing", "still_audio"})

    def __init__(
        self,
        *,
        folder: Path | None = None,
        key_folder: Path | None = None,
        base_url: str | None = None,
        version: str = "v2",
        seed: int = 0,
        limits: SpendingLimits | None = None,
        deadline: float = DEADLINE,
        on_state: Callable[[JobState], None] | None = None,
        clock: Clock | None = None,
        resolver: Resolver = resolve,
        timeouts: Timeouts | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        """Configure the engine; nothing is sent or written yet.

        Args:
            folder: folder of the journal of paid jobs and of their results; the default is the user's data folder.
            key_folder: folder of the key's file; the default is the user's configuration folder.
            base_url: the API's origin; None takes SEGMIND_BASE_URL, else Segmind.
            version: "v2", or "v1", whose one request blocks until the job is done and leaves less to resume from.
            seed: a different number orders and pays for a new job for the same inputs; it changes nothing else.
            limits: spending limits.
            deadline: seconds after which a run stops waiting.
            on_state: called on every change of a job's state, from the thread of the run.
            clock, resolver, timeouts, transport: for tests.

        Raises:
            SettingsError: an unknown version.
            UrlError: the base URL violates a rule.
        """
        if version not in ("v1", "v2"):
            raise SettingsError(f"version must be v1 or v2, got {version!r}")
        self._endpoints = Endpoints.of(base_url)
        self._folder = folder or default_folder()
        self._key_folder = key_folder or keys.default_folder()
        self._version = version
        self._seed = seed
        self._limits = limits or SpendingLimits()
        self._seconds = deadline
        self._on_state = on_state
        self._clock = clock or Clock()
        self._resolver = resolver
        self._timeouts = timeouts
        self._transport = transport

    def clip(self, source: str | os.PathLike[str], cancelled: Callable[[], bool] | None = None) -> Clip:
        """Return the clip of a path or public URL.

        The file of a URL is downloaded to find its length and audio; the model gets the URL itself.

        Raises:
            MediaError, UrlError, SegmindError: the clip can't be read or downloaded.
            Cancelled: `cancelled` returned True.
        """
        if not isinstance(source, str) or not source.lower().startswith(("https://", "http://")):
            return Clip(source)

        async def work() -> Clip:
            async with self._http() as http:
                folder = TemporaryFolder()
                path = folder.path / "clip.mp4"
                try:
                    await download(http, source, path, Deadline(self._seconds, self._clock))
                    return RemoteClip(source, folder)
                except BaseException as error:
                    folder.close()
                    if isinstance(error, OutOfTime):
                        error = SegmindError(
                            f"{redact_url(source)}: did not arrive within {self._seconds:.0f} s"
                        )
                    raise error from None

        return run_unless(work(), cancelled, lambda: Cancelled("stopped while a clip was fetched"))

    def animate(
        self,
        plan: RunPlan,
        *,
        on_state: Callable[[JobState], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> HostedResult:
        """Animate a plan with the model, or reuse an earlier result.

        Raises:
            SettingsError: the model lacks an option.
            SegmindError, MediaError: see their classes.
            JobStoppedError: `cancelled` returned True; it is polled ten times a second.
        """
        check(plan)

        async def work(runner: Runner, client: Client, journal: Journal) -> Job:
            return await self._obtain(runner, client, journal, plan)

        job = self._with_runner(work, on_state, cancelled)
        clip = Clip(file_of(job), max_pixels=max_result_pixels(plan.size))
        frames, notes = conform(clip, plan.single()[1], plan.size, plan.chunk)
        return HostedResult(frames, tuple(notes), report_of(job))

    def fetch(
        self,
        request_id: str,
        output: Path | None = None,
        *,
        on_state: Callable[[JobState], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Job:
        """Return the saved job of a request id, after waiting for it if it still runs. Orders nothing.

        Args:
            output: path for a copy of the model's own video.

        Raises:
            SettingsError: not a request id.
            SegmindError, MediaError, JobStoppedError: as `animate`.
        """
        if valid_request_id(request_id) is None:
            raise SettingsError(
                f"a request id has 1 to 128 letters, digits, - and _, got {request_id[:40]!r}"
            )

        async def work(runner: Runner, client: Client, journal: Journal) -> Job:
            return await runner.fetch(request_id)

        return self._copied(self._with_runner(work, on_state, cancelled), output)

    def resume(
        self,
        job: Job,
        output: Path | None = None,
        *,
        on_state: Callable[[JobState], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Job:
        """Finish a job of the journal. Orders nothing; arguments and errors as `fetch`."""

        async def work(runner: Runner, client: Client, journal: Journal) -> Job:
            return await runner.resume(job)

        return self._copied(self._with_runner(work, on_state, cancelled), output)

    def credits(self, *, cancelled: Callable[[], bool] | None = None) -> dict[str, float]:
        """Return the remaining credits by kind. It is free of charge, so it can test the key.

        Raises:
            ApiKeyError: there is no usable key.
            RefusedError: the key is not accepted.
            UnreachableError: no answer.
        """

        async def work() -> dict[str, float]:
            async with self._http() as http:
                try:
                    return await self._client(http).credits()
                except OutOfTime:
                    pass
            raise SegmindError(f"no answer to the request for the credits within {self._seconds:.0f} s")

        return run_unless(work(), cancelled, lambda: Cancelled("stopped"))

    def journal(self) -> Journal:
        """Open the journal of paid jobs; the caller closes it.

        Raises:
            JournalError: the journal can't be used.
        """
        return Journal(self._folder, self._clock.time)

    async def _obtain(self, runner: Runner, client: Client, journal: Journal, plan: RunPlan) -> Job:
        async def payload() -> dict[str, Any]:
            stop = threading.Event()
            with TemporaryFolder() as folder:
                runner.report("preparing the clips")
                prepared = asyncio.ensure_future(asyncio.to_thread(prepare_clips, plan, folder, stop.is_set))
                try:
                    source, driving = await asyncio.shield(prepared)
                finally:
                    # The folder must outlive the thread that writes into it.
                    stop.set()
                    await asyncio.wait({prepared})
                runner.report("uploading")
                urls = [
                    clip if isinstance(clip, str) else await upload(client, journal, clip)
                    for clip in (source, driving)
                ]
            return payload_of(plan, *urls)

        digest = await asyncio.to_thread(hash_of, plan, self._endpoints.base, self._seed)
        label = " + ".join(name_of(clip) for clip in (plan.source, driving_clip(plan)))
        return await runner.obtain(JobRequest(digest, label, payload, self._version))

    def _with_runner(
        self,
        work: Callable[[Runner, Client, Journal], Awaitable[Job]],
        on_state: Callable[[JobState], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Job:
        journal = self.journal()
        listeners = [listener for listener in (self._on_state, on_state) if listener is not None]

        def report(state: JobState) -> None:
            for listener in listeners:
                listener(state)

        async def whole() -> Job:
            async with self._http() as http:
                client = self._client(http)
                runner = Runner(journal, client, self._limits, self._folder / "results", report)
                return await work(runner, client, journal)

        try:
            return run_unless(whole(), cancelled, lambda: Cancelled("stopped; nothing was ordered"))
        finally:
            journal.close()

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[Http]:
        key = keys.require_key(self._key_folder)
        async with Http(
            self._endpoints,
            key,
            timeouts=self._timeouts,
            resolver=self._resolver,
            transport=self._transport,
        ) as http:
            yield http

    def _client(self, http: Http) -> Client:
        return Client(http, http.limiter, self._clock, Deadline(self._seconds, self._clock))

    def _copied(self, job: Job, output: Path | None) -> Job:
        if output is not None:
            with atomic_write(output) as part:
                shutil.copyfile(file_of(job), part)
        return job


def default_folder() -> Path:
    """Return the default folder of the journal and the results, in the user's data."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home())
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "liveportrait-v2v" / "segmind"


def file_of(job: Job) -> str:
    """Return the file of a saved job."""
    assert job.file is not None
    return job.file


def report_of(job: Job) -> dict[str, Any]:
    """Return a job as a result reports it: number, request id, cost, remaining credits, and the model's own file."""
    return {
        "job": job.id,
        "request_id": job.request_id,
        "cost": job.cost,
        "remaining_credits": job.remaining,
        "file": job.file,
    }
