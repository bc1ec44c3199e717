"""PostgreSQL from the system's package and moto as the object store, for tests of a server on several machines."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from liveportrait_v2v.server.config import ClusterConfig

BUCKET = "bucket"
TESTS = Path(__file__).parent
QUICK = {"heartbeat_seconds": 0.5, "stalled_seconds": 3.0, "poll_seconds": 0.5}


def postgres_folder() -> Path | None:
    """Return the folder of PostgreSQL's programs, None if it is not installed."""
    found = [Path(path).parent for path in (shutil.which("initdb"),) if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return next((path for path in found if (path / "initdb").exists()), None)


def missing() -> str | None:
    """Return what the tests of a cluster lack on this machine, None if nothing."""
    if sys.platform == "win32" or postgres_folder() is None:
        return (
            "POSTGRESQL IS MISSING: install Debian's package postgresql, or another with initdb on the PATH"
        )
    packages = [name for name in ("moto", "obstore", "procrastinate", "psycopg") if find_spec(name) is None]
    return f"PACKAGES ARE MISSING: {', '.join(packages)}; run: pip install -e '.[test]'" if packages else None


def free_port(host: str) -> int:
    with socket.socket() as one:
        one.bind((host, 0))
        return one.getsockname()[1]


class Postgres:
    """PostgreSQL server of its own in a temporary folder."""

    def __init__(self, host: str = "127.0.0.1", *, durable: bool = False):
        """Make and start it.

        Args:
            durable: whether it waits for the disk; a killed server loses nothing in either case, the system has it.
        """
        self.host, self.port = host, free_port(host)
        self._durable = durable
        self._bin = postgres_folder()
        # PostgreSQL refuses to run as root.
        self._who: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self._folder = Path(tempfile.mkdtemp(prefix="lpv2v-postgres-"))
        if self._who:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run(
            "initdb", "--auth=trust", "--username=postgres", "--no-sync", "--no-locale", "--encoding=UTF8"
        )
        self._template: str | None = None
        self._spare: list[str] = []
        self.start()

    def start(self) -> None:
        options = (
            f"-c listen_addresses={self.host},127.0.0.1 -c port={self.port} -c unix_socket_directories={self._folder}"
            " -c max_connections=200 -c log_min_messages=fatal"
        )
        if not self._durable:
            options += " -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    @property
    def pid(self) -> int:
        return int((self._folder / "postmaster.pid").read_text().split()[0])

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{name}"

    def new_database(self, *, migrated: bool = True) -> str:
        """Return the URL of an empty database, with the server's tables or without."""
        if migrated and self._spare:
            return self._spare.pop()
        if migrated and self._template is None:
            from liveportrait_v2v.server.cluster.database import Database

            url = self.new_database(migrated=False)
            database = Database(url)
            database.migrate()
            database.close()
            self._template = url.rsplit("/", 1)[1]
        name = f"test_{secrets.token_hex(6)}"
        template = f" TEMPLATE {self._template}" if migrated else ""
        self.execute("postgres", f"CREATE DATABASE {name}{template}")
        return self.url(name)

    def take_back(self, url: str) -> None:
        """Empty the server's tables of a database, for another test."""
        import psycopg

        name = url.rsplit("/", 1)[1]
        self.execute(
            "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        with psycopg.connect(url, options="-c search_path=liveportrait") as base:
            base.execute("TRUNCATE jobs, files, workers, procrastinate_workers, procrastinate_jobs CASCADE")
        self._spare.append(url)

    def execute(self, name: str, query: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url(name), autocommit=True) as base:
            done = base.execute(query.encode())
            return done.fetchall() if done.description else []

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), "-D", str(self._folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            cwd="/",
            **self._who,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, program, stderr=done.stderr)


class ObjectStore:
    """Moto's S3 server in a process of its own, and what clients need to reach it."""

    def __init__(self, host: str = "127.0.0.1"):
        self.url = f"http://{host}:{free_port(host)}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.url,
        }
        host, port = self.url.removeprefix("http://").split(":")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", host, "-p", port],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 60
        while True:
            try:
                httpx.put(f"{self.url}/{BUCKET}", trust_env=False).raise_for_status()
                return
            except httpx.TransportError:
                assert time.monotonic() < end, "moto does not start"
                time.sleep(0.05)

    def pause(self) -> None:
        """Keep all connections open and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects under a prefix."""
        import obstore

        with environment(self.environment):
            store = obstore.store.S3Store.from_url(
                f"s3://{BUCKET}/{prefix}", client_options={"allow_http": True}
            )
        return [item["path"] for item in store.list().collect()]

    def remove(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Cluster:
    """Database and prefix in the bucket that some servers share; one for each data directory of a test."""

    def __init__(self, postgres: Postgres, store: ObjectStore):
        self.postgres, self.store = postgres, store
        self._configs: dict[Path, ClusterConfig] = {}

    def config(self, data: Path, **values: Any) -> ClusterConfig:
        if data not in self._configs:
            files = f"s3://{BUCKET}/{secrets.token_hex(6)}"
            self._configs[data] = ClusterConfig(self.postgres.new_database(), files, **{**QUICK, **values})
        return self._configs[data]

    def take_back(self, folder: Path) -> None:
        """Give the databases of the servers in a folder to other tests."""
        for data in [data for data in self._configs if data.is_relative_to(folder)]:
            self.postgres.take_back(self._configs.pop(data).database)

    def rows(self, data: Path, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query over the server's tables."""
        import psycopg

        with psycopg.connect(self.config(data).database, options="-c search_path=liveportrait") as base:
            return base.execute(query.encode()).fetchall()

    def objects(self, data: Path) -> list[str]:
        return self.store.names(self.config(data).files.removeprefix(f"s3://{BUCKET}/"))


class Machine:
    """Process of tests/machine.py, maybe in a network namespace: an API, a worker, or both."""

    def __init__(
        self, folder: Path, cluster: ClusterConfig, role: str, *, netns: str | None = None, **values: Any
    ):
        """Start it and wait until it is ready.

        Args:
            folder: for its data, its log, and the notes of the engine's runs, which all machines share.
            values: for ServerConfig and ClusterConfig.
        """
        folder.mkdir(exist_ok=True)
        self.name = f"{role}-{secrets.token_hex(3)}"
        own = {field.name for field in fields(ClusterConfig)}
        shared = {name: value for name, value in values.items() if name in own}
        cluster = replace(cluster, roles=frozenset(role.split(",")), **shared)
        config = {
            "data": str(folder / self.name),
            "port": 0,
            "clip_bytes": 1 << 20,
            "quota_bytes": 1 << 30,
            "grace_seconds": 2,
            **{name: value for name, value in values.items() if name not in own},
            "cluster": {**asdict(cluster), "roles": sorted(cluster.roles)},
        }
        self.runs = folder / "runs"
        self.log = folder / f"{self.name}.log"
        prefix = ["ip", "netns", "exec", netns] if netns else []
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(TESTS / "machine.py"), str(self.runs), json.dumps(config)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready "), self.log.read_text()
        self.url = f"http://{line.split()[1]}"

    def send(self, number: int) -> None:
        """Send a signal to the machine's processes, as if it happened to all of it at once."""
        for pid in self.computing():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        self.process.send_signal(number)

    def kill_computing(self) -> None:
        """Kill the process that computes."""
        for pid in self.computing():
            os.kill(pid, signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=120)

    def computing(self) -> list[int]:
        """Return its processes that compute."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def runs(folder: Path) -> list[dict[str, Any]]:
    """Return what the engines of all machines have noted, in order."""
    path = folder / "runs"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Relay:
    """Relay of TCP connections to a local port, which can be cut like a cable."""

    def __init__(self, host: str, port: int, to_port: int):
        self._to_port = to_port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._listener = socket.create_server((host, port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        with self._lock:
            self._is_cut = True
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(("127.0.0.1", self._to_port)) as far:
            with self._lock:
                if self._is_cut:
                    return
                self._open |= {near, far}
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            self._pump(near, far)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
