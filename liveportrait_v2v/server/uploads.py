"""Uploads: JSON with clips as data URLs, saved while it arrives, in bounded memory."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Protocol

from ..deadlines import Deadline
from ..errors import LivePortraitError
from .files import MEDIA_TYPES, Upload

MAX_FILES = 10
_SUFFIXES = {kind: suffix for suffix, kind in MEDIA_TYPES.items()}
_SPACE = b" \t\r\n"
_HEAD_BYTES = 128
_EXPECTED = 'send {"data_urls": ["data:video/mp4;base64,…"]}'


class BadUpload(LivePortraitError):
    """The body of an upload is malformed."""


class TooLarge(LivePortraitError):
    """A clip exceeds the server's limit."""


class ByteStream(Protocol):
    """Stream of bytes that is read in pieces."""

    async def readany(self) -> bytes:
        """Return the next bytes, b"" at the end."""


class PacedStream:
    """Body of a request that has to arrive at a minimum rate."""

    def __init__(self, stream: ByteStream, seconds: float, min_rate: float):
        """Wrap a stream.

        Args:
            seconds: longest silence; a shorter one must be made up for.
            min_rate: bytes per second.
        """
        self._stream, self._seconds, self._min_rate = stream, seconds, min_rate
        self._left = seconds

    async def readany(self) -> bytes:
        """Return the next bytes, b"" at the end.

        Raises:
            OutOfTime: they are too slow.
        """
        deadline = Deadline(self._left)
        data = await deadline.wait(self._stream.readany())
        gained = len(data) / self._min_rate
        self._left = min(self._left - deadline.elapsed() + gained, self._seconds)
        return data


async def save_data_urls(stream: ByteStream, upload: Upload, max_bytes: int) -> None:
    """Save the clips of one upload.

    Args:
        stream: body of the request.
        upload: takes the clips; it is not finished here.
        max_bytes: maximum size of a clip.

    Raises:
        BadUpload: the body is not the expected JSON or base64, or a media type is neither video nor picture.
        TooLarge: a clip exceeds max_bytes, or there are too many.
        NoSpace, OSError: a file can't be written.
    """
    text = _Text(stream)
    await text.expect(b"{")
    await text.expect(b'"')
    if await text.string_up_to(b'"') != b"data_urls":
        raise BadUpload(f"unknown name in an upload; {_EXPECTED}")
    await text.expect(b":")
    await text.expect(b"[")
    count = 0
    while True:
        await text.expect(b'"')
        suffix = _suffix(await text.string_up_to(b","))
        if count == MAX_FILES:
            raise TooLarge(f"at most {MAX_FILES} files go into one upload")
        await upload.begin(suffix)
        await _save(text.rest_of_string(), upload, max_bytes)
        count += 1
        if await text.next() == b"]":
            break
        await text.expect(b",")
    await text.expect(b"]")
    await text.expect(b"}")
    await text.expect_end()


def _suffix(head: bytes) -> str:
    kind, *parameters = head.decode("latin-1").lower().split(";")
    if not kind.startswith("data:") or parameters[-1:] != ["base64"]:
        raise BadUpload(f"a file must be a data URL in base64; {_EXPECTED}")
    try:
        return _SUFFIXES[kind[len("data:") :]]
    except KeyError:
        raise BadUpload(f"a file must be one of {', '.join(_SUFFIXES)}; got {kind[5:]!a}") from None


async def _save(pieces: AsyncIterator[bytes], upload: Upload, max_bytes: int) -> None:
    size, left = 0, b""

    async def write(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > max_bytes:
            raise TooLarge(f"a file is larger than the limit of {max_bytes} bytes")
        await upload.write(data)

    async for piece in pieces:
        piece = left + piece
        # Up to four characters are held back, because only the end of the text may be padded.
        whole = max(len(piece) - 1, 0) // 4 * 4
        await write(_decode(piece[:whole], padded=False))
        left = piece[whole:]
    await write(_decode(left, padded=True))
    if not size:
        raise BadUpload("a file is empty")


def _decode(text: bytes, padded: bool) -> bytes:
    if not padded and b"=" in text:
        raise BadUpload("base64 continues after its end")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadUpload(f"a file is not base64: {error}") from None


class _Text:
    """JSON text, read on demand."""

    def __init__(self, stream: ByteStream):
        self._stream, self._buffer = stream, b""

    async def next(self) -> bytes:
        """Return the next byte that is not white space, without consuming it."""
        while True:
            self._buffer = self._buffer.lstrip(_SPACE)
            if self._buffer:
                return self._buffer[:1]
            await self._more()

    async def expect(self, byte: bytes) -> None:
        if await self.next() != byte:
            raise BadUpload(f"not the JSON of an upload; {_EXPECTED}")
        self._buffer = self._buffer[1:]

    async def expect_end(self) -> None:
        while not self._buffer.strip(_SPACE):
            self._buffer = await self._stream.readany()
            if not self._buffer:
                return
        raise BadUpload(f"there is more after the JSON of an upload; {_EXPECTED}")

    async def string_up_to(self, byte: bytes) -> bytes:
        """Consume a string up to and including a nearby byte, and return the part before that byte."""
        while byte not in self._buffer:
            if len(self._buffer) > _HEAD_BYTES:
                break
            await self._more()
        head, found, rest = self._buffer.partition(byte)
        head = head.replace(b"\\/", b"/")
        if not found or len(head) > _HEAD_BYTES or b'"' in head or b"\\" in head:
            raise BadUpload(f"a file must be a data URL in base64; {_EXPECTED}")
        self._buffer = rest
        return head

    async def rest_of_string(self) -> AsyncIterator[bytes]:
        r"""Yield the pieces of the string up to its end. The only escape allowed in base64 is `\/`."""
        while True:
            piece, end, rest = self._buffer.partition(b'"')
            # An escape may be split between two pieces.
            half = piece[-1:] if not end and piece.endswith(b"\\") else b""
            yield piece[: len(piece) - len(half)].replace(b"\\/", b"/")
            self._buffer = rest if end else half
            if end:
                return
            await self._more()

    async def _more(self) -> None:
        data = await self._stream.readany()
        if not data:
            raise BadUpload("the upload ends before its JSON does")
        self._buffer += data
