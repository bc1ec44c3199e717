"""Source of a clip: a path or a file object, opened as often as needed, with clear errors."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import av.error

from ..errors import MediaError
from ..files import sha256_of
from .pyav import open_input

MAX_BYTES = 8 << 30
"""The largest file that is read unless the caller sets another limit: 8 GiB."""
MAX_SIDE = 16384
"""The longest side of a frame, in pixels."""
MAX_PIXELS = 1 << 26
"""The largest frame: 67 million pixels, twice those of 8K, 201 MB as RGB."""

# The first box of an MP4 or MOV file.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")


class Source:
    """A file that can be opened any number of times, from several threads at once.

    A path is opened each time. A file object is read once, here, from its beginning, and its bytes are
    kept in memory, so that it may be closed afterwards.

    Attributes:
        name: path as the user gave it, or the name of a file object.
        path: path of the file; None for a file object.
        max_pixels: the largest frame that is accepted.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
    ):
        """Open a source; `max_pixels` is for those who read its frames.

        Raises:
            MediaError: missing, a directory, not a plain file, unreadable, empty or above `max_bytes`.
        """
        self.path: Path | None = None
        self.max_pixels = max_pixels
        self._bytes = b""
        if not isinstance(source, str | os.PathLike):
            self.name = str(getattr(source, "name", "file object"))
            self._bytes = _read_all(source, self.name, max_bytes)
        else:
            self.name = os.fspath(source)
            self.path = Path(source)
            _check_file(self.path, max_bytes)

    def open(self) -> BinaryIO:
        """Open the file at its beginning, for reading."""
        return io.BytesIO(self._bytes) if self.path is None else self.path.open("rb")

    def digest(self) -> str:
        """Return the SHA-256 of the file, as hexadecimal."""
        with self.open() as file:
            return sha256_of(file)

    def head(self, count: int = 64) -> bytes:
        with self.open() as file:
            return file.read(count)

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()

    @contextmanager
    def container(self) -> Iterator[av.container.InputContainer]:
        """Open the file with FFmpeg; it is closed on leaving the block.

        Raises:
            MediaError: FFmpeg can't read it.
        """
        # "file:" keeps a name such as "a:b.mp4" or "%d.png" from meaning a protocol or a pattern.
        target = io.BytesIO(self._bytes) if self.path is None else f"file:{self.path}"
        try:
            # The whitelist keeps a playlist from reaching into the network.
            limits = {"protocol_whitelist": "file,crypto,data"}
            container = open_input(target, container_options=limits)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(self.name, self._why_not(error)) from error
        try:
            # FFmpeg reads a text file as terminal art.
            if container.format.name == "tty":
                raise MediaError(self.name, _NOT_MEDIA)
            # Playlists refer to other files, which may be private.
            if container.format.name in _PLAYLISTS:
                raise MediaError(self.name, _IS_PLAYLIST)
            yield container
        finally:
            container.close()

    def _why_not(self, error: Exception) -> str:
        head = self.head(16)
        if head.startswith((b"#EXTM3U", b"ffconcat")):
            return _IS_PLAYLIST
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
            return "HEIC pictures can't be read; save it as JPEG or PNG first"
        if head[4:8] in _MP4_BOXES:
            return (
                "truncated or damaged: the index of this MP4/MOV file (its moov box) can't be read; "
                "copy or export the file again"
            )
        return f"{_NOT_MEDIA} ({getattr(error, 'strerror', None) or error})"


def packets(
    container: av.container.InputContainer, *streams: av.stream.Stream
) -> Iterator[av.Packet[av.stream.Stream]]:
    """Yield the packets of some streams, up to the end of the file or to data that can't be read."""
    demuxed = container.demux(list(streams))
    while True:
        try:
            packet = next(demuxed)
        # IndexError: PyAV's error for streams that appear midway.
        except (StopIteration, av.error.FFmpegError, IndexError):
            return
        if packet.size:
            yield packet


_PLAYLISTS = ("concat", "hls", "dash", "imf")
_IS_PLAYLIST = "is a playlist; give the video itself"
_NOT_MEDIA = "not a video or picture; give a file such as MP4, MOV, MKV, WebM, GIF, WebP, PNG or JPEG"


def check_size(name: str, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Check the size of a frame.

    Raises:
        MediaError: the frame is empty or too large.
    """
    if width < 1 or height < 1:
        raise MediaError(name, f"the frame size is unknown or empty ({width}x{height})")
    if max(width, height) > MAX_SIDE or width * height > max_pixels:
        raise MediaError(
            name,
            f"frames of {width}x{height} are too large: at most {MAX_SIDE} pixels a side and "
            f"{max_pixels / 1e6:.3g} million pixels are read here; scale it down first",
        )


def _check_file(path: Path, max_bytes: int) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(path, "is a directory; give a file")
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(path, "is not a plain file")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise MediaError(path, "no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise MediaError(path, f"can't be opened: {getattr(error, 'strerror', None) or error}") from error
    _check_bytes(str(path), status.st_size, max_bytes)


def _read_all(file: BinaryIO, name: str, max_bytes: int) -> bytes:
    try:
        file.seek(0)
        data = file.read(max_bytes + 1)
    except (OSError, ValueError, AttributeError) as error:
        raise MediaError(name, f"can't be read: {error}") from error
    if not isinstance(data, bytes | bytearray):
        raise MediaError(name, "is a text file object; open it in binary mode")
    _check_bytes(name, len(data), max_bytes)
    return bytes(data)


def _check_bytes(name: str, size: int, max_bytes: int) -> None:
    if size == 0:
        raise MediaError(name, "is an empty file")
    if size > max_bytes:
        raise MediaError(
            name, f"is larger than the limit of {max_bytes} bytes; shorten it or raise max_bytes"
        )
