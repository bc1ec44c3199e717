"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import FakeWorker, Server, serving


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data, worker) -> Iterator[Server]:
    """A server without a key, whose worker computes nothing."""
    with serving(data, [worker]) as server:
        yield server


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Iterator[Server]:
    """A server for what is refused and changes nothing."""
    with serving(tmp_path_factory.mktemp("shared") / "data", [FakeWorker()]) as server:
        yield server


@pytest.fixture(scope="session")
def real(tmp_path_factory) -> Iterator[Server]:
    """A server with a key and a worker process that animates with the draft engine."""
    data = tmp_path_factory.mktemp("real") / "data"
    with serving(data, key="SG_0123456789abcdef", clip_bytes=1 << 22) as server:
        yield server
