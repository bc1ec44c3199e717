"""Requests to the API, with retries for those that are safe to repeat."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping
from datetime import timedelta
from typing import Any, BinaryIO, Protocol

import httpx

from ...deadlines import Clock, Deadline, OutOfTime, moment
from .endpoints import CLIPS, MAX_BYTES, MODEL, Endpoints, valid_request_id
from .errors import UnreachableError, refusal
from .http import BrokenError, Http, NotSentError, Reply
from .inline import InlineVideo
from .pacing import Limiter, backoff, requested_wait
from .responses import FAILED, Entry, Status, credits_of, entries_of, status_of

# Consecutive failures after which a server counts as unreachable.
_TRIES = 5
# Tries of an order as long as it is answered with 429.
_LIMITED_TRIES = 10
_PAGES = 3
# Limits of one request.
_SUBMIT_SECONDS = 60.0
_GET_SECONDS = 30.0


class UnclearError(Exception):
    """A paid request may or may not have been accepted. Internal to `segmind`."""


class SendRecord(Protocol):
    """A lasting record of a request that may be billed."""

    def leaving(self) -> None:
        """Record that the request may leave from now on, and so may be billed."""

    def not_sent(self) -> None:
        """Record that the request is known not to have been accepted."""


class Client:
    """Requests of one run, paced by the key's limiter and ended by a deadline.

    Each raises deadlines.OutOfTime when the deadline passes.

    Attributes:
        problem: of the last request, "" if it had none.
    """

    def __init__(self, http: Http, limiter: Limiter, clock: Clock, deadline: Deadline):
        self._http = http
        self._limiter = limiter
        self._clock = clock
        self.deadline = deadline
        self.problem = ""

    @property
    def http(self) -> Http:
        return self._http

    @property
    def endpoints(self) -> Endpoints:
        return self._http.endpoints

    async def submit(self, payload: Mapping[str, Any], record: SendRecord) -> str:
        """Order a job through v2 and return its request id. Each call that gets through may be billed.

        It is sent again only if it can't have been accepted: without a connection, and on 429.

        Args:
            record: written right before the request may leave, and again once it is known not to count.

        Raises:
            RefusedError, UnreachableError: not accepted, not billed.
            UnclearError: it is unknown whether it was.
        """
        reply = await self._send_paid(
            record, lambda: self._post(self.endpoints.submit("v2"), payload, _SUBMIT_SECONDS)
        )
        body = reply.json()
        request_id = valid_request_id(body.get("request_id")) if isinstance(body, dict) else None
        if request_id is None:
            raise UnclearError(f"it answered HTTP {reply.status} without a usable request id")
        return request_id

    async def submit_and_wait(self, payload: Mapping[str, Any], record: SendRecord) -> httpx.Response:
        """Order a job through v1, which answers with the video itself. Raises as `submit`.

        Returns:
            a 2xx answer, whose body is still to be read and closed.
        """

        async def answer(seconds: float) -> Reply | httpx.Response:
            response = await self._http.open_api(self.endpoints.submit("v1"), payload, read=seconds)
            if 200 <= response.status_code < 300:
                return response
            try:
                return await self._http.whole(response)
            except BrokenError:
                return Reply(response.status_code, response.headers, b"")

        async def post() -> Reply | httpx.Response:
            left = self.deadline.left()
            try:
                return await self.deadline.wait(answer(left))
            except OutOfTime:
                raise BrokenError(f"no answer within {left:.0f} s") from None

        return await self._send_paid(record, post)

    async def status(self, request_id: str) -> Status | None:
        """Return the state of a job; None where the server does not know it (404).

        Raises:
            RefusedError: the server refuses the request.
        """
        return await self._poll(self.endpoints.status(request_id), request_id)

    async def result(self, request_id: str, file: BinaryIO | None = None) -> Status | None:
        """Return a finished job with its output. Raises as `status`.

        Args:
            file: receives the video if the answer holds it as base64; the output is then `inline.MARK`.

        Raises:
            VideoDownloadError: the video in the answer is not base64, or too large.
        """
        return await self._poll(self.endpoints.result(request_id), request_id, file)

    async def credits(self) -> dict[str, float]:
        """Return the remaining credits by kind. It is free of charge, so it can test a key.

        Raises:
            RefusedError: the key is not accepted.
            UnreachableError: no answer, or an invalid one.
        """
        reply = await self.send_free("GET", self.endpoints.credits(), tries=_TRIES)
        found = credits_of(reply.json())
        if not reply.ok:
            raise refusal("the request for the credits", reply.status, reply.message())
        if not found:
            raise UnreachableError(f"{self.endpoints.base} answered without credits; check SEGMIND_BASE_URL")
        return found

    async def history(self, request_id: str) -> Entry | None:
        """Return a job of any age from the history, None if it has none with this id.

        Raises:
            RefusedError, UnreachableError: the history can't be read.
        """
        reply = await self.send_free("GET", self.endpoints.history_of(request_id), tries=_TRIES)
        if reply.status == 404:
            return None
        if not reply.ok:
            raise refusal("the request for the history", reply.status, reply.message())
        return next((entry for entry in entries_of(reply.json()) if entry.request_id == request_id), None)

    async def find(self, payload: Mapping[str, Any], since: float, known: set[str]) -> str | None:
        """Return the request id of a job that was ordered with this payload, None if the history has none.

        Failed jobs are skipped: an earlier one with the same inputs may have failed while this one runs.

        Args:
            since: seconds since 1970; the search begins a day earlier, as clocks may disagree.
            known: ids that belong to other jobs.
        """
        # The history takes windows of 31 days.
        since = max(since, self._clock.time() - 29 * 24 * 3600)
        first = moment(since) - timedelta(days=1)
        query: dict[str, Any] = {"per_page": 100, "from_date": first.date().isoformat(), "model_name": MODEL}
        for page in range(1, _PAGES + 1):
            reply = await self.send_free(
                "GET", self.endpoints.history, params={"page": page, **query}, tries=_TRIES
            )
            if not reply.ok:
                raise refusal("the request for the history", reply.status, reply.message())
            entries = list(entries_of(reply.json()))
            for entry in entries:
                if (
                    _is_same_order(entry.request_body, payload)
                    and entry.request_id not in known
                    and entry.status.state != FAILED
                ):
                    return entry.request_id
            if len(entries) < query["per_page"]:
                return None
        return None

    async def send_free(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, object] | None = None,
        stream: Callable[[], AsyncIterable[bytes]] | None = None,
        length: int | None = None,
        file: BinaryIO | None = None,
        tries: int | None = None,
        seconds: float = _GET_SECONDS,
    ) -> Reply:
        """Send a request that costs nothing; repeat it if the connection breaks, and on 408, 429 and 5xx.

        Args:
            stream: makes the body of each try, JSON of `length` bytes.
            file: receives a video that the answer holds as base64.
            tries: maximum number of tries; None repeats until the deadline.
            seconds: time limit of one try.

        Raises:
            UnreachableError: every try failed.
        """
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_slot()
            wait = backoff(attempt)
            try:
                body = None if stream is None else stream()
                inline = None
                if file is not None:
                    file.seek(0)
                    file.truncate()
                    inline = InlineVideo(file, MAX_BYTES)
                reply = await self._http.api(
                    method,
                    url,
                    params=params,
                    stream=body,
                    length=length,
                    inline=inline,
                    seconds=min(seconds, self.deadline.left()),
                )
            except (NotSentError, BrokenError) as error:
                self.problem = str(error)
            else:
                if 300 <= reply.status < 400:
                    raise UnreachableError(
                        f"{_host(url)} redirects ({reply.status}), and the key follows no redirect; check "
                        "SEGMIND_BASE_URL"
                    )
                if reply.status < 500 and reply.status not in (408, 429):
                    self.problem = ""
                    return reply
                self.problem = f"HTTP {reply.status} {reply.message()}".strip()
                if reply.status == 429:
                    wait = self._hold(reply, wait)
            if attempt == tries:
                raise UnreachableError(
                    f"{_host(url)} gave no answer in {tries} tries ({self.problem}); try again later"
                )
            await self.deadline.sleep(wait)

    async def _post(self, url: str, payload: Mapping[str, Any], seconds: float) -> Reply:
        return await self._http.api("POST", url, body=payload, seconds=min(seconds, self.deadline.left()))

    async def _send_paid(self, record: SendRecord, post: Callable[[], Any]) -> Any:
        """Send a request that may be billed, and return its 2xx answer.

        Send it again only if it can't have been accepted.
        """
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_slot()
            self.deadline.left()
            record.leaving()
            try:
                reply = await post()
            except NotSentError as error:
                record.not_sent()
                if attempt == _TRIES:
                    raise UnreachableError(
                        f"{self.endpoints.base} can't be reached ({error}); nothing was ordered; check the network "
                        "and try again"
                    ) from None
                await self.deadline.sleep(backoff(attempt))
                continue
            except BrokenError as error:
                raise UnclearError(str(error)) from None
            if isinstance(reply, httpx.Response) or reply.ok:
                return reply
            if reply.status == 408 or reply.status >= 500:
                text = reply.message()
                raise UnclearError(f"it answered HTTP {reply.status}{f': {text}' if text else ''}")
            record.not_sent()
            if reply.status == 429 and attempt < _LIMITED_TRIES:
                await self.deadline.sleep(self._hold(reply, backoff(attempt)))
                continue
            if 300 <= reply.status < 400:
                raise UnreachableError(
                    f"{self.endpoints.base} redirects ({reply.status}), and a paid request follows no redirect; "
                    "nothing was ordered; check SEGMIND_BASE_URL"
                )
            raise refusal("the job", reply.status, reply.message())

    async def _poll(self, url: str, request_id: str, file: BinaryIO | None = None) -> Status | None:
        attempt = 0
        while True:
            seconds = _GET_SECONDS if file is None else self.deadline.left()
            reply = await self.send_free("GET", url, file=file, seconds=seconds)
            if reply.status == 404:
                return None
            status = status_of(reply.json(), reply.headers)
            if status is not None and (reply.ok or status.state == FAILED):
                return status
            if not reply.ok:
                error = refusal(f"the request for job {request_id}", reply.status, reply.message())
                error.request_id = request_id
                raise error
            attempt += 1
            await self.deadline.sleep(backoff(attempt))

    async def _wait_for_slot(self) -> None:
        wait = self._limiter.reserve(self._clock.monotonic())
        if wait > 0:
            await self.deadline.sleep(wait)

    def _hold(self, reply: Reply, otherwise: float) -> float:
        """Return the seconds that a 429 asks to wait, and hold back all runs with this key."""
        wait = requested_wait(reply.headers, self._clock.time()) or otherwise
        self._limiter.hold(self._clock.monotonic() + wait)
        return wait


def _is_same_order(body: Any, payload: Mapping[str, Any]) -> bool:
    """Return whether a request of the history has the same clips as this order, and no value that differs."""
    if not isinstance(body, dict) or any(body.get(name) != payload.get(name, "") for name in CLIPS):
        return False
    return all(body.get(name, value) == value for name, value in payload.items())


def _host(url: str) -> str:
    return httpx.URL(url).host
