"""Parsing of the API's answers in all known shapes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...text import one_line, redact_json
from ...web import MAX_URL
from .endpoints import valid_request_id
from .errors import message_of

COMPLETED, FAILED = "COMPLETED", "FAILED"
_URL_NAMES = ("url", "video_url", "output", "video", "uri", "href")
# Characters of a state or another short name.
_STATE_LENGTH = 40
_ADDRESS = re.compile(r"//|[A-Za-z][A-Za-z0-9+.-]*:")
_OUTPUT_NAMES = ("output", "video", "video_url", "url", "result")


@dataclass(frozen=True)
class Bill:
    """Cost of a job and remaining credits in the server's units, None where it reports none."""

    cost: float | None = None
    remaining: float | None = None


@dataclass(frozen=True)
class Status:
    """State of a job.

    Attributes:
        state: as reported by the server, in upper case; "" if it reports none.
        error: the server's description of a failure.
        output: URL of the result, None if there is none.
    """

    state: str
    error: str
    output: str | None
    bill: Bill


@dataclass(frozen=True)
class Entry:
    """Entry of the history."""

    request_id: str
    status: Status
    request_body: Any


def status_of(body: object, headers: Mapping[str, str]) -> Status | None:
    """Return the status or result in a body, None if the body is not an object."""
    if not isinstance(body, dict):
        return None
    state = body.get("status")
    output = next(filter(None, (find_url(body.get(name)) for name in _OUTPUT_NAMES)), None)
    return Status(
        _state(state),
        message_of(next((body[name] for name in ("error", "message", "detail") if body.get(name)), None)),
        output,
        bill_of(body.get("metrics"), headers),
    )


def bill_of(metrics: object, headers: Mapping[str, str]) -> Bill:
    """Return cost and remaining credits of a body and its headers."""
    metrics = metrics if isinstance(metrics, dict) else {}
    return Bill(
        _number(metrics.get("cost", headers.get("x-cost"))),
        _number(metrics.get("remaining_credits", headers.get("x-remaining-credits"))),
    )


def find_url(value: object, depth: int = 3) -> str | None:
    """Return the first URL or data URI in a string, list, object, or JSON text of one of them.

    An address of another kind is returned as well, so that it is refused instead of being waited for.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lower().startswith(("http://", "https://", "data:")):
            return text
        if text[:1] in ("[", "{", '"') and depth:
            try:
                return find_url(redact_json(json.loads(text)), depth - 1)
            except (ValueError, RecursionError):
                return None
        return text[:MAX_URL] if _ADDRESS.match(text) else None
    if not depth:
        return None
    if isinstance(value, list):
        return next(filter(None, (find_url(item, depth - 1) for item in value[:16])), None)
    if isinstance(value, dict):
        return next(filter(None, (find_url(value.get(name), depth - 1) for name in _URL_NAMES)), None)
    return None


def entries_of(body: object, depth: int = 3) -> Iterator[Entry]:
    """Yield the entries in an answer of the history, at any depth of wrapping."""
    if isinstance(body, list):
        for item in body:
            yield from entries_of(item, depth)
    elif isinstance(body, dict):
        request_id = valid_request_id(body.get("request_id"))
        if request_id is not None:
            state = body.get("model_status")
            output = find_url(body.get("generation_url")) or find_url(body.get("output"))
            cost = _number(body.get("credits_deduction"))
            yield Entry(
                request_id,
                Status(
                    _state(state),
                    message_of(body.get("error")),
                    output,
                    Bill(cost),
                ),
                _decoded(body.get("request_body")),
            )
        elif depth:
            for item in body.values():
                if isinstance(item, dict | list):
                    yield from entries_of(item, depth - 1)


def uploaded_urls(body: object) -> list[str]:
    """Return the URLs in the answer to an upload; empty if it has none."""
    if not isinstance(body, dict):
        return []
    for name in ("file_urls", "urls", "url"):
        value = body.get(name)
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list) and value:
            return [
                url
                for url in value
                if isinstance(url, str) and url.lower().startswith(("https://", "http://"))
            ]
    return []


def credits_of(body: object) -> dict[str, float]:
    """Return the credits by kind, such as "credits" and "free-credits"; empty if the answer has none."""
    if not isinstance(body, dict):
        return {}
    found = {name: _number(value) for name, value in body.items() if "credit" in str(name).lower()}
    return {one_line(name, _STATE_LENGTH): value for name, value in found.items() if value is not None}


def _state(value: object) -> str:
    return one_line(value, _STATE_LENGTH).upper() if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _decoded(value: object) -> object:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value
