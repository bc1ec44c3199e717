"""Results that an answer holds as base64 text: decoded into a file while the answer arrives, in bounded memory."""

from __future__ import annotations

import base64
import binascii
import re
from typing import BinaryIO

from .errors import TEXT_NAMES, VideoDownloadError

# Characters of a string by which a video is told from an address or a message.
_HEAD_LENGTH = 512
_STOP = re.compile(rb'["\\]')
_VIDEO = re.compile(rb"(?:data:[a-zA-Z0-9.+/-]+(?:;[^,;]*)*;base64,)?([A-Za-z0-9+/]+={0,2})")
MARK = "data:inline"
"""Text that stands for the video in the rest of the answer."""


class InlineVideo:
    r"""Splitter of an answer into a video, written to a file, and the rest.

    The first string of the JSON that is base64, bare or as a data URI, and of at least 512 characters is the video,
    unless it is named as a message. An escape in it may be `\/`.

    Attributes:
        found: whether a video came.
    """

    def __init__(self, file: BinaryIO, max_bytes: int, *, bare: bool = False):
        """Begin an answer.

        Args:
            file: for the video.
            max_bytes: largest video that is accepted.
            bare: the answer is the base64 text itself, without quotes.
        """
        self._file, self._max_bytes = file, max_bytes
        self._in_string, self._escaped = bare, False
        self._head: bytes | None = b"" if bare else None  # of a string that may be the video
        self._name = b""  # the last short string, such as the name of the next one
        self._left: bytes | None = None  # of the video, not decoded yet
        self._size = 0
        self._bare = bare
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return those that are not the video's.

        Raises:
            VideoDownloadError: the video is not base64, or too large.
        """
        rest = bytearray()
        while data:
            if not self._in_string:
                before, quote, data = data.partition(b'"')
                rest += before + quote
                if quote:
                    self._in_string, self._head = True, None if self.found else b""
                continue
            text, data, ended = self._string(data)
            if self._left is not None:
                self._decode(text)
            elif self._head is not None:
                self._head += text
                if ended or len(self._head) >= _HEAD_LENGTH:
                    rest += self._judged()
            else:
                rest += text
            if ended:
                if self._left is not None:
                    self._end()
                rest += b'"'
                self._in_string = False
        return bytes(rest)

    def close(self) -> bytes:
        """End the answer; return and raise as `feed`."""
        rest = self._judged() if self._bare and self._head is not None else b""
        if self._left is not None:
            if not self._bare:
                raise VideoDownloadError("the answer with the video breaks off")
            self._end()
        return rest

    def _string(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """Return the part of a string in some data, what follows behind its quote, and whether it ended."""
        at = 0
        while at < len(data):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            next_one = _STOP.search(data, at)
            if next_one is None:
                break
            at = next_one.start()
            if data[at : at + 1] == b'"':
                return data[:at], data[at + 1 :], True
            self._escaped = True
            at += 1
        return data, b"", False

    def _judged(self) -> bytes:
        """Return the head of a string that is not the video, else the mark in its place."""
        head, self._head = self._head or b"", None
        plain = head.replace(b"\\/", b"/").rstrip(b"\\")
        video = _VIDEO.fullmatch(b"".join(plain.split()) if self._bare else plain)
        if len(head) < _HEAD_LENGTH or video is None or self._name.decode("latin-1") in TEXT_NAMES:
            self._name = head[:_HEAD_LENGTH]
            return head
        self.found, self._left = True, b""
        self._decode(head.partition(b",")[2] if head.startswith(b"data:") else head)
        return MARK.encode()

    def _decode(self, text: bytes) -> None:
        text = (self._left or b"") + text
        half = text[-1:] if text.endswith(b"\\") else b""  # an escape may be split
        text = text[: len(text) - len(half)].replace(b"\\/", b"/")
        if self._bare:
            text = b"".join(text.split())
        # Up to four characters are held back, because only the end of the text may be padded.
        whole = max(len(text) - 1, 0) // 4 * 4
        if b"=" in text[:whole]:
            raise VideoDownloadError("its base64 text continues after its end")
        self._write(text[:whole])
        self._left = text[whole:] + half

    def _end(self) -> None:
        self._write(self._left or b"")
        self._left = None

    def _write(self, text: bytes) -> None:
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise VideoDownloadError("its text is not valid base64") from None
        self._size += len(data)
        if self._size > self._max_bytes:
            raise VideoDownloadError("it is larger than the limit")
        self._file.write(data)
