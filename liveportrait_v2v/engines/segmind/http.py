"""HTTP requests: size-limited, uncompressed, without automatic redirects. Only those to the API carry the key."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ...deadlines import Deadline, OutOfTime
from ...text import RedactingFilter, one_line, quoted, redact_json
from ...web import PinnedTransport, Resolver, UrlError, check_url, keep_location, resolve
from .endpoints import Endpoints
from .errors import message_of
from .inline import InlineVideo
from .keys import ApiKey
from .pacing import Limiter, limiter_of

MAX_BODY = 16 << 20
"""Bytes; the largest JSON answer that is accepted."""

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

# Loggers that show heads of answers, in which a server may echo the key. Programs around this one may enable them.
for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(RedactingFilter())


class NotSentError(Exception):
    """The request was not sent: DNS, connection or TLS failed. Internal to `segmind`."""


class BrokenError(Exception):
    """The connection broke or timed out after the server may have read the request. Internal to `segmind`."""


@dataclass(frozen=True)
class Timeouts:
    """Timeouts of a connection in seconds without progress."""

    connect: float = 10.0
    read: float = 30.0
    write: float = 60.0

    def silence(self, read: float | None = None) -> httpx.Timeout:
        """Return the timeouts for httpx, with another one for reading if given."""
        return httpx.Timeout(
            connect=self.connect,
            read=self.read if read is None else read,
            write=self.write,
            pool=self.connect,
        )


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the decoded body without secrets, None if it is not JSON. NaN and Infinity are not JSON."""
        try:
            return redact_json(json.loads(self.body, parse_constant=_refuse))
        except (ValueError, RecursionError):
            return None

    def message(self) -> str:
        """Return the server's message as one line."""
        decoded = self.json()
        return message_of(self.body[:8000].decode("utf-8", "replace") if decoded is None else decoded)


