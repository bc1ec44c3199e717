"""Fixtures of the server's tests."""

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
    """Server without a key, with a fake worker."""
    with serving(data, [worker]) as server:
        yield server


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Iterator[Server]:
    """Shared server for refused requests, which change nothing."""
    with serving(tmp_path_factory.mktemp("shared") / "data", [FakeWorker()]) as server:
        yield server


@pytest.fixture(scope="session")
def real(tmp_path_factory) -> Iterator[Server]:
    """Server with a key and a worker process with the draft engine."""
    data = tmp_path_factory.mktemp("real") / "data"
    with serving(data, key="SG_0123456789abcdef", clip_bytes=1 << 22) as server:
        yield server
