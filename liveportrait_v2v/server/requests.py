"""Validation of requests: parameters, JSON, history queries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ..errors import SettingsError
from ..settings import AnimationSettings
from ..web import MAX_URL, UrlError, parse_url
from .files import FileStore
from .jobs import COMPLETED, FAILED, PROCESSING, QUEUED, HistoryQuery

CLIPS = ("input_video", "driving_video")
_MAX_DAYS = 31
_USUAL_DAYS = 7
_STATUSES = {"COMPLETED": (COMPLETED,), "FAILED": (FAILED,), "PENDING": (QUEUED, PROCESSING)}


class BadRequest(SettingsError):
    """A request violates a rule."""


@dataclass(frozen=True)
class JobRequest:
    """Validated request for a job.

    Attributes:
        request: parameters as they were sent.
        source, driving: https URLs, or names of the server's own files.
        settings: values for AnimationSettings.
    """

    request: dict[str, Any]
    source: str
    driving: str
    settings: dict[str, Any]


def parse_json(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        BadRequest: not a JSON object.
    """
    try:
        value = json.loads(data.decode())
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest(f"the body must be a JSON object, got {type(value).__name__}")
    return value


def parse_order(request: dict[str, Any], base: str, files: FileStore, *, allow_loopback: bool) -> JobRequest:
    """Validate the parameters of a job. Hosts of clips are resolved later, when the clips are fetched.

    Args:
        base: scheme and host in the URLs of the server's own files.

    Raises:
        SettingsError: a parameter is missing, unknown or invalid.
    """
    settings = AnimationSettings.from_dict({name: request[name] for name in request if name not in CLIPS})
    source, driving = (_clip(request, name, base, files, allow_loopback) for name in CLIPS)
    return JobRequest(request, source, driving, settings.to_dict())


def _clip(request: dict[str, Any], name: str, base: str, files: FileStore, allow_loopback: bool) -> str:
    if name not in request:
        raise BadRequest(f"{name} is missing; give the https URL of a clip, or one from upload-asset")
    url = request[name]
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise BadRequest(f"{name} must be a URL of at most {MAX_URL} characters")
    own = f"{base}/files/"
    if url.startswith(own):
        if files.size(url[len(own) :]) is None:
            raise BadRequest(f"{name} is no file of this server, or it has expired; upload it again")
        return url[len(own) :]
    try:
        parse_url(url, allow_loopback=allow_loopback)
    except UrlError as error:
        raise BadRequest(f"{name}: {error}") from None
    return url


def parse_history_query(parameters: Mapping[str, str]) -> tuple[int, HistoryQuery]:
    """Return the page, counted from 1, and the query. Unknown parameters are ignored.

    Raises:
        BadRequest: a value is invalid.
    """
    page = _number(parameters, "page", 1, 1, 10**6)
    per_page = _number(parameters, "per_page", 20, 1, 100)
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    last = _day(parameters, "to_date", today)
    first = _day(parameters, "from_date", last - timedelta(days=_USUAL_DAYS))
    if not timedelta(0) <= last - first <= timedelta(days=_MAX_DAYS):
        raise BadRequest(f"from_date must be at most {_MAX_DAYS} days before to_date, and not after it")
    status = parameters.get("status", "").upper()
    if status and status not in _STATUSES:
        raise BadRequest(f"status must be one of {', '.join(_STATUSES)}, got {parameters['status']!r}")
    order = parameters.get("sort_order", "desc")
    if order not in ("asc", "desc"):
        raise BadRequest(f"sort_order must be asc or desc, got {order!r}")
    query = HistoryQuery(
        created_from=first.timestamp(),
        created_before=(last + timedelta(days=1)).timestamp(),
        model=parameters.get("model_name", "")[:100],
        statuses=_STATUSES.get(status, ()),
        oldest_first=order == "asc",
        offset=(page - 1) * per_page,
        limit=per_page,
    )
    return page, query


def _number(parameters: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = parameters.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise BadRequest(f"{name} must be a whole number from {low} to {high}, got {text[:20]!r}")
    return int(text)


def _day(parameters: Mapping[str, str], name: str, default: datetime) -> datetime:
    text = parameters.get(name)
    if text is None:
        return default
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise BadRequest(f"{name} must be a date YYYY-MM-DD, got {text[:20]!r}") from None
