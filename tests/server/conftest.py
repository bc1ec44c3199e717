"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import clusters
import pytest
import serving as support
from clusters import Cluster, ObjectStore, Postgres, environment
from serving import FakeWorker, Server, serving

from liveportrait_v2v.server.jobs import SqliteJobs

# What a server promises is promised by a cluster, too.
BOTH_STORES = {"test_api", "test_work", "test_sdk", "test_client"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rsplit(".", 1)[-1] in BOTH_STORES:
        over_both = metafunc.definition.get_closest_marker("one_machine") is None and not clusters.missing()
        cluster = pytest.param("cluster", marks=pytest.mark.cluster)
        metafunc.parametrize(
            "store", ["sqlite", *([cluster] if over_both else [])], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if reason := clusters.missing():
        pytest.skip(reason)
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectStore]:
    if reason := clusters.missing():
        pytest.skip(reason)
    store = ObjectStore()
    with environment(store.environment):
        yield store
    store.remove()


@pytest.fixture(scope="session", autouse=True)
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """Kind of the stores that `serving` takes; sqlite where a test doesn't ask for more."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield kind
        return
    support.clusters.append(Cluster(request.getfixturevalue("postgres"), request.getfixturevalue("objects")))
    yield kind
    support.clusters.pop()


@pytest.fixture(autouse=True)
def own_database(store: str, tmp_path: Path) -> Iterator[None]:
    """Database of a test's own, for each of its servers that `serving` gives one."""
    yield
    for cluster in support.clusters:
        cluster.take_back(tmp_path)


@pytest.fixture
def cluster(postgres: Postgres, objects: ObjectStore, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(postgres, objects)
    yield cluster
    cluster.take_back(tmp_path)


@pytest.fixture
def jobs_class(store: str) -> type:
    """Class of the job store, for tests that let it fail."""
    if store == "sqlite":
        return SqliteJobs
    from liveportrait_v2v.server.cluster.jobs import PostgresJobs

    return PostgresJobs


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(store, data, worker) -> Iterator[Server]:
    """Server without a key, with a fake worker."""
    with serving(data, [worker]) as server:
        yield server


@pytest.fixture(scope="session")
def shared(store, tmp_path_factory) -> Iterator[Server]:
    """Shared server for refused requests, which change nothing."""
    with serving(tmp_path_factory.mktemp("shared") / "data", [FakeWorker()]) as server:
        yield server


@pytest.fixture(scope="session")
def real(store, tmp_path_factory) -> Iterator[Server]:
    """Server with a key and a worker process with the draft engine."""
    data = tmp_path_factory.mktemp("real") / "data"
    with serving(data, key="SG_0123456789abcdef", clip_bytes=1 << 22) as server:
        yield server
