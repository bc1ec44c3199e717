"""HTTP API with Segmind's paths, states, codes and shapes, over the jobs and files of this server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from ..deadlines import Clock, Deadline, OutOfTime, moment
from ..errors import LivePortraitError
from ..files import is_disk_full
from .access import HOST, is_local_name, is_same_key
from .config import MODEL, ServerConfig
from .connections import Handler
from .dispatch import Dispatcher
from .files import MEDIA_TYPES, FilesAway, FileStore, NoSpace
from .jobs import COMPLETED, FAILED, Job, JobStore, QueueFull, StoreError
from .requests import BadRequest, JobRequest, parse_history_query, parse_json, parse_order
from .uploads import MAX_FILES, PacedStream, TooLarge, save_data_urls

_log = logging.getLogger(__name__)
_BODY_BYTES = 64 << 10
# Bytes per second of an upload; a poor mobile connection is several times as fast.
_MIN_RATE = 4096
_RETRY_SECONDS = 10
_POLL_SECONDS = 0.25
# Files are served as media, never as a page.
_FILE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}


class Api:
    """Request handlers and their shared state."""

    def __init__(
        self, config: ServerConfig, jobs: JobStore, files: FileStore, dispatch: Dispatcher, clock: Clock
    ):
        self._config, self._jobs, self._files, self._dispatch = config, jobs, files, dispatch
        self._clock = clock
        self._closing = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._errors, self._gate], client_max_size=_BODY_BYTES)
        app.add_routes(
            [
                web.get("/v1/get-user-credits", self._credits),
                web.get("/v2/requests/{id}/status", self._status),
                web.get("/v2/requests/{id}", self._result),
                web.post("/v1/{slug}", self._run),
                web.post("/v2/{slug}", self._submit),
                web.post("/upload-asset", self._upload),
                web.get("/inference-request/request-history", self._history),
                web.get("/inference-request/request-history/{id}", self._history_of),
                web.get("/files/{name}", self._file),
            ]
        )
        return app

    def close(self) -> None:
        """End requests that are waiting for a job."""
        self._closing.set()

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn errors into JSON with the documented codes."""
        headers = {}
        try:
            return await handler(request)
        except web.HTTPException as error:
            code, reason = error.status, f"{error.reason}: {request.method} {request.path[:200]}"
            headers = {
                name: error.headers[name] for name in ("Allow", "Content-Range") if name in error.headers
            }
        except QueueFull as error:
            code, reason, headers = 429, str(error), _retry_headers()
        except TooLarge as error:
            code, reason = 413, str(error)
        except NoSpace as error:
            code, reason = 507, str(error)
        except FilesAway as error:
            _log.error("%s", error)
            code, reason, headers = 503, "the server's files are away for the moment", _retry_headers()
        except StoreError as error:
            _log.error("%s", error)
            code, reason = (507, "the server's disk is full") if error.full else (500, "jobs can't be stored")
        except LivePortraitError as error:
            code, reason = 400, str(error)
        except OutOfTime:
            code, reason = 408, "the request took too long to arrive"
        except ConnectionError:
            raise  # the client has disconnected
        except web.RequestPayloadError:
            code, reason = 400, "the request breaks off"
        except Exception as error:
            if is_disk_full(error):
                code, reason = 507, "the server's disk is full"
            else:
                _log.exception("%s %s", request.method, ascii(request.path[:200]))
                code, reason = 500, "internal error; the server's log has more"
        return web.json_response({"error": reason}, status=code, headers=headers)

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Admit requests with the right key, or on a server without a key those that name this machine."""
        host = request.headers.get("Host", "")
        if not HOST.fullmatch(host):
            raise BadRequest("the Host header must be a host name")
        # The unguessable name of a file is its permission.
        if request.match_info.handler != self._file:
            if self._config.key is not None:
                if not is_same_key(request.headers.get("x-api-key", ""), self._config.key):
                    return web.json_response(
                        {"error": "missing or invalid key; send it as x-api-key"}, status=401
                    )
            elif not is_local_name(host):
                # DNS rebinding: a web page can let its own host name resolve to this machine.
                return web.json_response(
                    {"error": "without a key, only loopback names are served"}, status=403
                )
        if request.method == "POST":
            if request.content_type != "application/json":
                # Pages of other origins can't send this type without a CORS preflight.
                raise BadRequest("Content-Type must be application/json")
            if request.headers.get("Content-Encoding", "identity") != "identity":
                raise BadRequest("the body must not be compressed")
        return await handler(request)

    async def _submit(self, request: web.Request) -> web.Response:
        job = await self._accept(request)
        url = f"{self._base(request)}/v2/requests/{job.id}"
        answer = {"request_id": job.id, "status": job.status, "status_url": f"{url}/status"}
        return web.json_response({**answer, "response_url": url, "poll_url": f"{url}/status"})

    async def _run(self, request: web.Request) -> web.StreamResponse:
        """Answer a v1 request with the video once it is finished."""
        job = await self._accept(request)
        while job.finished is None:
            if self._closing.is_set():
                text = f"the server is shutting down; job {job.id} continues after its next start"
                return web.json_response({"error": text, "request_id": job.id}, status=503)
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has disconnected")
            await asyncio.sleep(_POLL_SECONDS)
            job = await self._job(job.id)
        if job.status == FAILED:
            return web.json_response({"request_id": job.id, **_outcome(job)}, status=422)
        assert job.output is not None
        assert job.started is not None
        headers = {
            "x-request-id": job.id,
            "x-cost": "0",
            "x-remaining-credits": "0",
            "x-generation-time": f"{job.finished - job.started:.3f}",
        }
        size = await self._size(job.output)
        if _as_text(job):
            return await self._with_text(
                request, {"request_id": job.id, **_outcome(job)}, job.output, size, headers
            )
        return await self._video(request, job.output, size, headers)

    async def _status(self, request: web.Request) -> web.Response:
        job = await self._current_job(request)
        return web.json_response({"request_id": job.id, **_outcome(job)}, status=_code(job))

    async def _result(self, request: web.Request) -> web.StreamResponse:
        job = await self._current_job(request)
        answer = {"request_id": job.id, **_outcome(job)}
        if job.status == COMPLETED and job.output is not None:
            size = await self._size(job.output)
            if _as_text(job):
                return await self._with_text(request, answer, job.output, size, {})
            url = self._file_url(request, job.output)
            video = {"url": url, "content_type": "video/mp4", "file_name": job.output}
            answer |= {"output": url, "video": {**video, "file_size": size}}
        return web.json_response(answer, status=_code(job))

    async def _upload(self, request: web.Request) -> web.Response:
        limit = self._config.clip_bytes
        max_bytes = MAX_FILES * limit
        length = request.content_length
        if length is not None and length > max_bytes * 4 // 3 + _BODY_BYTES:
            raise TooLarge(f"an upload holds at most {MAX_FILES} files of {limit} bytes")
        stream = PacedStream(request.content, self._config.request_seconds, _MIN_RATE)
        async with self._files.upload() as upload:
            await Deadline(self._config.transfer_seconds).wait(save_data_urls(stream, upload, limit))
            names = await upload.finish()
        urls = [self._file_url(request, name) for name in names]
        return web.json_response({"file_urls": urls, "message": f"{len(urls)} files uploaded"})

    async def _credits(self, request: web.Request) -> web.Response:
        # Jobs are free of charge.
        return web.json_response({"credits": 0.0, "free-credits": 0.0})

    async def _history(self, request: web.Request) -> web.Response:
        page, query = parse_history_query(request.query)
        total, jobs = await asyncio.to_thread(self._jobs.history, query)
        base = self._base(request)
        rows = await asyncio.to_thread(lambda: [self._row(base, job) for job in jobs])
        pages = -(-total // query.limit)
        counts = {"page": page, "per_page": query.limit, "total": total, "total_pages": pages}
        return web.json_response({"data": rows, **counts})

    async def _history_of(self, request: web.Request) -> web.Response:
        job = await self._job(request.match_info["id"])
        return web.json_response(await asyncio.to_thread(self._row, self._base(request), job))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        size = await self._size(name)
        link = await asyncio.to_thread(self._files.link, name)
        if link is not None:
            return web.Response(status=307, headers={"Location": link, "Cache-Control": "no-store"})
        return await self._video(request, name, size, {})

    async def _accept(self, request: web.Request) -> Job:
        if request.match_info["slug"] != MODEL:
            raise web.HTTPNotFound(reason=f"this server has one model, {MODEL}")
        body = await Deadline(self._config.request_seconds).wait(request.read())
        order = await asyncio.to_thread(self._order, parse_json(body), self._base(request))
        job = await asyncio.to_thread(
            self._jobs.submit, MODEL, order.request, order.source, order.driving, order.settings
        )
        self._dispatch.wake()
        return job

    def _order(self, values: dict[str, Any], base: str) -> JobRequest:
        order = parse_order(values, base, self._files, allow_loopback=self._config.allow_loopback)
        self._files.check_space(3 * self._config.clip_bytes)
        return order

    async def _job(self, job_id: str) -> Job:
        job = await asyncio.to_thread(self._jobs.get, job_id)
        if job is None:
            raise web.HTTPNotFound(reason="unknown request id")
        return job

    async def _current_job(self, request: web.Request) -> Job:
        job = await self._job(request.match_info["id"])
        if job.finished is not None and self._clock.time() - job.finished > self._config.result_seconds:
            raise web.HTTPNotFound(reason="expired request id")
        return job

    def _row(self, base: str, job: Job) -> dict[str, Any]:
        # A result that was asked for as text has no URL.
        available = job.output is not None and not _as_text(job) and self._files.size(job.output) is not None
        url = f"{base}/files/{job.output}" if available else None
        return {
            "request_id": job.id,
            "model_name": job.model,
            "model_status": job.status if job.finished is not None else "PENDING",
            "model_created": _utc(job.created),
            "credits_deduction": 0.0,
            "request_body": job.request,
            "generation_url": url,
            "latency_ms": None if job.finished is None else round(1000 * (job.finished - job.created)),
            "error": job.error,
        }

    async def _size(self, name: str) -> int:
        size = await asyncio.to_thread(self._files.size, name)
        if size is None:
            raise web.HTTPNotFound(reason="there is no such file, or it has expired")
        return size

    async def _video(
        self, request: web.Request, name: str, size: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        headers = {**_FILE_HEADERS, **headers, "Content-Type": MEDIA_TYPES[Path(name).suffix]}
        path = self._files.path(name)
        if path is not None:
            return web.FileResponse(path, headers=headers)
        start, end, status = _range(request, name, size)
        headers |= {"Accept-Ranges": "bytes", "ETag": _etag(name), "Content-Length": str(end - start)}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=status, headers=headers)
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        blocks = self._files.blocks(name, start, end)
        # The first block comes before the head: a store that fails is an error with its own code.
        first = await anext(blocks, b"")
        await response.prepare(request)
        await response.write(first)
        async for block in blocks:
            await response.write(block)
        await response.write_eof()
        return response

    async def _with_text(
        self, request: web.Request, answer: dict[str, Any], name: str, size: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer with JSON whose last value, `output`, is a file as base64 text, read while it is sent."""
        head = json.dumps({**answer, "output": ""})[: -len('"}')].encode()
        length = len(head) + (size + 2) // 3 * 4 + len(b'"}')
        response = web.StreamResponse(
            headers={**headers, "Content-Type": "application/json", "Content-Length": str(length)}
        )
        await response.prepare(request)
        await response.write(head)
        left = b""
        async for block in self._files.blocks(name, 0, size):
            block = left + block
            # A multiple of 3 bytes, so that the texts of all blocks join without padding.
            whole = len(block) // 3 * 3
            await response.write(base64.b64encode(block[:whole]))
            left = block[whole:]
        await response.write(base64.b64encode(left) + b'"}')
        await response.write_eof()
        return response

    def _file_url(self, request: web.Request, name: str) -> str:
        return f"{self._base(request)}/files/{name}"

    def _base(self, request: web.Request) -> str:
        return self._config.public_url or f"{request.scheme}://{request.headers['Host']}"


