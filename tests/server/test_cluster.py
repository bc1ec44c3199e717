"""Servers and workers that share a database and a bucket, and what happens when parts of them fail.

Machines are processes whose engine sleeps and notes each of its runs (tests/machine.py).
"""

from __future__ import annotations

import base64
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import clusters
import httpx
import pytest
from clusters import BUCKET, Cluster, Relay, runs
from fleet import Fleet, worker_of
from serving import FakeWorker, serving, wait_for

from liveportrait_v2v.server.config import MODEL, ClusterConfig
from liveportrait_v2v.server.files import FilesAway

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="machines are looked into by /proc"),
]
if reason := clusters.missing():
    pytest.skip(reason, allow_module_level=True)

from liveportrait_v2v.server.cluster.database import Database  # noqa: E402
from liveportrait_v2v.server.cluster.jobs import cancel  # noqa: E402

STALLED = clusters.QUICK["stalled_seconds"]


@pytest.fixture
def fleet(cluster, tmp_path) -> Iterator[Fleet]:
    fleet = Fleet(cluster, tmp_path / "fleet")
    yield fleet
    fleet.end()


@pytest.fixture
def config(cluster, data) -> ClusterConfig:
    return cluster.config(data)


def test_servers_without_workers_and_workers_without_servers_share_the_jobs(config, tmp_path):
    workers = [FakeWorker(), FakeWorker()]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                serving(tmp_path / f"api-{k}", cluster=replace(config, roles=frozenset(["api"])))
            )
            for k in range(2)
        ]
        for k, worker in enumerate(workers):
            role = replace(config, roles=frozenset(["worker"]))
            stack.enter_context(serving(tmp_path / f"worker-{k}", [worker], cluster=role))
        jobs = [servers[k % 2].client.job(dsize=100 + k) for k in range(10)]
        for k, job in enumerate(jobs):
            # Whichever server is asked.
            result = servers[(k + 1) % 2].client.result(job)
            name = result["video"]["file_name"]
            assert servers[k % 2].client.get(f"/files/{name}").json()["dsize"] == 100 + k
        assert not (tmp_path / "api-0").exists()
    assert sum(len(worker.tasks) for worker in workers) == 10


def test_two_api_processes_take_no_more_jobs_at_once_than_the_queue_holds(fleet):
    machines = fleet.start_all("api", "api", queue=10)
    clients = [fleet.client(machine) for machine in machines for _ in range(4)]

    def submit(number: int) -> int:
        client = clients[number % len(clients)]
        source = client.upload(f"job {number}".encode())
        return client.submit(input_video=source, driving_video=source).status_code

    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(submit, range(40)))
    assert Counter(answers) == {200: 10, 429: 30}
    assert fleet.rows("SELECT count(*) FROM jobs") == [(10,)]


def test_a_computing_process_that_is_killed_costs_an_attempt_and_three_fail_the_job(fleet):
    machine = fleet.start("api,worker")
    client = fleet.client(machine)
    once, thrice = fleet.submit(client, "once", 1.5), fleet.submit(client, "thrice", 1.5)
    wait_for(lambda: fleet.began("once"), "the first job")
    machine.kill_computing()
    assert client.wait(once)["status"] == "COMPLETED"
    assert fleet.job(once) == ("COMPLETED", 2, 1)
    for attempt in range(1, 4):
        wait_for(lambda attempt=attempt: len(fleet.began("thrice")) == attempt, f"attempt {attempt}")
        machine.kill_computing()
    status = client.wait(thrice)
    assert (status["status"], status["error"]) == ("FAILED", "the worker ended 3 times during this job")
    assert fleet.rows("SELECT * FROM procrastinate_jobs") == []


def test_the_job_of_a_killed_machine_is_done_by_another_in_time(fleet):
    api, *workers = fleet.start_all("api", "worker", "worker")
    job = fleet.submit(fleet.client(api), "job", 3)
    busy, _ = worker_of(fleet, "job", workers)
    busy.send(signal.SIGKILL)
    since = time.monotonic()
    wait_for(lambda: len(fleet.began("job")) == 2, "the second attempt")
    # Silence, a sweeper's round and its neighbour, polling.
    assert time.monotonic() - since < 3 * STALLED
    assert fleet.client(api).wait(job)["status"] == "COMPLETED"
    assert fleet.job(job) == ("COMPLETED", 2, 1)


