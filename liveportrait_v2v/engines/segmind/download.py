"""Download of a result: resumed after interruptions, limited in size, checked, and atomic."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import httpx

from ...deadlines import Deadline
from ...errors import MediaError
from ...files import PartFile, atomic_write, sha256_of
from ...media import Clip
from ...text import one_line
from ...web import MAX_REDIRECTS, UrlError, join_url, location_of
from .endpoints import MAX_BYTES
from .errors import VideoDownloadError
from .http import MAX_BODY, BrokenError, Http, NotSentError, blocks, encoding
from .inline import InlineVideo
from .pacing import backoff

_TRIES = 6
_GONE = (401, 403, 404, 410)


class GoneError(VideoDownloadError):
    """The host has no such file, or no longer has it."""


class AddressError(VideoDownloadError):
    """The address of the file violates a rule."""


async def download(http: Http, url: str, target: Path, deadline: Deadline, max_bytes: int = MAX_BYTES) -> str:
    """Save a result's video and return its SHA-256.

    Args:
        url: https, or a data URI.

    Raises:
        GoneError: the host has no such file.
        AddressError: the URL violates a rule.
        VideoDownloadError: the file is no video, is too large or breaks off every time.
        OutOfTime: the deadline has passed.
        OSError: the file can't be written.
    """
    with atomic_write(target) as part:
        with part.open("rb+") as file:
            if url[:5].lower() == "data:":
                file.write(_data(url, max_bytes))
                file.flush()
                await check_video(part)
            else:
                await _fetch(_Transfer(http, url, file, max_bytes), part, deadline)
        return await asyncio.to_thread(sha256_of, part)


async def keep_inline(part: PartFile) -> str:
    """Check a video that came as base64 text, move it to its target and return its SHA-256.

    Raises:
        VideoDownloadError: it is no video.
        OSError: the file can't be written.
    """
    await check_video(part.path)
    digest = await asyncio.to_thread(sha256_of, part.path)
    part.commit()
    return digest


async def save(response: httpx.Response, target: Path, max_bytes: int = MAX_BYTES) -> str:
    """Save the video of an answer and return its SHA-256; the answer is closed.

    Raises:
        VideoDownloadError: the answer is too large, encoded, or no video.
        BrokenError: the connection breaks off.
        OSError: the file can't be written.
    """
    try:
        _check_headers(response, max_bytes)
        with atomic_write(target) as part:
            with part.open("rb+") as file:
                await _write_body(response, file, max_bytes)
            await check_video(part)
            return await asyncio.to_thread(sha256_of, part)
    finally:
        await response.aclose()


async def _write_body(response: httpx.Response, file: BinaryIO, max_bytes: int) -> None:
    """Write the video of an answer: its body, or the base64 text in it."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.startswith("text/"):
        async for block in _bounded(blocks(response), max_bytes):
            file.write(block)
        return
    rest = bytearray()
    inline = InlineVideo(file, max_bytes, bare=kind != "application/json")
    async for block in blocks(response):
        rest += inline.feed(block)
        if len(rest) > MAX_BODY:
            raise VideoDownloadError("the answer is larger than the limit")
    rest += inline.close()
    if not inline.found:
        file.write(rest)  # `check_video` quotes it


async def check_video(path: Path) -> None:
    """Check that a file is a complete video that can be decoded.

    Raises:
        VideoDownloadError: it is not.
    """
    try:
        if not (await asyncio.to_thread(lambda: Clip(path).info)).is_still:
            return
        problem = "it is a picture"
    except MediaError as error:
        problem = error.reason
    with path.open("rb") as file:
        head = file.read(300)
    text = one_line(head.decode("utf-8", "ignore")) if head[:1] in (b"<", b"{") else ""
    raise VideoDownloadError(
        f"what was sent is not a video: {problem}" + (f' (it begins "{text[:120]}")' if text else "")
    )


class _Transfer:
    """Transfer of one file over one or more connections."""

    def __init__(self, http: Http, url: str, file, max_bytes: int):
        self._http = http
        self._url = url
        self._file = file
        self._max = max_bytes
        self._etag: str | None = None
        self._total: int | None = None

    async def resume(self) -> None:
        """Fetch the rest of the file.

        Raises:
            BrokenError, NotSentError: the connection broke off; what arrived is kept if it can be resumed.
        """
        have = self._file.tell()
        if have and self._etag is None:
            self._restart()
            have = 0
        headers = {"Range": f"bytes={have}-", "If-Range": self._etag} if have and self._etag else {}
        response = await self._follow(headers)
        try:
            self._begin(response, have)
            async for block in _bounded(blocks(response), self._max - self._file.tell()):
                self._file.write(block)
        finally:
            await response.aclose()
        if self._total is not None and self._file.tell() != self._total:
            raise BrokenError(f"{self._file.tell()} of {self._total} bytes came")
        self._file.flush()

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._etag = None

    async def _follow(self, headers: dict[str, str]) -> httpx.Response:
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._http.open_file(url, headers)
            location = location_of(response)
            if response.status_code not in (301, 302, 303, 307, 308) or not location:
                return response
            await response.aclose()
            url = join_url(response.url, location)
        raise VideoDownloadError(f"its host redirects more than {MAX_REDIRECTS} times")

    def _begin(self, response: httpx.Response, have: int) -> None:
        """Check the head of an answer, and rewind the file unless the body continues it."""
        status = response.status_code
        if status in _GONE:
            raise GoneError(f"its host answers HTTP {status}")
        if status == 416:
            self._restart()
        if status in (408, 416, 429) or status >= 500:
            raise BrokenError(f"its host answers HTTP {status}")
        if status not in (200, 206):
            raise VideoDownloadError(f"its host answers HTTP {status}")
        _check_headers(response, self._max)
        etag = response.headers.get("etag", "")
        length = response.headers.get("content-length", "")
        if status == 200:
            self._restart()
            # A weak ETag does not guarantee identical bytes.
            self._etag = etag if etag.startswith('"') else None
            self._total = int(length) if length.isdigit() else None
            return
        content_range = re.fullmatch(
            r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", "").strip()
        )
        first, last, total = map(int, content_range.groups()) if content_range else (-1, -1, -1)
        if first != have or last != total - 1 or not have or (etag and etag != self._etag):
            self._restart()
            raise BrokenError("its host sent another part than the one that was asked for")
        self._total = total


async def _fetch(transfer: _Transfer, part: Path, deadline: Deadline) -> None:
    for attempt in range(1, _TRIES + 1):
        try:
            await deadline.wait(transfer.resume())
            await check_video(part)
            return
        except UrlError as error:
            raise AddressError(f"its address can't be used: {error}") from None
        except (BrokenError, NotSentError) as error:
            problem = str(error)
        if attempt < _TRIES:
            await deadline.sleep(backoff(attempt))
    raise VideoDownloadError(f"it broke off {_TRIES} times ({problem})")


def _check_headers(response: httpx.Response, max_bytes: int) -> None:
    if encoding(response.headers):
        raise VideoDownloadError("its host sends it compressed, which was not asked for")
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise VideoDownloadError(f"it is larger than the limit of {max_bytes >> 20} MB")


async def _bounded(body: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    got = 0
    async for block in body:
        got += len(block)
        if got > most:
            raise VideoDownloadError("it is larger than the limit")
        yield block


def _data(url: str, max_bytes: int) -> bytes:
    head, comma, text = url.partition(",")
    if not comma or not head.lower().endswith(";base64") or len(text) > max_bytes // 3 * 4 + 4:
        raise VideoDownloadError("its data URI is not base64, or too large")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        pass
    raise VideoDownloadError("its data URI is not valid base64")
