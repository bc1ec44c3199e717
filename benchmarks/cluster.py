"""What a server on several machines costs beside one on SQLite, and what its parts can do a second.

    python benchmarks/cluster.py [--jobs N] [--seconds N]

Needs PostgreSQL and the packages of the extra `test`. The engine does nothing: the same two small clips go in, and one
of them is the result. PostgreSQL (which waits for the disk, as usual), the object store (moto, for tests) and all
workers share the machine, so that the figures are those of the smallest cluster that there can be.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import clusters  # noqa: E402
import serving  # noqa: E402

from liveportrait_v2v.deadlines import Clock  # noqa: E402
from liveportrait_v2v.server.worker import Task  # noqa: E402


class Nothing:
    """Worker that hands its source back."""

    async def run(self, task: Task) -> None:
        await asyncio.sleep(0)
        shutil.copyfile(task.source, task.output)

    async def close(self) -> None:
        pass


@contextmanager
def server(kind: str, cluster: clusters.Cluster) -> Iterator[serving.Server]:
    """Server with the worker that does nothing, over one kind of stores."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shared = {} if kind == "sqlite" else {"cluster": cluster.config(data)}
        with serving.serving(data, [Nothing()], queue=100_000, **shared) as running:
            yield running


def overhead(running: serving.Server, jobs: int, postgres: clusters.Postgres) -> tuple[float, ...]:
    """Return milliseconds of a job alone, of a submit, of each of many jobs; and CPU time of these and of a status.

    It is that of server, worker, client and database together, without the store's; of a status without the database's.
    """
    urls = {name: running.client.upload(b"clip" * 250) for name in ("input_video", "driving_video")}

    def submit() -> str:
        return running.client.submit(**urls).json()["request_id"]

    running.client.wait(submit())
    alone = []
    for _ in range(20):
        since = time.perf_counter()
        running.client.wait(submit())
        alone.append(time.perf_counter() - since)
    since, cpu = time.perf_counter(), time.process_time() + cpu_seconds(postgres)
    ids = [submit() for _ in range(jobs)]
    submitted = time.perf_counter() - since
    while running.client.status(ids[-1])["status"] != "COMPLETED":
        time.sleep(0.2)
    whole = time.perf_counter() - since
    cpu = time.process_time() + cpu_seconds(postgres) - cpu
    since = time.process_time()
    for _ in range(200):
        running.client.status(ids[0])
    asked = time.process_time() - since
    seconds = (statistics.median(alone), submitted / jobs, whole / jobs, cpu / jobs, asked / 200)
    return tuple(1000 * value for value in seconds)


class Party:
    """One of several processes that use the database at once."""

    def __init__(self, url: str):
        from liveportrait_v2v.server.cluster.database import Database
        from liveportrait_v2v.server.cluster.jobs import PostgresJobs

        self.database = Database(url)
        self.jobs = PostgresJobs(self.database, capacity=10**6, queue="draft", priority=0, clock=Clock())
        self.worker = self._one("SELECT worker_id AS value FROM procrastinate_register_worker_v1()")

    def submit(self) -> None:
        self.jobs.submit("model", {"dsize": 512}, "a" * 43 + ".mp4", "b" * 43 + ".mp4", {"dsize": 512})

    def claim(self) -> None:
        """Take a job, begin and finish it, as a worker does."""
        with self.database.transaction() as base:
            row = base.execute(
                "SELECT id, args FROM procrastinate_fetch_job_v2(ARRAY['draft']::varchar[], %s)",
                [self.worker],
            ).fetchone()
        assert row["id"] is not None, "too few jobs were entered"
        job = self.jobs.begin(row["args"]["job_id"], row["id"], self.worker)
        assert self.jobs.finish(job, error="nothing to do")

    def look(self) -> None:
        """Look for a job in vain, as an idle worker does."""
        self._one("SELECT id AS value FROM procrastinate_fetch_job_v2(ARRAY['none']::varchar[], 1)")

    def beat(self) -> None:
        """Beat as a worker's heart does."""
        self._one(f"SELECT procrastinate_update_heartbeat_v1({self.worker}) AS value")

    def ask(self) -> None:
        """Ask for a job, as a client does that waits for it."""
        self.jobs.get("0" * 32)

    def _one(self, query: str) -> Any:
        with self.database.transaction() as base:
            return base.execute(query.encode()).fetchone()["value"]