def test_of_a_machine_that_was_frozen_and_the_one_that_replaced_it_one_result_counts(fleet):
    api, *workers = fleet.start_all("api", "worker", "worker")
    job = fleet.submit(fleet.client(api), "job", 2)
    frozen, _ = worker_of(fleet, "job", workers)
    time.sleep(0.5)
    frozen.send(signal.SIGSTOP)
    wait_for(lambda: fleet.job(job)[1] == 2, "the second attempt")
    time.sleep(0.5)
    # Both compute at the same time now; the first ends first.
    frozen.send(signal.SIGCONT)
    assert fleet.client(api).wait(job)["status"] == "COMPLETED"
    assert fleet.job(job) == ("COMPLETED", 2, 1)
    wait_for(lambda: "was given to another worker" in frozen.log.read_text(), "the loser's end")
    wait_for(lambda: fleet.results() == fleet.outputs(), "the loser's object gone")
    assert len(fleet.outputs()) == 1
    # It has registered again.
    later = [fleet.submit(fleet.client(api), f"later {k}", 1) for k in range(4)]
    assert {fleet.client(api).wait(one)["status"] for one in later} == {"COMPLETED"}
    assert wait_for(lambda: len(fleet.rows("SELECT * FROM workers")) == 2, "two workers")


def test_a_database_that_is_killed_and_comes_back_loses_nothing(cluster, tmp_path, objects):
    postgres = clusters.Postgres()
    try:
        own = Cluster(postgres, objects)
        fleet = Fleet(own, tmp_path / "fleet", stalled_seconds=6)
        api, *_ = fleet.start_all("api", "worker", "worker")
        client = fleet.client(api)
        running = [fleet.submit(client, name, 4) for name in ("a", "b")]
        waiting = fleet.submit(client, "c", 0.64)
        wait_for(lambda: fleet.began("a") and fleet.began("b"), "two jobs")
        source = client.upload(b"submitted")
        answered, enough = [], threading.Event()

        def submit() -> None:
            values = {"input_video": source, "driving_video": source, "dsize": 64}
            while not enough.is_set():
                with fleet.client(api) as one:
                    answer = one.submit(**values)
                if answer.status_code == 200:
                    answered.append(answer)
                time.sleep(0.05)

        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answered) > 10, "some jobs")
        postgres.stop("immediate")
        time.sleep(1)
        postgres.start()
        before = len(answered)
        wait_for(lambda: len(answered) > before + 5, "more jobs")
        enough.set()
        for thread in threads:
            thread.join()
        jobs = [*running, waiting, *(answer.json()["request_id"] for answer in answered)]
        known = {job for (job,) in fleet.rows("SELECT id FROM jobs")}
        assert set(jobs) <= known
        # No row without its entry, no entry without its row.
        assert (
            fleet.rows(
                "SELECT j.id, e.id FROM (SELECT * FROM jobs WHERE finished IS NULL) j"
                " FULL JOIN procrastinate_jobs e ON e.id = j.entry WHERE j.id IS NULL OR e.id IS NULL"
            )
            == []
        )
        for job in running:
            assert client.wait(job)["status"] == "COMPLETED"
            assert fleet.job(job)[2] == 0
        assert [len(fleet.began(name)) for name in ("a", "b")] == [1, 1]
        assert client.wait(waiting)["status"] == "COMPLETED"
        for machine in fleet.machines:
            assert machine.process.poll() is None
        fleet.end()
    finally:
        postgres.remove()


@pytest.mark.parametrize("moment", ["download", "upload of a result"])
def test_a_store_that_is_away_for_a_while_costs_no_job(fleet, objects, moment):
    machine = fleet.start("api,worker")
    client = fleet.client(machine)
    first, job = fleet.submit(client, "first", 2), fleet.submit(client, "job", 0.64)
    wait_for(lambda: fleet.began("first"), "the first job")
    if moment == "download":
        client.wait(first)
        wait_for(lambda: fleet.job(job)[0] != "QUEUED", "the second job")
    objects.pause()
    try:
        if moment != "download":
            wait_for(
                lambda: any(run.get("ended") == "first" for run in runs(fleet.folder)), "a result to upload"
            )
        time.sleep(10)
    finally:
        objects.go_on()
    for one in (first, job):
        assert client.wait(one)["status"] == "COMPLETED"
        assert client.get(f"/files/{client.result(one)['video']['file_name']}").status_code == 200
    assert [fleet.job(one) for one in (first, job)] == [("COMPLETED", 1, 0)] * 2


def test_a_server_does_not_start_on_a_store_that_it_cannot_use(config, data, monkeypatch):
    monkeypatch.setattr("liveportrait_v2v.server.cluster.files._RETRIES", 1)
    with (
        pytest.raises(FilesAway, match="check the bucket"),
        serving(data, [], cluster=replace(config, files="s3://no")),
    ):
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{clusters.free_port('127.0.0.1')}")
    with pytest.raises(FilesAway, match="AWS_ENDPOINT_URL"), serving(data, [], cluster=config):
        pass


