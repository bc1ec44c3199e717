"""Processing of jobs: clips at URLs, full disks, failures, and shutdown during a job."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from serving import FakeWorker, delete_files, failing, serving, states, unfinished, wait_for

from liveportrait_v2v.server.config import MODEL
from liveportrait_v2v.server.files import LocalFiles, NoSpace
from liveportrait_v2v.server.jobs import StoreError

pytestmark = pytest.mark.slow


class Elsewhere(BaseHTTPRequestHandler):
    """Host of clips."""

    def do_GET(self) -> None:
        answers = {
            "/clip.mp4": (200, {}, b"clip from elsewhere"),
            "/moved": (302, {"Location": "/clip.mp4"}, b""),
            "/inside": (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
            "/large": (200, {}, bytes((1 << 20) + 1)),
        }
        code, headers, body = answers.get(self.path, (404, {}, b"none"))
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()


@pytest.mark.parametrize("path", ["/clip.mp4", "/moved"])
def test_clips_are_fetched_from_their_urls(path, data, worker, elsewhere):
    with serving(data, [worker], allow_loopback=True) as server:
        job = server.client.job(input_video=elsewhere + path)
        assert server.client.wait(job)["status"] == "COMPLETED"
        assert worker.inputs == [(b"clip from elsewhere", b"driving_video")]
        assert not unfinished(data)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/none", "answered 404"), ("/inside", "not a public address"), ("/large", "larger than the limit")],
)
def test_a_clip_that_cannot_be_fetched_fails_the_job_with_the_reason(path, reason, data, worker, elsewhere):
    with serving(data, [worker], allow_loopback=True) as server:
        status = server.client.wait(server.client.job(driving_video=elsewhere + path))
        assert status["status"] == "FAILED"
        assert status["error"].startswith("driving_video: ")
        assert reason in status["error"]
        assert worker.tasks == []
        assert not unfinished(data)


def test_loopback_is_refused_by_default(server, elsewhere):
    answer = server.client.submit(input_video=elsewhere + "/clip.mp4", driving_video=elsewhere + "/clip.mp4")
    assert answer.status_code == 400


def test_a_name_that_leads_to_this_machine_fails_the_job(server, worker):
    job = server.client.job(input_video="https://localhost/clip.mp4")
    assert "not a public address" in server.client.wait(job)["error"]
    assert worker.tasks == []


def test_an_upload_that_expires_while_its_job_waits_fails_the_job(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker]) as server:
        first = server.client.job()
        server.client.wait(first, "PROCESSING")
        waiting = server.client.job()
        delete_files(data)
        worker.gate.set()
        status = server.client.wait(waiting)
        assert status["status"] == "FAILED"
        assert "upload it again" in status["error"]


def test_after_any_error_in_a_job_the_next_one_is_computed(data, monkeypatch):
    monkeypatch.setattr("liveportrait_v2v.server.work._RETRY_WAITS_SECONDS", (0.0, 0.01))
    worker = FakeWorker()
    with serving(data, [worker]) as server:
        for error, message in [
            (RuntimeError("/secret/path"), "internal error (RuntimeError)"),
            (OSError(errno.ENOSPC, "No space left on device", "/secret"), "No space left on device"),
            (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        ]:
            worker.error = error
            status = server.client.wait(server.client.job())
            assert status["status"] == "FAILED"
            assert message in status["error"]
            assert "secret" not in status["error"]
        worker.error = None
        assert server.client.wait(server.client.job())["status"] == "COMPLETED"


def test_a_full_quota_is_a_507_for_jobs_and_uploads_and_ends_with_the_files(data, worker):
    with serving(data, [worker], clip_bytes=10_000, quota_bytes=31_000) as server:
        url = server.client.upload(bytes(9_000))
        answer = server.client.submit(input_video=url, driving_video=url)
        assert answer.status_code == 507
        assert "quota" in answer.json()["error"]
        for _ in range(2):
            server.client.upload(bytes(8_000))
        answer = server.client.post(
            "/upload-asset", json={"data_urls": ["data:video/mp4;base64," + "A" * 12_000]}
        )
        assert answer.status_code == 507
        delete_files(data)
        assert server.client.wait(server.client.job())["status"] == "COMPLETED"


@pytest.mark.one_machine
def test_a_full_disk_is_a_507(data, worker, monkeypatch):
    with serving(data, [worker]) as server:
        url = server.client.upload(b"clip")
        usage = shutil.disk_usage(data)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        assert server.client.submit(input_video=url, driving_video=url).status_code == 507
        upload = {"data_urls": ["data:video/mp4;base64,AAAA"]}
        assert server.client.post("/upload-asset", json=upload).status_code == 507
        monkeypatch.undo()
        assert server.client.wait(server.client.job())["status"] == "COMPLETED"


def test_a_disk_that_fills_up_during_an_upload_is_a_507_and_leaves_nothing(data, worker, monkeypatch):
    async def full(*_: object):
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(data, [worker]) as server:
        monkeypatch.setattr("liveportrait_v2v.server.api.save_data_urls", full)
        upload = {"data_urls": ["data:video/mp4;base64,AAAA"]}
        assert server.client.post("/upload-asset", json=upload).status_code == 507
        assert not unfinished(data)


def test_a_submit_that_cannot_be_stored_is_a_507_and_no_job(data, worker, jobs_class, monkeypatch):
    with serving(data, [worker]) as server:
        urls = {name: server.client.upload(b"clip") for name in ("input_video", "driving_video")}

        def full(*_: object) -> None:
            raise StoreError("jobs can't be stored: database or disk is full", full=True)

        monkeypatch.setattr(jobs_class, "submit", full)
        assert server.client.submit(**urls).status_code == 507
        monkeypatch.undo()
        assert server.client.get("/inference-request/request-history").json()["total"] == 0


def test_a_result_is_not_lost_while_the_disk_is_too_full_to_write_it_down(
    data, worker, jobs_class, monkeypatch
):
    monkeypatch.setattr("liveportrait_v2v.server.work._RETRY_SECONDS", 0.05)
    finish, refused = jobs_class.finish, []

    def full_at_first(self, job, **how):
        if len(refused) < 3:
            refused.append(job.id)
            raise StoreError("jobs can't be stored: database or disk is full", full=True)
        return finish(self, job, **how)

    monkeypatch.setattr(jobs_class, "finish", full_at_first)
    with serving(data, [worker]) as server:
        job = server.client.job()
        assert server.client.wait(job)["status"] == "COMPLETED"
    assert refused == [job] * 3
    assert len(worker.tasks) == 1


@pytest.mark.one_machine
def test_space_is_reserved_for_running_jobs(data):
    files = LocalFiles(data, quota=1000, lifetime=100)
    with files.workplace(600) as place:
        with pytest.raises(NoSpace), files.workplace(600):
            pass
        (place / "clip").write_bytes(bytes(500))
        asyncio.run(files.add(place / "clip", ".mp4"))
    with files.workplace(500):
        pass
    with pytest.raises(NoSpace):
        files.check_space(501)


def test_a_job_that_runs_when_the_server_ends_is_stopped_and_done_after_the_next_start(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker]) as server:
        running, waiting = server.client.job(dsize=100), server.client.job(dsize=200)
        server.client.wait(running, "PROCESSING")
    assert worker.stopped == 1
    assert not unfinished(data)
    assert states(data) == {("QUEUED", 0)}
    worker.gate.set()
    with serving(data, [worker]) as server:
        for job, dsize in ((running, 100), (waiting, 200)):
            result = server.client.result(job)
            assert server.client.get(f"/files/{result['video']['file_name']}").json()["dsize"] == dsize
    assert [task.settings["dsize"] for task in worker.tasks] == [100, 100, 200]


def test_leftovers_of_a_killed_server_are_deleted(data, worker):
    (data / "work" / "abc").mkdir(parents=True)
    data.chmod(0o700)
    (data / "work" / "abc" / ".result.1234.part").write_bytes(b"half")
    with serving(data, [worker]):
        assert not unfinished(data)


def test_a_v1_request_that_waits_is_let_go_when_the_server_ends(data):
    worker = FakeWorker(is_open=False)
    answers = []
    with serving(data, [worker]) as server:
        urls = {name: server.client.upload(b"clip") for name in ("input_video", "driving_video")}
        client = server.new_client()
        thread = threading.Thread(target=lambda: answers.append(client.post(f"/v1/{MODEL}", json=urls)))
        thread.start()
        wait_for(lambda: worker.tasks, "the job")
    thread.join()
    client.close()
    assert answers[0].status_code == 503
    job = answers[0].json()["request_id"]
    worker.gate.set()
    with serving(data, [worker]) as server:
        assert server.client.wait(job)["status"] == "COMPLETED"


def test_two_servers_do_not_share_a_data_directory_and_the_second_touches_nothing(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker]) as server:
        job = server.client.job()
        server.client.wait(job, "PROCESSING")
        with pytest.raises(StoreError, match=r"another (server|worker)"), serving(data, [FakeWorker()]):
            pass
        worker.gate.set()
        assert server.client.wait(job)["status"] == "COMPLETED"


def test_a_port_that_is_taken_is_an_error(server, tmp_path):
    with (
        pytest.raises(OSError, match="address already in use"),
        serving(tmp_path / "other", [FakeWorker()], port=server.port),
    ):
        pass


def test_a_job_survives_the_disconnection_of_its_client(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker]) as server:
        urls = {name: server.client.upload(b"clip") for name in ("input_video", "driving_video")}
        with server.new_client() as client:
            client.timeout = 0.5
            with pytest.raises(Exception, match="timed out"):
                client.post(f"/v1/{MODEL}", json=urls)
        worker.gate.set()
        rows = lambda: server.client.get("/inference-request/request-history").json()["data"]  # noqa: E731
        wait_for(lambda: rows()[0]["model_status"] == "COMPLETED", "the job's end")


def test_other_workers_continue_while_one_is_slow(data):
    slow, quick = FakeWorker(is_open=False), FakeWorker(is_open=False)
    with serving(data, [slow, quick]) as server:
        jobs = [server.client.job() for _ in range(4)]
        wait_for(lambda: slow.tasks and quick.tasks, "two jobs at once")
        quick.gate.set()
        wait_for(
            lambda: sum(server.client.status(job)["status"] == "COMPLETED" for job in jobs) == 3, "three jobs"
        )
        slow.gate.set()
        assert {server.client.wait(job)["status"] for job in jobs} == {"COMPLETED"}


def test_requests_are_answered_while_a_job_is_failing_again_and_again(data):
    with serving(data, [failing("no")]) as server:
        jobs = [server.client.job() for _ in range(5)]
        assert {server.client.wait(job)["error"] for job in jobs} == {"no"}


@pytest.mark.one_machine
def test_an_expired_file_is_not_found_even_before_it_is_deleted(data):
    files = LocalFiles(data, quota=1000, lifetime=100)
    with files.workplace(10) as place:
        (place / "clip").write_bytes(b"clip")
        name = asyncio.run(files.add(place / "clip", ".mp4"))
    path = files.path(name)
    os.utime(path, (time.time() - 101,) * 2)
    assert files.path(name) is None
    assert path.exists()
    files.expire()
    assert not path.exists()


@pytest.mark.one_machine
def test_the_lifetime_of_a_file_begins_when_it_is_added(data):
    files = LocalFiles(data, quota=1000, lifetime=100)
    with files.workplace(10) as place:
        (place / "old").write_bytes(b"old")
        os.utime(place / "old", (time.time() - 1000,) * 2)
        name = asyncio.run(files.add(place / "old", ".mp4"))
    files.expire()
    assert files.path(name) is not None


def test_an_unexpected_error_is_a_500_in_json_without_details(data, worker, jobs_class, monkeypatch):
    with serving(data, [worker]) as server:
        monkeypatch.setattr(jobs_class, "get", lambda *_: 1 / 0)
        answer = server.client.get("/v2/requests/x")
        assert answer.status_code == 500
        assert "division" not in answer.json()["error"]


def test_a_result_asked_for_as_text_is_in_the_answer_and_has_no_url(server):
    plain = server.client.job(dsize=100)
    file = server.client.get(server.client.result(plain)["output"]).content
    job = server.client.job(dsize=100, base64=True)
    answer = server.client.result(job)
    values = json.loads(file)
    assert json.loads(base64.b64decode(answer["output"])) == {**values, "base64": True}
    assert "video" not in answer
    (row,) = (
        row
        for row in server.client.get("/inference-request/request-history").json()["data"]
        if row["request_id"] == job
    )
    assert (row["model_status"], row["generation_url"]) == ("COMPLETED", None)


def test_v1_answers_with_text_where_that_was_asked_for(server):
    urls = {name: server.client.upload(b"clip") for name in ("input_video", "driving_video")}
    answer = server.client.post(f"/v1/{MODEL}", json={**urls, "base64": True})
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(base64.b64decode(answer.json()["output"]))["base64"] is True
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
