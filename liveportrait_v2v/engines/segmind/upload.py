"""Upload of local clips to public URLs: streamed from disk, and reused while the first upload is still there."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

from ...files import sha256_of
from ...web import UrlError
from .client import Client
from .errors import SegmindError, UnreachableError, refusal
from .http import BrokenError, NotSentError
from .journal import Journal
from .responses import uploaded_urls

MAX_BYTES = 512 << 20
"""The largest clip that is uploaded."""

KEPT_SECONDS = 24 * 3600.0
"""Time for which an upload is reused. Segmind documents none, so each use checks that the file is available."""

_HEAD = b'{"data_urls":["data:video/mp4;base64,'
_TAIL = b'"]}'
# A multiple of 3, so that the base64 of all blocks joins without padding.
_BLOCK = 3 << 18
_TRIES = 3
_SECONDS = 600.0


async def upload(client: Client, journal: Journal, path: Path) -> str:
    """Return the public URL of an mp4 file: of an earlier upload of the same content, or of a new one.

    Raises:
        RefusedError, UnreachableError: the upload failed.
        SegmindError: the file is too large.
        OSError: the file can't be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SegmindError(
            f"{path.name}: at most {MAX_BYTES >> 20} MB are uploaded, and this clip has {size >> 20}; shorten it or "
            "scale it down"
        )
    digest = await asyncio.to_thread(sha256_of, path)
    endpoint = client.endpoints.upload
    url = journal.uploaded(digest, endpoint)
    if url is not None and await _is_available(client, url):
        return url
    reply = await client.send_free(
        "POST",
        endpoint,
        stream=lambda: _body(path),
        length=len(_HEAD) + (size + 2) // 3 * 4 + len(_TAIL),
        tries=_TRIES,
        seconds=_SECONDS,
    )
    if not reply.ok:
        raise refusal("the upload", reply.status, reply.message())
    urls = uploaded_urls(reply.json())
    if len(urls) != 1:
        raise UnreachableError(
            f"the upload was answered without the URL of the one clip that was sent ({reply.message() or 'nothing'}); "
            "nothing was ordered; try again later"
        )
    journal.keep_upload(digest, endpoint, urls[0], KEPT_SECONDS)
    return urls[0]


async def _body(path: Path) -> AsyncIterator[bytes]:
    yield _HEAD
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield base64.b64encode(block)
    yield _TAIL


async def _is_available(client: Client, url: str) -> bool:
    try:
        response = await client.http.open_file(url, {"Range": "bytes=0-0"})
    except (UrlError, NotSentError, BrokenError):
        return False
    await response.aclose()
    return response.status_code in (200, 206)