def test_while_the_store_is_down_clients_are_told_to_come_back(config, cluster, tmp_path, monkeypatch):
    relay = Relay("127.0.0.1", 0, int(cluster.store.url.rsplit(":", 1)[1]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
    monkeypatch.setattr("liveportrait_v2v.server.cluster.files._RETRIES", 1)
    with serving(tmp_path / "api", cluster=replace(config, roles=frozenset(["api"]))) as server:
        relay.cut()
        data = base64.b64encode(b"clip").decode()
        answer = server.client.post("/upload-asset", json={"data_urls": [f"data:video/mp4;base64,{data}"]})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0


def test_an_upload_that_breaks_off_between_its_parts_leaves_nothing_to_see(config, tmp_path, cluster, data):
    role = replace(config, roles=frozenset(["api"]))
    size = 12 << 20
    with serving(tmp_path / "api", cluster=role, clip_bytes=64 << 20, request_seconds=1) as server:

        def body() -> Iterator[bytes]:
            yield b'{"data_urls": ["data:video/mp4;base64,' + b"A" * size
            wait_for(lambda: uploads(cluster), "the first parts")
            raise ConnectionAbortedError

        with pytest.raises(ConnectionAbortedError):
            server.client.post("/upload-asset", content=body(), headers={"Content-Type": "application/json"})
        wait_for(lambda: not uploads(cluster), "the parts gone")
        wait_for(lambda: not cluster.rows(data, "SELECT * FROM files"), "the row gone")
        assert cluster.objects(data) == []


def uploads(cluster: Cluster) -> list[str]:
    """Return the multipart uploads that are not complete."""
    text = httpx.get(f"{cluster.store.url}/{BUCKET}?uploads", trust_env=False).text
    return re.findall(r"<UploadId>", text)


def test_an_upload_of_several_parts_arrives_whole(config, tmp_path, cluster):
    role = replace(config, roles=frozenset(["api"]))
    clip = bytes(range(256)) * (50 << 10)
    with serving(tmp_path / "api", cluster=role, clip_bytes=64 << 20, quota_bytes=1 << 30) as server:
        url = server.client.upload(clip)
        assert server.client.get(url).content == clip
        assert uploads(cluster) == []


@pytest.mark.parametrize("state", ["waiting", "fetching", "computing"])
def test_a_job_is_cancelled_whatever_is_done_for_it(config, data, tmp_path, cluster, objects, state):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker], cluster=config) as server:
        if state == "waiting":
            server.client.wait(server.client.job(), "PROCESSING")
        if state == "fetching":
            urls = {name: server.client.upload(b"clip") for name in ("input_video", "driving_video")}
            objects.pause()
            job = server.client.submit(**urls).json()["request_id"]
            server.client.wait(job, "PROCESSING")
        else:
            job = server.client.job()
        if state == "computing":
            wait_for(lambda: worker.tasks, "the job")
        before = len(worker.tasks)
        database = Database(config.database)
        cancel(database, job)
        database.close()
        assert server.client.status(job)["error"] == "the job was cancelled"
        if state == "computing":
            wait_for(lambda: worker.stopped, "the end of the computation")
        entries = (
            "SELECT e.id FROM procrastinate_jobs e JOIN jobs j ON e.id = j.entry WHERE j.finished IS NOT NULL"
        )
        wait_for(lambda: not cluster.rows(data, entries), "the end of its entry")
        objects.go_on()
        worker.gate.set()
        assert server.client.wait(server.client.job())["status"] == "COMPLETED"
        assert server.client.status(job)["status"] == "FAILED"
        assert len(worker.tasks) == before + 1


def test_a_stopped_worker_hands_its_job_over_at_once_and_no_attempt_is_used_up(fleet):
    api, *workers = fleet.start_all("api", "worker", "worker")
    job = fleet.submit(fleet.client(api), "job", 3)
    busy, _ = worker_of(fleet, "job", workers)
    since = time.monotonic()
    assert busy.end() == 0
    wait_for(lambda: len(fleet.began("job")) == 2, "the second attempt")
    assert time.monotonic() - since < STALLED + 2
    assert fleet.client(api).wait(job)["status"] == "COMPLETED"
    assert fleet.job(job) == ("COMPLETED", 2, 0)


