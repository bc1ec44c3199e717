"""Machines in network namespaces of their own: neither sees the other's loopback, and their cables can be pulled."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import clusters
import pytest
from clusters import Cluster, Relay
from fleet import Fleet, worker_of
from serving import PATIENCE, Client, serving, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="machines are looked into by /proc"),
]
ROOT = Path(__file__).parent.parent.parent
QUICK = {"dsize": 128, "video_frame_load_cap": 4}


class Network:
    """Network namespace with one cable to this machine, over which the database and the store are reached."""

    def __init__(self, number: int, postgres: clusters.Postgres, objects: clusters.ObjectStore):
        self.name = f"lpv2v{secrets.token_hex(3)}"
        self._cable = self.name
        here, there = f"10.219.{number}.1", f"10.219.{number}.2"
        ip("netns", "add", self.name)
        ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{here}/30", "dev", self._cable)
        ip("link", "set", self._cable, "up")
        ip("-n", self.name, "addr", "add", f"{there}/30", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        store_port = int(objects.url.rsplit(":", 1)[1])
        self._relays = [Relay(here, 0, postgres.port), Relay(here, 0, store_port)]
        self._database = f"{here}:{self._relays[0].port}"
        self._local_database = f"{postgres.host}:{postgres.port}"
        self.environment = {
            **objects.environment,
            "AWS_ENDPOINT_URL": f"http://{here}:{self._relays[1].port}",
        }

    def database(self, url: str) -> str:
        """Return the URL of a database as it is reached from here."""
        return url.replace(self._local_database, self._database)

    def pull_cable(self) -> None:
        ip("link", "set", self._cable, "down")

    def plug_cable(self) -> None:
        ip("link", "set", self._cable, "up")

    def remove(self) -> None:
        """End all that runs in it, at once, and the cable with it."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout
        for pid in listed.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for relay in self._relays:
            relay.close()
        for words in (("link", "del", self._cable), ("netns", "del", self.name)):
            subprocess.run(["ip", *words], stderr=subprocess.DEVNULL)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def networks(postgres, objects) -> Iterator[list[Network]]:
    if shutil.which("ip") is None:
        pytest.skip("NETWORK NAMESPACES ARE MISSING: install iproute2")
    made: list[Network] = []
    try:
        for number in range(2):
            made.append(Network(number, postgres, objects))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NETWORK NAMESPACES ARE MISSING: {error.stderr.decode().strip()}; run the tests as root")
    else:
        yield made
    finally:
        for network in made:
            network.remove()


def command(cluster: Cluster, data: Path, *options: str) -> list[str]:
    config = cluster.config(data)
    serve = [
        sys.executable,
        "-m",
        "liveportrait_v2v.cli",
        "serve",
        "--files",
        config.files,
        "--stalled-seconds",
        "6",
    ]
    return [*serve, *options]


def test_two_machines_that_see_nothing_of_each_other_do_twenty_jobs_as_one_would(
    networks, cluster, clips, tmp_path
):
    names = [("obama", "single_face"), ("single_face", "obama")]
    machines = tmp_path / "machines"
    machines.mkdir()
    url = cluster.config(tmp_path).database
    with ExitStack() as stack:
        processes = []
        for network in networks:
            serve = command(
                cluster,
                tmp_path,
                "--role",
                "worker",
                "--database",
                network.database(url),
                "--data",
                str(machines),
            )
            # `ip netns exec` has mounts of its own: this folder is another one in each.
            inside = ["sh", "-c", f'mount -t tmpfs -o mode=700 none {machines} && exec "$@"', "sh", *serve]
            processes.append(
                start(["ip", "netns", "exec", network.name, *inside], network.environment, stack)
            )
        serve = command(cluster, tmp_path, "--role", "api", "--database", url, "--port", "0")
        api = start(serve, {}, stack)
        for process in processes:
            assert process.stdout.readline() == "working\n"
        client = stack.enter_context(
            Client(base_url=api.stdout.readline().split()[-1], timeout=PATIENCE, trust_env=False)
        )
        jobs = submit(client, clips, names)
        results = [client.get(client.result(job)["output"]).content for job in jobs]
        rows = cluster.rows(tmp_path, "SELECT status, attempt, count(*) FROM jobs GROUP BY status, attempt")
        assert rows == [("COMPLETED", 1, 20)]
        assert not list(machines.iterdir())
        for process in processes:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE) == 0
    logs = [(process.stderr.read().count(" completed")) for process in processes]
    assert sum(logs) == 20
    assert all(logs), logs
    with serving(tmp_path / "sqlite", clip_bytes=1 << 22) as server:
        alone = submit(server.client, clips, names[:2], count=2)
        expected = [server.client.get(server.client.result(job)["output"]).content for job in alone]
    assert results == expected * 10
    cluster.take_back(tmp_path)


def start(words: list[str], values: dict[str, str], stack: ExitStack) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **values, "PYTHONPATH": str(ROOT)},
    )
    stack.callback(process.kill)
    return process


def submit(client: Client, clips, names: list[tuple[str, str]], count: int = 20) -> list[str]:
    urls = {name: client.upload(clips[name].read_bytes()) for pair in names for name in pair}
    pairs = [names[k % len(names)] for k in range(count)]
    return [client.job(input_video=urls[one], driving_video=urls[two], **QUICK) for one, two in pairs]


def test_nothing_of_this_machine_is_seen_from_a_namespace_but_through_its_cable(networks, postgres):
    tries = f"import socket; socket.create_connection(('127.0.0.1', {postgres.port}), 3)"
    words = ["ip", "netns", "exec", networks[0].name, sys.executable, "-c", tries]
    assert subprocess.run(words, capture_output=True).returncode == 1
    socket.create_connection(("127.0.0.1", postgres.port)).close()


@pytest.mark.parametrize("fault", ["its cable is pulled and plugged again", "it is gone"])
def test_the_job_of_a_machine_that_drops_out_is_done_once_more_and_counts_once(
    networks, cluster, tmp_path, monkeypatch, fault
):
    fleet = Fleet(cluster, tmp_path / "fleet")
    api = fleet.start("api")
    workers = []
    for network in networks:
        with clusters.environment(network.environment):
            workers.append(
                fleet.start("worker", netns=network.name, database=network.database(fleet.config.database))
            )
    job = fleet.submit(fleet.client(api), "job", 3)
    busy, _ = worker_of(fleet, "job", workers)
    network = networks[workers.index(busy)]
    if fault == "it is gone":
        network.remove()
    else:
        network.pull_cable()
    since = time.monotonic()
    wait_for(lambda: len(fleet.began("job")) == 2, "the second attempt")
    assert time.monotonic() - since < 4 * clusters.QUICK["stalled_seconds"]
    assert fleet.client(api).wait(job)["status"] == "COMPLETED"
    assert fleet.job(job) == ("COMPLETED", 2, 1)
    if fault != "it is gone":
        network.plug_cable()
        wait_for(lambda: "was given to another worker" in busy.log.read_text(), "the loser's end")
        wait_for(lambda: len(fleet.rows("SELECT * FROM workers")) == 2, "two workers again")
    wait_for(lambda: fleet.results() == fleet.outputs(), "one result alone")
    fleet.end()
