"""Fake of Segmind's API that reproduces faults of networks and servers from a script.

It has two origins: the API, and the host of files, which must never receive the key. Without a script it works as
documented.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SLUG = "live-portrait-video-to-video"
ETAG = '"v1"'
PATIENCE_SECONDS = 120  # a busy machine may be slow to start a process
SILENCE_SECONDS = 1.0  # timeout of the client in tests of silence


@dataclass
class Answer:
    """Answer to a request. A body other than bytes is sent as JSON.

    Attributes:
        billed: whether the server accepts and bills the job, whatever it answers.
        listed: whether such a job is in the history.
        silent: never answer; `reset`: reset the connection instead.
        headers: None omits a header.
        cut: number of bytes of the body that are sent.
        drip: seconds between two bytes of the body; `drip_head`: the same for the head.
        wait: event to wait for before answering.
        do: called before the answer.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str | None] = field(default_factory=dict)
    billed: bool = False
    listed: bool = True
    silent: bool = False
    reset: bool = False
    cut: int | None = None
    drip: float = 0.0
    drip_head: float = 0.0
    wait: threading.Event | None = None
    do: Callable[[], None] | None = None

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Request:
    """Received request. `origin` is "api" or "files"."""

    origin: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class FaultyServer:
    """Server in a thread; a context manager.

    Attributes:
        script: answers by route (submit, v1, status, result, history, find, upload, file, credits), played in
            order; after them the server works as documented, unless `always` has an answer.
        requests: all received requests.
        jobs: payloads of billed jobs by request id.
    """

    def __init__(self, video: bytes):
        self.video = video
        self.script: dict[str, list[Answer]] = defaultdict(list)
        self.always: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.jobs: dict[str, dict] = {}
        self.unlisted: set[str] = set()
        self.uploads: dict[str, bytes] = {}
        self.polls: dict[str, int] = defaultdict(int)
        self.arrived = threading.Condition()

    def __enter__(self) -> FaultyServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.api, self.files = (
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in self._servers
        )
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def billed(self) -> int:
        return len(self.jobs)

    def count(self, route: str) -> int:
        return sum(self._route(request) == route for request in self.requests)

    @property
    def falls_silent(self) -> bool:
        """Whether a scripted answer pauses for longer than SILENCE_SECONDS."""
        answers = [*self.always.values(), *(answer for row in self.script.values() for answer in row)]
        return any(one.silent or max(one.drip, one.drip_head) > SILENCE_SECONDS for one in answers)

    @property
    def result_url(self) -> str:
        return f"{self.files}/result.mp4"

    def wait_for(self, route: str, count: int = 1) -> None:
        """Wait until `count` requests of a route have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.count(route) >= count, PATIENCE_SECONDS), (
                f"no {route} came"
            )

    async def _start(self):
        return [await asyncio.start_server(self._serve(name), "127.0.0.1", 0) for name in ("api", "files")]

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)

    def _serve(self, origin: str):
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = await self._read(origin, reader)
                answer = self._answer(request)
                await self._send(request, answer, reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        return serve

    async def _read(self, origin: str, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        path, _, query = target.partition("?")
        early = self.script["upload"][:1] if path == "/upload-asset" else []
        if early and early[0].reset:
            body = await reader.readexactly(16)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(origin, method, path, query, headers, body)
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
        return request

    def _route(self, request: Request) -> str:
        if request.origin == "files":
            return "check" if request.path.startswith("/upload-") else "file"
        routes = {
            rf"POST /v2/{SLUG}": "submit",
            rf"POST /v1/{SLUG}": "v1",
            r"GET /v2/requests/[^/]+/status": "status",
            r"GET /v2/requests/[^/]+": "result",
            r"GET /inference-request/request-history/[^/]+": "history",
            r"GET /inference-request/request-history": "find",
            r"POST /upload-asset": "upload",
            r"GET /v1/get-user-credits": "credits",
        }
        wanted = f"{request.method} {request.path}"
        return next((name for route, name in routes.items() if re.fullmatch(route, wanted)), "nothing")

    def _answer(self, request: Request) -> Answer:
        route = self._route(request)
        if route in ("submit", "v1", "status", "result", "history", "find", "upload", "credits") and not (
            request.headers.get("x-api-key", "").startswith("SG_")
        ):
            return Answer(401, {"error": "missing key"})
        if self.script[route]:
            answer = self.script[route].pop(0)
        elif route in self.always:
            answer = self.always[route]
        else:
            answer = getattr(self, f"_{route}")(request)
        if answer.billed:
            request_id = f"job-{len(self.jobs) + 1}"
            self.jobs[request_id] = request.json()
            if not answer.listed:
                self.unlisted.add(request_id)
        return answer

    async def _send(
        self, request: Request, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if answer.do is not None:
            answer.do()
        if answer.wait is not None:
            while not answer.wait.is_set() and not reader.at_eof():
                await asyncio.sleep(0.02)
        if answer.silent:
            await reader.read()
            return
        if answer.reset:
            writer.transport.abort()
            return
        body = answer.bytes()
        headers = {
            "Content-Type": "video/mp4" if isinstance(answer.body, bytes) else "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **answer.headers,
        }
        lines = [f"HTTP/1.1 {answer.status} X"] + [
            f"{name}: {value}" for name, value in headers.items() if value is not None
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")
        await _drip(writer, head, answer.drip_head)
        await _drip(writer, body[: answer.cut], answer.drip)

    # Documented behaviour.

    def _submit(self, request: Request) -> Answer:
        request_id = f"job-{len(self.jobs) + 1}"
        here = f"{self.api}/v2/requests/{request_id}"
        body = {
            "request_id": request_id,
            "status": "QUEUED",
            "status_url": f"{here}/status",
            "response_url": here,
        }
        return Answer(200, body, billed=True)

    def _v1(self, request: Request) -> Answer:
        headers = {
            "x-request-id": f"job-{len(self.jobs) + 1}",
            "x-cost": "0.31",
            "x-remaining-credits": "9.5",
        }
        return Answer(200, self.video, headers, billed=True)

    def _status(self, request: Request) -> Answer:
        request_id = request.path.split("/")[3]
        if request_id not in self.jobs:
            return Answer(404, {"error": "not found"})
        self.polls[request_id] += 1
        state = ("QUEUED", "PROCESSING", "COMPLETED")[min(self.polls[request_id], 3) - 1]
        return Answer(200, {"status": state, "request_id": request_id})

    def _result(self, request: Request) -> Answer:
        request_id = request.path.split("/")[3]
        if request_id not in self.jobs:
            return Answer(404, {"error": "not found"})
        return Answer(200, self.done(request_id))

    def done(self, request_id: str = "job-1", **values: Any) -> dict:
        metrics = {"cost": 0.29, "remaining_credits": 12.5}
        return {
            "status": "COMPLETED",
            "request_id": request_id,
            "output": self.result_url,
            "metrics": metrics,
            **values,
        }

    def entry(self, request_id: str = "job-1", **values: Any) -> dict:
        return {
            "request_id": request_id,
            "model_name": SLUG,
            "model_status": "COMPLETED",
            "request_body": self.jobs[request_id],
            "generation_url": self.result_url,
            "credits_deduction": 0.29,
            "error": None,
            **values,
        }

    def _history(self, request: Request) -> Answer:
        request_id = request.path.rpartition("/")[2]
        known = request_id in self.jobs and request_id not in self.unlisted
        return Answer(200, self.entry(request_id)) if known else Answer(404, {"error": "not found"})

    def _find(self, request: Request) -> Answer:
        listed = [self.entry(name) for name in self.jobs if name not in self.unlisted]
        return Answer(200, {"data": listed, "page": 1})

    def _upload(self, request: Request) -> Answer:
        name = f"/upload-{len(self.uploads) + 1}.mp4"
        self.uploads[name] = request.body
        return Answer(200, {"file_urls": [self.files + name], "message": "uploaded"})

    def _credits(self, request: Request) -> Answer:
        return Answer(200, {"credits": 12.5, "free-credits": 0})

    def _check(self, request: Request) -> Answer:
        return Answer(206 if request.path in self.uploads else 404, b"x")

    def _file(self, request: Request) -> Answer:
        requested = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if not requested or request.headers.get("if-range", ETAG) != ETAG:
            return Answer(200, self.video, {"ETag": ETAG})
        first, total = int(requested[1]), len(self.video)
        place = {"Content-Range": f"bytes {first}-{total - 1}/{total}", "ETag": ETAG}
        return Answer(206, self.video[first:], place)

    def _nothing(self, request: Request) -> Answer:
        return Answer(404, {"error": "no such page"})


async def _drip(writer: asyncio.StreamWriter, data: bytes, seconds: float) -> None:
    step = 1 if seconds else max(1, len(data))
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
        await writer.drain()
        if seconds:
            await asyncio.sleep(seconds)
