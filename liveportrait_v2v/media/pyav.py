"""What PyAV 14 to 19 have differently, in one form."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, BinaryIO

import av
import av.container

# PyAV 19 keeps bytes that are no UTF-8 as surrogates; before, they were an error unless ignored.
_METADATA: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}


def open_input(file: str | BinaryIO, **options: Any) -> av.container.InputContainer:
    """Open a file for reading, whatever its metadata hold.

    Args:
        file: a path or URL, or an open file.
        options: of `av.open`.

    Raises:
        av.error.FFmpegError, ValueError: FFmpeg can't read it.
    """
    container: av.container.InputContainer = av.open(file, "r", **_METADATA, **options)
    return container


def rational(value: Any) -> Fraction | None:
    """Return a time base or rate of PyAV's, None where it is unset: before 19 None itself, since then 0/1 or 0/0."""
    return Fraction(value.numerator, value.denominator) if value else None


def metadata(stream: av.stream.Stream, key: str) -> str | None:
    """Return a text of a stream's metadata without what is no UTF-8, None where it has none of that name."""
    text = stream.metadata.get(key)
    return None if text is None else text.encode("utf-8", "ignore").decode("utf-8")
