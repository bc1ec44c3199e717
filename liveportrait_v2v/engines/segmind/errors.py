"""Errors of the Segmind engine, and the text of a server's error.

Public, in the order of the tree:

* LivePortraitError
  * SegmindError
    - ApiKeyError
    - UnreachableError
    - RefusedError
    - JobFailedError
    - AmbiguousJobError
    - DeadlineError
    - ResultLostError
    + VideoDownloadError
      - download.GoneError
      - download.AddressError
    - JournalError
    - SpendingLimitError
  * Cancelled
    - JobStoppedError

Internal to `segmind`; each is caught and turned into one of the above:

* Exception
  - http.NotSentError
  - http.BrokenError
  - client.UnclearError
  - deadlines.OutOfTime
"""

from __future__ import annotations

import json
from typing import Any

from ...errors import Cancelled, LivePortraitError
from ...remedies import remedy
from ...text import one_line

# Lists and objects in each other, in which a server's text is looked for.
_DEPTH = 8
TEXT_NAMES = ("error", "message", "detail", "error_description", "msg", "reason")
"""Names of a server's messages in its JSON."""

# Remedies by HTTP status.
_REMEDIES = {
    400: "check the settings and the clips",
    403: "the key may not use this model; ask the owner of its team, or use another key",
    404: "the model is not offered at this address; check SEGMIND_BASE_URL",
    405: "this address does not take such requests; check SEGMIND_BASE_URL",
    406: "the credits may be used up, or a value was rejected: see the server's message",
    408: "try again later",
    413: "the clips are too large; shorten them or scale them down",
    422: "a value was rejected: see the server's message",
    429: "too many requests at a time; try again later",
}


class SegmindError(LivePortraitError):
    """Base class of the Segmind engine's errors.

    Attributes:
        request_id: of the job concerned, None if there is none.
    """

    def __init__(self, message: str, request_id: str | None = None):
        super().__init__(message)
        self.request_id = request_id


class ApiKeyError(SegmindError):
    """No usable key is set, or other users can read its file."""


class UnreachableError(SegmindError):
    """The server can't be reached, or its answers are invalid; nothing new was ordered."""


class RefusedError(SegmindError):
    """The API refused a request; a refused job is not billed.

    Attributes:
        status: the HTTP status code.
    """

    def __init__(self, message: str, status: int, request_id: str | None = None):
        super().__init__(message, request_id)
        self.status = status


class JobFailedError(SegmindError):
    """The job ended without a result; it is not billed."""


class AmbiguousJobError(SegmindError):
    """It is unknown whether the job was accepted: it may have been billed."""


class DeadlineError(SegmindError):
    """The deadline of a run has passed; its job may continue."""


class ResultLostError(SegmindError):
    """A finished job's result is no longer available."""


class VideoDownloadError(SegmindError):
    """A file can't be fetched, or is not a video."""


class JournalError(SegmindError):
    """The record of paid jobs can't be read or written; without it nothing is ordered."""


class SpendingLimitError(SegmindError):
    """One more job would cost more than the user allows."""


class JobStoppedError(Cancelled):
    """The caller stopped a run whose job may continue.

    Attributes:
        request_id: of the job, None if it is unknown.
    """

    def __init__(self, message: str, request_id: str | None = None):
        super().__init__(message)
        self.goes_on = str(self)
        self.request_id = request_id


def message_of(value: Any) -> str:
    """Return a server's error text as one line of at most 400 characters.

    Args:
        value: a decoded JSON body or a part of one, or text, which may be HTML.
    """
    return one_line(_text_of(value, _DEPTH))


def _text_of(value: Any, depth: int) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not depth:
        return "…"
    if isinstance(value, list):
        return "; ".join(filter(None, (_text_of(item, depth - 1) for item in value[:5])))
    if isinstance(value, dict):
        for name in TEXT_NAMES:
            if value.get(name):
                return _text_of(value[name], depth - 1)
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"


def refusal(what: str, status: int, text: str) -> RefusedError:
    """Return the error for an HTTP status that refuses a request.

    Args:
        what: the request, such as "the job" or "the upload".
        text: the server's text, from `message_of`.
    """
    quoted = f': "{text}"' if text else ""
    hint = _REMEDIES.get(status, "try again later")
    if status == 401:
        hint = remedy("key")
    if status == 406 and "credit" in text.lower():
        hint = "buy credits, then run again"
    return RefusedError(f"{what} was refused with HTTP {status}{quoted}; {hint}", status)
