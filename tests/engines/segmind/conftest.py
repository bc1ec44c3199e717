"""Runs against the faulty server, and the checks after each of them."""

from __future__ import annotations

import logging
import secrets
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from faulty_server import PATIENCE_SECONDS, SILENCE_SECONDS, FaultyServer
from segmind_clocks import QuickClock
from shades import make_clip

from liveportrait_v2v import text
from liveportrait_v2v.engines.segmind import Job, JobState, SegmindEngine
from liveportrait_v2v.engines.segmind.http import Timeouts
from liveportrait_v2v.run import Result, animate


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> bytes:
    """Return the model's video."""
    return make_clip(tmp_path_factory.mktemp("video") / "made.mp4", shade=100).read_bytes()


@pytest.fixture
def server(video) -> Iterator[FaultyServer]:
    with FaultyServer(video) as server:
        yield server


TESTS = str(Path(__file__).parents[2])


@dataclass
class Outcome:
    """Outcome of a run."""

    result: Result | None
    error: BaseException | None
    states: list[JobState] = field(default_factory=list)

    @property
    def message(self) -> str:
        return str(self.error)


class Bench:
    """Runs in a temporary folder against the faulty server, with a canary as the key."""

    def __init__(self, server: FaultyServer, folder: Path, key: str, log: pytest.LogCaptureFixture):
        self.server, self.folder, self.key, self.log = server, folder, key, log
        self.clock = QuickClock()
        self.source = make_clip(folder / "source.mp4")
        self.driving = make_clip(folder / "driving.mp4", shade=50)
        self.output = folder / "out.mp4"
        self.options: dict[str, Any] = {}

    def engine(self, **options: Any) -> SegmindEngine:
        # A busy machine may answer late: only tests of silence use the short timeout.
        read = SILENCE_SECONDS if self.server.falls_silent else PATIENCE_SECONDS
        options = {"timeouts": Timeouts(read=read), "clock": self.clock, **self.options, **options}
        options = {"resolver": self._resolve, "base_url": self.server.api, **options}
        return SegmindEngine(folder=self.folder / "data", key_folder=self.folder / "config", **options)

    def run(
        self, cancelled: Callable[[], bool] | None = None, given: dict | None = None, **options: Any
    ) -> Outcome:
        """Animate the two clips; `given` goes to `animate`, `options` to the engine."""
        states: list[JobState] = []
        engine = self.engine(on_state=states.append, **options)
        inputs = {"source": self.source, "driving": self.driving, "output": self.output, **(given or {})}
        try:
            result, error = animate(**inputs, engine=engine, cancelled=cancelled), None
        except BaseException as caught:
            result, error = None, caught
        self.check_canary(error)
        return Outcome(result, error, states)

    def jobs(self) -> list[Job]:
        journal = self.engine().journal()
        try:
            return journal.jobs()
        finally:
            journal.close()

    @property
    def job(self) -> Job:
        (job,) = self.jobs()
        return job

    def check_canary(self, error: BaseException | None = None) -> None:
        """Check that the key is in no log, exception, journal, file, or header to another host."""
        assert self.key not in self.log.text
        chain, seen = [error], set()
        while chain:
            error = chain.pop()
            if error is None or id(error) in seen:
                continue
            seen.add(id(error))
            chain += [error.__cause__, error.__context__]
            trace = traceback.TracebackException.from_exception(error, capture_locals=True)
            # The test's own frames have the key.
            frames = [frame for frame in trace.stack if not frame.filename.startswith(TESTS)]
            kept = [str(error), repr(error), repr(vars(error)), *(repr(frame.locals) for frame in frames)]
            assert self.key not in "".join(kept)
            # httpx's errors carry the request with the key.
            assert not isinstance(error, httpx.RequestError) or self.key not in error.request.headers.values()
        for path in self.folder.rglob("*"):
            # Another run may rename a part meanwhile.
            with suppress(FileNotFoundError):
                assert not path.is_file() or self.key.encode() not in path.read_bytes(), path
        for request in self.server.requests:
            everything = f"{request.path}{request.query}{request.headers}".encode() + request.body
            if request.origin == "files":
                assert self.key.encode() not in everything, request.path
            else:
                assert self.key.encode() not in f"{request.path}{request.query}".encode() + request.body
                assert request.headers["host"] == self.server.api.removeprefix("http://")

    @staticmethod
    def _resolve(host: str, port: int) -> list[str]:
        """Resolve names of this machine only, so that no test leaves it."""
        if host in ("localhost", "127.0.0.1"):
            return ["127.0.0.1"]
        raise socket.gaierror(f"no address for {host}")


@pytest.fixture
def bench(server, tmp_path, monkeypatch, caplog) -> Bench:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SEGMIND_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    key = f"SG_{secrets.token_hex(8)}"
    monkeypatch.setenv("SEGMIND_API_KEY", key)
    # Keys of earlier tests would be looked for, too: in answers of 10 MB that takes minutes.
    monkeypatch.setattr(text, "_secrets", {})
    caplog.set_level(logging.DEBUG)
    return Bench(server, tmp_path, key, caplog)