def repeat(work: str, url: str, seconds: float, ready: Any, done: Any) -> None:
    """Do one kind of work for a time; put how often, and the seconds of CPU time, into a queue."""
    party = Party(url)
    call = getattr(party, work)
    ready.wait()
    cpu = time.process_time()
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        call()
        count += 1
    done.put((count, time.process_time() - cpu))
    party.database.close()


def measure(work: str, postgres: clusters.Postgres, processes: int, seconds: float) -> str:
    """Return how often some work is done a second by a number of processes, and the CPU time of each, as a line."""
    url = postgres.new_database()
    if work == "claim":
        fill(url, round(seconds * 1500))
    context = multiprocessing.get_context("spawn")
    done, ready = context.Queue(), context.Barrier(processes + 1)
    workers = [
        context.Process(target=repeat, args=(work, url, seconds, ready, done)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    cpu = cpu_seconds(postgres)
    counts, clients = zip(*(done.get() for _ in workers), strict=True)
    cpu = cpu_seconds(postgres) - cpu
    for worker in workers:
        worker.join()
    each = 1000 / sum(counts)
    return (
        f"{work:<8} {processes} at once: {sum(counts) / seconds:>6.0f} a second; CPU time of each:"
        f" {each * cpu:.2f} ms of the database, {each * sum(clients):.2f} ms of the client"
    )


def cpu_seconds(postgres: clusters.Postgres) -> float:
    """Return the CPU time of a database server so far, its processes that have ended included (Linux)."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(path.parent.name) == postgres.pid:
                total += sum(int(value) for value in fields[11:15])
            elif int(fields[1]) == postgres.pid:
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def fill(url: str, jobs: int) -> None:
    """Enter jobs as `PostgresJobs.submit` does, all at once."""
    import psycopg

    with psycopg.connect(url, options="-c search_path=liveportrait", autocommit=True) as base:
        base.execute(
            "WITH entries AS (INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
            " SELECT 'draft', 'animate', jsonb_build_object('job_id', md5(k::text))"
            " FROM generate_series(1, %s) k RETURNING id, args)"
            " INSERT INTO jobs (id, model, request, source, driving, settings, queue, priority, entry, status, created)"
            " SELECT args ->> 'job_id', 'model', '{}', 'a.mp4', 'b.mp4', '{}', 'draft', 0, id, 'QUEUED', 0"
            " FROM entries",
            [jobs],
        )
        base.execute("ANALYZE")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=300, help="that wait for the one worker")
    parser.add_argument("--seconds", type=float, default=4, help="of each kind of work at the database")
    options = parser.parse_args()
    if reason := clusters.missing():
        sys.exit(reason)
    postgres, store = clusters.Postgres(durable=True), clusters.ObjectStore()
    os.environ.update(store.environment)
    try:
        cluster = clusters.Cluster(postgres, store)
        print(f"milliseconds ({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})")
        print(
            f"{'':<12}",
            *(f"{name:>12}" for name in ("alone", "submit", "of many", "CPU of each", "CPU status")),
        )
        for kind in ("sqlite", "cluster", "sqlite", "cluster"):
            with server(kind, cluster) as running:
                found = overhead(running, options.jobs, postgres)
            print(f"{kind:<12}", *(f"{value:>12.1f}" for value in found), flush=True)
        for work, counts in (
            ("submit", (1, 4)),
            ("claim", (1, 2, 4, 8)),
            ("look", (4,)),
            ("beat", (4,)),
            ("ask", (4,)),
        ):
            for processes in counts:
                print(measure(work, postgres, processes, options.seconds), flush=True)
    finally:
        postgres.remove()
        store.remove()


if __name__ == "__main__":
    main()
