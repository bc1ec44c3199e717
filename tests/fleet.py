"""Machines of a cluster that belong together, and what tests ask of their jobs."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from clusters import Cluster, Machine, runs
from serving import PATIENCE, Client, wait_for


class Fleet:
    """Machines of one test, over one database and one prefix in the bucket."""

    def __init__(self, cluster: Cluster, folder: Path, **values: Any):
        self._cluster, self.folder = cluster, folder
        self.config = cluster.config(folder, **values)
        self.machines: list[Machine] = []

    def start(self, role: str, **values) -> Machine:
        machine = Machine(self.folder, values.pop("config", self.config), role, **values)
        self.machines.append(machine)
        return machine

    def start_all(self, *roles: str, **values) -> list[Machine]:
        """Start machines at the same time."""
        with ThreadPoolExecutor(len(roles)) as pool:
            return list(pool.map(lambda role: self.start(role, **values), roles))

    def client(self, machine: Machine) -> Client:
        return Client(base_url=machine.url, timeout=PATIENCE, trust_env=False)

    def submit(self, client: Client, name: str, seconds: float) -> str:
        """Submit a job whose engine sleeps for a time."""
        source = client.upload(name.encode())
        return client.job(input_video=source, driving_video=source, dsize=max(64, round(seconds * 100)))

    def began(self, name: str) -> list[int]:
        """Return the processes that have begun a job, one for each time."""
        return [run["pid"] for run in runs(self.folder) if run.get("began") == name]

    def rows(self, query: str) -> list[tuple]:
        return self._cluster.rows(self.folder, query)

    def job(self, job_id: str) -> tuple:
        return self.rows(f"SELECT status, attempt, lost FROM jobs WHERE id = '{job_id}'")[0]

    def results(self) -> set[str]:
        """Return the names of all objects that are not uploads of this test's jobs."""
        uploads = {name for row in self.rows("SELECT source, driving FROM jobs") for name in row}
        return set(self._cluster.objects(self.folder)) - uploads

    def outputs(self) -> set[str]:
        return {name for (name,) in self.rows("SELECT output FROM jobs WHERE output IS NOT NULL")}

    def end(self) -> None:
        for machine in self.machines:
            if machine.process.poll() is None:
                machine.send(signal.SIGCONT)
                machine.send(signal.SIGKILL)
                machine.process.wait()


def worker_of(fleet: Fleet, name: str, workers: list[Machine]) -> tuple[Machine, list[Machine]]:
    """Wait until a job runs; return the machine that computes it, and the others."""
    pid = wait_for(lambda: fleet.began(name), f"{name} to begin")[-1]
    busy = next(worker for worker in workers if pid in worker.computing())
    return busy, [worker for worker in workers if worker is not busy]
