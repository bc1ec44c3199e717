"""Server in a thread of the test, and fake workers."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from clusters import Cluster

from liveportrait_v2v.server.config import MODEL, ServerConfig
from liveportrait_v2v.server.listen import serve
from liveportrait_v2v.server.worker import JobFailed, Task, Worker

PATIENCE = 180  # seconds; a busy machine may be slow to start a worker and to animate


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return the value of a condition once it is true; fail after PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.02)
    return value


class FakeWorker:
    """Worker that writes its settings to the result once its gate is open."""

    def __init__(self, *, is_open: bool = True):
        self.gate = threading.Event()
        if is_open:
            self.gate.set()
        self.tasks: list[Task] = []
        self.inputs: list[tuple[bytes, bytes]] = []
        self.error: Exception | None = None
        self.stopped = 0

    async def run(self, task: Task) -> None:
        self.tasks.append(task)
        self.inputs.append((task.source.read_bytes(), task.driving.read_bytes()))
        try:
            while not self.gate.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if self.error is not None:
            raise self.error
        task.output.write_bytes(json.dumps(task.settings).encode())

    async def close(self) -> None:
        pass


def failing(message: str) -> FakeWorker:
    worker = FakeWorker()
    worker.error = JobFailed(message)
    return worker


class Client(httpx.Client):
    """HTTP client of one server."""

    def submit(self, **values: Any) -> httpx.Response:
        return self.post(f"/v2/{MODEL}", json=values)

    def upload(self, data: bytes, kind: str = "video/mp4") -> str:
        """Upload a file and return its URL."""
        import base64

        text = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        answer = self.post("/upload-asset", json={"data_urls": [text]})
        assert answer.status_code == 200, answer.text
        return answer.json()["file_urls"][0]

    def job(self, **values: Any) -> str:
        """Submit a job and return its id; clips that are not given are uploaded first."""
        for name in ("input_video", "driving_video"):
            if name not in values:
                values[name] = self.upload(name.encode())
        answer = self.submit(**values)
        assert answer.status_code == 200, answer.text
        return answer.json()["request_id"]

    def status(self, job: str) -> dict[str, Any]:
        return self.get(f"/v2/requests/{job}/status").json()

    def wait(self, job: str, *states: str) -> dict[str, Any]:
        """Return the status of a job once it is in one of these states."""
        states = states or ("COMPLETED", "FAILED")
        return wait_for(lambda: (s := self.status(job))["status"] in states and s, f"{job} in {states}")

    def result(self, job: str) -> dict[str, Any]:
        self.wait(job)
        return self.get(f"/v2/requests/{job}").json()


class Server:
    """Running server; `client` sends its key."""

    def __init__(self, config: ServerConfig, workers: Sequence[Worker] | None):
        self.config, self.workers = config, workers
        self._stop, self._ready = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        self.client = self.new_client()

    def new_client(self, **headers: str) -> Client:
        if self.config.key is not None:
            headers = {"x-api-key": self.config.key, **headers}
        return Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(serve(self.config, self._stop.is_set, on_ready=self._begin, workers=self.workers))
        except BaseException as error:
            self._error = error
            self._ready.set()

    def _begin(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.url = f"http://{host or 'nowhere.invalid'}:{port}"
        self._ready.set()


clusters: list[Cluster] = []
"""The cluster that `serving` takes for a test that runs over both kinds of stores, if any."""


def stored_files(data: Path) -> list[str]:
    """Return the names of all files of a server, whether or not they can be found."""
    return clusters[-1].objects(data) if clusters else [path.name for path in (data / "files").iterdir()]


def unfinished(data: Path) -> list[str]:
    """Return what a server has at work: folders of jobs and uploads."""
    work = data / "work"
    found = [path.name for path in work.iterdir()] if work.exists() else []
    rows = clusters[-1].rows(data, "SELECT name FROM files WHERE NOT complete") if clusters else []
    return found + [name for (name,) in rows]


def states(data: Path) -> set[tuple[str, int]]:
    """Return the statuses of all jobs, each with a number of attempts that came to nothing."""
    if clusters:
        return set(clusters[-1].rows(data, "SELECT status, lost FROM jobs"))
    with closing(sqlite3.connect(data / "jobs.sqlite3")) as base:
        return set(base.execute("SELECT status, attempts FROM jobs"))


def delete_files(data: Path) -> None:
    """Delete all files of a server as if they had expired."""
    if clusters:
        clusters[-1].rows(data, "DELETE FROM files RETURNING name")
    else:
        for path in (data / "files").iterdir():
            path.unlink()


def age_files(data: Path, seconds: float) -> None:
    """Make all files older; those of a cluster have expired then."""
    if clusters:
        clusters[-1].rows(data, "UPDATE files SET until = 0 RETURNING name")
    else:
        for path in (data / "files").iterdir():
            os.utime(path, (time.time() - seconds,) * 2)


@contextmanager
def serving(data: Path, workers: Sequence[Worker] | None = None, **options: Any) -> Iterator[Server]:
    """Server with small limits on a free port."""
    if clusters:
        options = {"cluster": clusters[-1].config(data), **options}
    options = {"port": 0, "clip_bytes": 1 << 20, "quota_bytes": 1 << 30, "grace_seconds": 5, **options}
    server = Server(ServerConfig(data=data, **options), workers)
    try:
        yield server
    finally:
        server.client.close()
        server.stop()
