"""One machine of a cluster as a process of its own: `python machine.py RUNS CONFIG`.

Its engine is no engine: it sleeps for `dsize` hundredths of a second, reports its progress, notes its runs in a file,
and its result is made of the clips and the settings alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from liveportrait_v2v.cli.stop import Stop
from liveportrait_v2v.server.config import ClusterConfig, ServerConfig
from liveportrait_v2v.server.listen import serve
from liveportrait_v2v.server.worker import ProcessWorker

SLEEPER = """
import json, os, sys, time
from pathlib import Path
from liveportrait_v2v.errors import Cancelled
from liveportrait_v2v.server import worker_process

runs = Path(sys.argv.pop(1))

def note(**what):
    line = json.dumps({"pid": os.getpid(), **what}) + "\\n"
    with runs.open("a") as file:
        file.write(line)

def animate(order, engine, max_bytes, cancelled, tell):
    clips = [Path(order[name]).read_bytes() for name in ("source", "driving")]
    name = clips[0].decode()
    note(began=name)
    steps = order["settings"]["dsize"] // 10
    for step in range(steps):
        time.sleep(0.1)
        if cancelled():
            note(stopped=name)
            raise Cancelled
        tell(step + 1, steps)
    Path(order["output"]).write_bytes(json.dumps([name, clips[1].decode(), order["settings"]]).encode())
    note(ended=name)

worker_process._load = lambda *_: None
worker_process._animate = animate
worker_process.main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
"""


def sleeper(config: ServerConfig, runs: str) -> ProcessWorker:
    worker = ProcessWorker(
        config.engine,
        "cpu",
        start_seconds=config.start_seconds,
        job_seconds=config.job_seconds,
        grace_seconds=config.grace_seconds,
        max_bytes=config.clip_bytes,
    )
    worker._arguments = ("-c", SLEEPER, runs, *worker._arguments[2:])
    return worker


def main(runs: str, values: dict[str, Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    cluster = values.pop("cluster")
    cluster = ClusterConfig(
        **{**cluster, "roles": frozenset(cluster["roles"]), "labels": tuple(cluster["labels"])}
    )
    config = ServerConfig(**{**values, "data": Path(values["data"])}, cluster=cluster)
    workers = [sleeper(config, runs)] if "worker" in cluster.roles else None
    parent = os.getppid()
    with Stop(ends=True) as stop:
        asyncio.run(
            serve(
                config,
                lambda: stop() or os.getppid() != parent,
                on_ready=lambda host, port: print(f"ready {host}:{port}", flush=True),
                workers=workers,
            )
        )


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