def test_all_workers_are_replaced_one_by_one_and_nothing_is_lost_or_computed_twice(fleet):
    """Jobs had time to end: --drain-minutes."""
    api, *workers = fleet.start_all("api", "worker", "worker", drain_seconds=60)
    client = fleet.client(api)
    names = [f"job {k}" for k in range(12)]
    jobs = [fleet.submit(client, name, 0.64) for name in names]
    for worker in workers:
        wait_for(lambda: len(runs(fleet.folder)) > 2, "jobs under way")
        fleet.start("worker", drain_seconds=60)
        assert worker.end() == 0
    assert {client.wait(job)["status"] for job in jobs} == {"COMPLETED"}
    assert Counter(run["began"] for run in runs(fleet.folder) if "began" in run) == dict.fromkeys(names, 1)
    assert {fleet.job(job) for job in jobs} == {("COMPLETED", 1, 0)}


def test_progress_is_in_the_jobs_row_while_it_runs(fleet):
    machine = fleet.start("api,worker")
    job = fleet.submit(fleet.client(machine), "job", 5)
    share = f"SELECT progress FROM jobs WHERE id = '{job}' AND progress IS NOT NULL AND finished IS NULL"
    ((first,),) = wait_for(lambda: fleet.rows(share), "progress")
    ((second,),) = wait_for(
        lambda: (found := fleet.rows(share)) and found[0][0] > first and found, "more progress"
    )
    assert 0 < first < second <= 1


def test_results_are_downloaded_from_the_store_by_links_that_expire_where_that_is_asked_for(config, data):
    with serving(data, [FakeWorker()], cluster=replace(config, link_seconds=60)) as server:
        result = server.client.result(server.client.job(dsize=100))
        answer = server.client.get(result["output"])
        assert answer.status_code == 307
        link = answer.headers["location"]
        assert "X-Amz-Expires=60" in link
        assert "X-Amz-Signature=" in link
        file = httpx.get(link, trust_env=False)
        assert file.json()["dsize"] == 100
        assert file.headers["content-type"] == "video/mp4"
        urls = {name: server.client.upload(b"clip") for name in ("input_video", "driving_video")}
        assert server.client.post(f"/v1/{MODEL}", json=urls).status_code == 200
        assert server.client.get("/files/" + "A" * 43 + ".mp4").status_code == 404


def test_files_end_with_their_time_and_what_was_never_finished_with_them(config, data, cluster):
    with serving(data, [FakeWorker()], cluster=config) as server:
        kept = server.client.upload(b"kept")
        url = server.client.upload(b"clip")
        cluster.rows(data, f"UPDATE files SET until = 0 WHERE name = '{url.rsplit('/')[-1]}' RETURNING name")
        cluster.rows(data, f"INSERT INTO files VALUES ('{'B' * 43}.mp4', 5, false, 0) RETURNING name")
        assert server.client.get(url).status_code == 404
        answer = server.client.submit(input_video=url, driving_video=url)
        assert "upload it again" in answer.json()["error"]
    with serving(data, [FakeWorker()], cluster=config) as server:
        wait_for(lambda: len(cluster.rows(data, "SELECT name FROM files")) == 1, "the end of the files")
        assert cluster.objects(data) == [kept.rsplit("/")[-1]]


def test_the_quota_holds_over_servers_that_take_uploads_at_once(config, tmp_path):
    role = replace(config, roles=frozenset(["api"]))
    limits = {"clip_bytes": 30_000, "quota_bytes": 100_000, "cluster": role}
    with serving(tmp_path / "a", **limits) as one, serving(tmp_path / "b", **limits) as two:
        text = base64.b64encode(bytes(29_000)).decode()

        def upload(number: int) -> int:
            with (one, two)[number % 2].new_client() as client:
                body = {"data_urls": [f"data:video/mp4;base64,{text}"]}
                return client.post("/upload-asset", json=body).status_code

        with ThreadPoolExecutor(6) as pool:
            codes = Counter(pool.map(upload, range(12)))
        assert codes == {200: 3, 507: 9}


def test_a_shared_directory_serves_machines_without_a_store(config, tmp_path):
    shared = replace(config, files=str(tmp_path / "shared"), shared_files=True)
    worker = FakeWorker()
    with (
        serving(tmp_path / "api", cluster=replace(shared, roles=frozenset(["api"]))) as server,
        serving(tmp_path / "worker", [worker], cluster=replace(shared, roles=frozenset(["worker"]))),
    ):
        result = server.client.result(server.client.job(dsize=100))
        assert server.client.get(result["output"]).json()["dsize"] == 100
        assert not list((tmp_path / "shared" / "work").iterdir())


def test_a_server_does_not_start_on_tables_of_another_version(postgres, config, data):
    from liveportrait_v2v.errors import SettingsError

    empty = replace(config, database=postgres.new_database(migrated=False))
    with (
        pytest.raises(SettingsError, match="serve --database URL --migrate"),
        serving(data, [], cluster=empty),
    ):
        pass