def _as_text(job: Job) -> bool:
    return bool(job.settings.get("base64"))


def _etag(name: str) -> str:
    # A file never changes, and its name is a secret.
    return f'"{hashlib.sha256(name.encode()).hexdigest()[:32]}"'


def _range(request: web.Request, name: str, size: int) -> tuple[int, int, int]:
    """Return the first byte that is asked for, the one after the last, and the status: 200 or 206."""
    if request.headers.get("If-Range", _etag(name)) != _etag(name):
        return 0, size, 200
    try:
        wanted = request.http_range
    except ValueError:
        raise _range_error(size) from None
    if wanted.start is None:
        return 0, size, 200
    start = max(size + wanted.start, 0) if wanted.start < 0 else wanted.start
    end = size if wanted.stop is None else min(wanted.stop, size)
    if start >= end:
        raise _range_error(size)
    return start, end, 206


def _range_error(size: int) -> web.HTTPException:
    return web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})


def _outcome(job: Job) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": job.status}
    if job.error is not None:
        answer["error"] = job.error
    if job.finished is not None and job.started is not None:
        answer["metrics"] = {
            "cost": 0.0,
            "remaining_credits": 0.0,
            "queue_time": round(job.started - job.created, 3),
            "inference_time": round(job.finished - job.started, 3),
            "total_time": round(job.finished - job.created, 3),
        }
    return answer


def _code(job: Job) -> int:
    return 422 if job.status == FAILED else 200


def _retry_headers() -> dict[str, str]:
    return {
        "Retry-After": str(_RETRY_SECONDS),
        "x-rate-limit-reset-at-utc": _utc(time.time() + _RETRY_SECONDS),
    }


def _utc(seconds: float) -> str:
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