class Http:
    """Connections of one run; an asynchronous context manager.

    Connections are not reused: one that the server has just closed would make a paid request ambiguous.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        key: ApiKey,
        *,
        timeouts: Timeouts | None = None,
        resolver: Resolver = resolve,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        """Configure the connections; entering the context makes them.

        Args:
            transport: for requests to the API; None takes httpx's own, and honours the proxies of the environment.
        """
        self.endpoints = endpoints
        self._key = key
        self._timeouts = timeouts or Timeouts()
        self._resolver = resolver
        self._transport = transport

    async def __aenter__(self) -> Http:
        # SSL_CERT_FILE and SSL_CERT_DIR count; a key for this machine's own server needs no proxy.
        trust = await asyncio.to_thread(httpx.create_ssl_context)
        self._api = self._client(
            trust_env=not self.endpoints.loopback, verify=trust, transport=self._transport
        )
        pinned = PinnedTransport(
            allow_loopback=self.endpoints.loopback, resolver=self._resolver, verify=trust
        )
        self._pinned = self._client(trust_env=False, transport=pinned)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for client in (self._api, self._pinned):
            await client.aclose()

    def _client(self, **kinds: Any) -> httpx.AsyncClient:
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"User-Agent": "liveportrait-v2v", "Accept": "*/*", "Accept-Encoding": "identity"}
        silence = self._timeouts.silence()
        return httpx.AsyncClient(
            timeout=silence,
            headers=headers,
            limits=limits,
            follow_redirects=False,
            event_hooks={"response": [keep_location]},
            **kinds,
        )

    async def api(
        self,
        method: str,
        url: str,
        *,
        body: object = None,
        stream: AsyncIterable[bytes] | None = None,
        length: int | None = None,
        params: Mapping[str, object] | None = None,
        inline: InlineVideo | None = None,
        seconds: float,
    ) -> Reply:
        """Send a request to the API, with the key, and return its whole answer.

        Args:
            body: sent as JSON.
            stream: instead of `body`, JSON of `length` bytes.
            inline: takes a video out of the answer.
            seconds: time limit of the whole exchange.

        Raises:
            NotSentError: see there.
            BrokenError: see there; also for an answer that is too large, encoded or cut off.
            VideoDownloadError: the video in the answer is not base64, or too large.
        """
        try:
            return await Deadline(seconds).wait(self._call(method, url, body, stream, length, params, inline))
        except OutOfTime:
            pass
        raise BrokenError(f"no whole answer within {seconds:.0f} s")

    async def open_api(self, url: str, body: object, *, read: float) -> httpx.Response:
        """POST to the API with the key; the caller reads and closes the answer. Raises as `api`.

        Args:
            read: read timeout in seconds.
        """
        request = self._api.build_request("POST", url, json=body, timeout=self._timeouts.silence(read))
        return await self._send(self._api, request, self._key)

    async def whole(self, response: httpx.Response, inline: InlineVideo | None = None) -> Reply:
        """Read an answer of the API to its end and close it; `inline` takes a video out of it.

        Raises:
            BrokenError: the answer is too large, encoded or cut off.
        """
        try:
            if encoding(response.headers):
                raise BrokenError("the answer is compressed, which was not asked for")
            body = bytearray()
            async for block in blocks(response):
                body += block if inline is None else inline.feed(block)
                if len(body) > MAX_BODY:
                    raise BrokenError(f"the answer is larger than {MAX_BODY >> 20} MB")
            if inline is not None:
                body += inline.close()
        finally:
            await response.aclose()
        return Reply(response.status_code, response.headers, bytes(body))

    async def open_file(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """GET a file without the key; the caller reads and closes the answer.

        Raises:
            UrlError: the URL violates a rule.
            NotSentError, BrokenError: see there.
        """
        try:
            request = self._pinned.build_request("GET", url, headers=dict(headers))
        except (httpx.InvalidURL, ValueError):
            raise UrlError(f"not a URL: {quoted(url)}") from None
        if self.endpoints.loopback or not _has_proxy(request.url):
            return await self._send(self._pinned, request, None)
        # The proxy resolves the name again, so the address can be checked but not pinned.
        await asyncio.to_thread(check_url, url, resolver=self._resolver)
        return await self._send(self._api, request, None)

    @property
    def limiter(self) -> Limiter:
        """Rate limiter that all runs with this key share."""
        return limiter_of(self._key)

    async def _call(self, method, url, body, stream, length, params, inline) -> Reply:
        headers = {}
        if stream is not None:
            headers = {"Content-Type": "application/json", "Content-Length": str(length)}
        request = self._api.build_request(
            method, url, json=body, content=stream, headers=headers, params=params
        )
        return await self.whole(await self._send(self._api, request, self._key), inline)

    async def _send(
        self, client: httpx.AsyncClient, request: httpx.Request, key: ApiKey | None
    ) -> httpx.Response:
        # Raised outside the handlers, because httpx's errors carry the request with its headers.
        try:
            return await client.send(request, auth=key, stream=True)
        except _NEVER_SENT as error:
            failure: Exception = NotSentError(_reason(error))
        except httpx.HTTPError as error:
            failure = BrokenError(_reason(error))
        raise failure


async def blocks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the raw body as it arrives.

    Raises:
        BrokenError: the body ends early, or the connection times out.
    """
    failure = None
    try:
        async for block in response.aiter_raw():
            yield block
    except httpx.HTTPError as error:
        failure = BrokenError(_reason(error))
    if failure is not None:
        raise failure


def encoding(headers: Mapping[str, str]) -> str:
    """Return the content encoding of an answer, "" if it has none."""
    value = headers.get("content-encoding", "").strip().lower()
    return "" if value == "identity" else value


def _has_proxy(url: httpx.URL) -> bool:
    configured = urllib.request.getproxies()
    return not configured.keys().isdisjoint((url.scheme, "all")) and not urllib.request.proxy_bypass(url.host)


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return one_line(str(error)) or type(error).__name__


def _refuse(constant: str) -> None:
    raise ValueError(constant)
