"""Addresses of the API. They are configuration, never part of a run's settings."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

import httpx

from ...web import UrlError, redact_url

VARIABLE = "SEGMIND_BASE_URL"
MODEL = "live-portrait-video-to-video"
CLIPS = ("input_video", "driving_video")
"""The parameters that hold the clips' URLs."""
MAX_BYTES = 2 << 30
"""Bytes; the largest result that is accepted."""
_OFFICIAL = "https://api.segmind.com"
_OFFICIAL_UPLOAD = "https://workflows-api.segmind.com/upload-asset"
_OFFICIAL_HISTORY = "https://api.spotprod.segmind.com/inference-request/request-history"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class Endpoints:
    """Addresses of the API, the only ones that the key is sent to.

    Attributes:
        base: origin of the API, without a trailing slash.
        upload, history: full URLs of these two.
        loopback: whether the API is on this machine; then its files may be, too.
    """

    base: str
    upload: str
    history: str
    loopback: bool

    @classmethod
    def of(cls, base: str | None = None) -> Endpoints:
        """Return Segmind's addresses, or those of a server that has the whole API at one origin.

        Args:
            base: the origin, with or without a trailing /v1; None takes SEGMIND_BASE_URL, else Segmind.

        Raises:
            UrlError: the origin is neither https nor on this machine.
        """
        base = re.sub(r"(/v[12])?/*$", "", base or os.environ.get(VARIABLE) or _OFFICIAL)
        if base == _OFFICIAL:
            return cls(base, _OFFICIAL_UPLOAD, _OFFICIAL_HISTORY, False)
        try:
            url = httpx.URL(base)
        except httpx.InvalidURL:
            url = httpx.URL()
        here = url.host == "localhost" or _is_loopback(url.host)
        allowed = url.scheme == "https" or (url.scheme == "http" and here)
        if not allowed or not url.host or url.userinfo or url.query or url.fragment:
            raise UrlError(
                f"{VARIABLE} must be https://HOST, or http:// on this machine's loopback address, without user "
                f"name or query; got {redact_url(base)}"
            )
        return cls(base, f"{base}/upload-asset", f"{base}/inference-request/request-history", here)

    def submit(self, version: str) -> str:
        return f"{self.base}/{version}/{MODEL}"

    def status(self, request_id: str) -> str:
        return f"{self.base}/v2/requests/{request_id}/status"

    def result(self, request_id: str) -> str:
        return f"{self.base}/v2/requests/{request_id}"

    def credits(self) -> str:
        return f"{self.base}/v1/get-user-credits"

    def history_of(self, request_id: str) -> str:
        return f"{self.history}/{request_id}"


def valid_request_id(value: object) -> str | None:
    """Return a request id if it is safe in a URL, else None."""
    return value if isinstance(value, str) and _REQUEST_ID.fullmatch(value) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
