"""HTTP API: states, shapes, codes and refusals."""

from __future__ import annotations

import base64
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from serving import Client, FakeWorker, age_files, failing, serving, stored_files, unfinished, wait_for

from liveportrait_v2v.server.config import MODEL

pytestmark = pytest.mark.slow

CLIPS = {"input_video": "https://clips.example/a.mp4", "driving_video": "https://clips.example/b.mp4"}


@pytest.fixture
def client(server) -> Client:
    return server.client


@pytest.fixture
def closed(data):
    """Server whose worker waits at its gate."""
    with serving(data, [FakeWorker(is_open=False)]) as server:
        yield server
        server.workers[0].gate.set()


def test_a_submitted_job_is_queued_then_processing_then_completed_with_its_video(closed):
    client = closed.client
    first = client.job(dsize=100)
    answer = client.submit(input_video=client.upload(b"a"), driving_video=client.upload(b"b"), dsize=200)
    job = answer.json()["request_id"]
    assert answer.json() == {
        "request_id": job,
        "status": "QUEUED",
        "status_url": f"{closed.url}/v2/requests/{job}/status",
        "response_url": f"{closed.url}/v2/requests/{job}",
        "poll_url": f"{closed.url}/v2/requests/{job}/status",
    }
    client.wait(first, "PROCESSING")
    assert client.status(job) == {"request_id": job, "status": "QUEUED"}
    closed.workers[0].gate.set()
    result = client.result(job)
    assert result["status"] == "COMPLETED"
    assert result["video"]["url"] == result["output"]
    assert {"cost", "remaining_credits", "inference_time", "queue_time", "total_time"} <= set(
        result["metrics"]
    )
    video = client.get(result["output"])
    assert video.headers["content-type"] == "video/mp4"
    assert len(video.content) == result["video"]["file_size"]
    assert video.json()["dsize"] == 200


def test_a_job_is_given_the_clips_and_the_settings_that_were_sent(server, worker):
    job = server.client.job(
        input_video=server.client.upload(b"source"), driving_video=server.client.upload(b"driving"), scale=3
    )
    server.client.wait(job)
    assert worker.inputs == [(b"source", b"driving")]
    assert worker.tasks[0].settings["scale"] == 3.0
    assert worker.tasks[0].settings["video_frame_load_cap"] == 120


def test_a_failed_job_is_a_422_with_state_and_error_on_both_gets(data):
    with serving(data, [failing("no face")]) as server:
        job = server.client.job()
        server.client.wait(job)
        for path in (f"/v2/requests/{job}/status", f"/v2/requests/{job}"):
            answer = server.client.get(path)
            assert answer.status_code == 422
            assert (answer.json()["status"], answer.json()["error"]) == ("FAILED", "no face")


def test_v1_answers_with_the_video_itself(server):
    urls = {name: server.client.upload(b"clip") for name in CLIPS}
    answer = server.client.post(f"/v1/{MODEL}", json={**urls, "dsize": 300})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.json()["dsize"] == 300
    assert server.client.status(answer.headers["x-request-id"])["status"] == "COMPLETED"
    assert {"x-cost", "x-remaining-credits", "x-generation-time"} <= set(answer.headers)


def test_v1_reports_a_failure_as_422(data):
    with serving(data, [failing("no face")]) as server:
        urls = {name: server.client.upload(b"clip") for name in CLIPS}
        answer = server.client.post(f"/v1/{MODEL}", json=urls)
        assert answer.status_code == 422
        assert answer.json()["error"] == "no face"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "input_video is missing"),
        ({"input_video": "https://8.8.8.8/a"}, "driving_video is missing"),
        ({**CLIPS, "dsize": 63}, "dsize must be a whole number from 64 to 2048, got 63"),
        ({**CLIPS, "dsize": "512"}, "dsize must be"),
        ({**CLIPS, "dsize": True}, "dsize must be"),
        ({**CLIPS, "scale": None}, "scale must be"),
        ({**CLIPS, "mismatch_method": "loop"}, "one of cut, circle, none"),
        ({**CLIPS, "base64": "yes"}, "base64 must be true or false"),
        ({**CLIPS, "other": 1}, "unknown parameter 'other'"),
        ({**CLIPS, "input_video": 7}, "input_video must be a URL"),
        ({**CLIPS, "input_video": ["https://8.8.8.8/"]}, "input_video must be a URL"),
        ({**CLIPS, "input_video": "a" * 5000}, "input_video must be a URL"),
        ({**CLIPS, "input_video": "http://8.8.8.8/a.mp4"}, "input_video: .*https://"),
        ({**CLIPS, "input_video": "https://127.0.0.1/a.mp4"}, "input_video: .*not a public address"),
        ({**CLIPS, "input_video": "https://169.254.169.254/a"}, "input_video: .*not a public address"),
        ({**CLIPS, "input_video": "file:///etc/passwd"}, "input_video: .*https://"),
        ({**CLIPS, "input_video": "data:video/mp4;base64,AAAA"}, "input_video: .*https://"),
        ({**CLIPS, "input_video": "/etc/passwd"}, "input_video: .*https://"),
        ({**CLIPS, "input_video": "\ud800"}, "input_video: .*printable ASCII"),
    ],
)
def test_a_value_against_its_rule_is_a_400_with_the_rule(values, message, shared):
    answer = shared.client.post(
        f"/v2/{MODEL}", content=json.dumps(values), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert re.search(message, answer.json()["error"]), answer.json()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"dsize": NaN}',
        b'{"dsize": Infinity}',
        b'{"dsize": ' + b"9" * 5000 + b"}",
        b'{"dsize": 1e999}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b"\x00" * 100,
    ],
)
def test_garbage_is_a_400_and_the_server_keeps_running(body, client):
    answer = client.post(f"/v2/{MODEL}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert client.get("/v1/get-user-credits").status_code == 200


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%zz\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v2/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\r\n" * 1000,
    ],
)
def test_invalid_http_does_no_harm(bytes_sent, shared):
    with socket.create_connection((shared.host, shared.port)) as connection:
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert shared.client.get("/v1/get-user-credits").status_code == 200


def test_a_request_that_is_too_large_is_a_413(shared):
    answer = shared.client.submit(**CLIPS, other="a" * 100_000)
    assert answer.status_code == 413
    assert "error" in answer.json()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_is_too_large_is_a_413_and_leaves_nothing(chunked, client, data):
    clip = base64.b64encode(bytes((1 << 20) + 1))
    body = b'{"data_urls": ["data:video/mp4;base64,' + clip + b'"]}'
    content = iter([body]) if chunked else body
    answer = client.post("/upload-asset", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert not stored_files(data)
    assert not unfinished(data)


def test_an_upload_announced_as_huge_is_refused_before_it_is_sent(shared):
    with socket.create_connection((shared.host, shared.port)) as connection:
        connection.sendall(
            b"POST /upload-asset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\n\r\n{"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_an_upload_that_breaks_off_leaves_nothing(server, data):
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(
            b"POST /upload-asset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100000\r\n\r\n{"data_urls": ["data:video/mp4;base64,' + b"A" * 50_000
        )
        wait_for(lambda: unfinished(data), "the upload's place")
    wait_for(lambda: not unfinished(data), "the end of the upload's place")
    assert not stored_files(data)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_only_json_is_accepted_so_that_pages_of_other_origins_cannot_post(kind, shared):
    for path in (f"/v2/{MODEL}", f"/v1/{MODEL}", "/upload-asset"):
        answer = shared.client.post(path, content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert "Content-Type" in answer.json()["error"]


def test_compressed_bodies_are_refused(shared):
    import gzip

    body = gzip.compress(json.dumps(CLIPS).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert shared.client.post(f"/v2/{MODEL}", content=body, headers=headers).status_code == 400


def test_an_unknown_path_is_a_404_in_json(shared):
    for path in ("/", "/v2/requests/none/status", "/v2/requests/none", "/v3/x", "/files/none.mp4"):
        answer = shared.client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}
    assert shared.client.post("/v2/another-model", json=CLIPS).status_code == 404


def test_a_wrong_method_is_a_405(shared):
    assert shared.client.delete(f"/v2/{MODEL}").status_code == 405
    assert shared.client.post("/v1/get-user-credits/x", json={}).status_code == 404
    assert shared.client.put("/upload-asset", json={}).status_code == 405


def test_the_queue_is_bounded_and_announces_when_to_retry(data):
    with serving(data, [FakeWorker(is_open=False)], queue=2) as server:
        server.client.wait(server.client.job(), "PROCESSING")
        server.client.job(), server.client.job()
        urls = {name: server.client.upload(b"clip") for name in CLIPS}
        requested = datetime.now(timezone.utc)
        answer = server.client.submit(**urls)
        assert answer.status_code == 429
        assert "queue is full" in answer.json()["error"]
        assert int(answer.headers["retry-after"]) > 0
        reset = datetime.strptime(answer.headers["x-rate-limit-reset-at-utc"], "%Y-%m-%dT%H:%M:%SZ")
        assert reset.replace(tzinfo=timezone.utc) > requested
        server.workers[0].gate.set()


def test_hundreds_of_jobs_wait_and_are_done_in_their_order(data):
    worker = FakeWorker(is_open=False)
    with serving(data, [worker], queue=301) as server:
        urls = {name: server.client.upload(b"clip") for name in CLIPS}
        jobs = [server.client.submit(**urls, dsize=64 + k).json()["request_id"] for k in range(300)]
        worker.gate.set()
        server.client.wait(jobs[-1])
        assert [task.settings["dsize"] for task in worker.tasks] == list(range(64, 364))
        assert {server.client.status(job)["status"] for job in jobs[::15]} == {"COMPLETED"}


def test_many_clients_at_once_each_get_their_own_result(data):
    workers = [FakeWorker(), FakeWorker()]
    with serving(data, workers) as server:

        def run(number: int) -> int:
            with server.new_client() as client:
                clips = {name: client.upload(f"{name} {number}".encode()) for name in CLIPS}
                result = client.result(client.job(**clips, dsize=64 + number))
                return client.get(result["output"]).json()["dsize"]

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(run, range(64))) == list(range(64, 128))
        pairs = {(source.rsplit()[1], driving.rsplit()[1]) for w in workers for source, driving in w.inputs}
        assert pairs == {(str(n).encode(), str(n).encode()) for n in range(64)}
        assert all(worker.tasks for worker in workers)


def test_results_expire_and_the_history_keeps_them_longer(data, worker):
    with serving(data, [worker], result_seconds=0.2) as server:
        job = server.client.job()
        wait_for(lambda: server.client.get(f"/v2/requests/{job}").status_code == 404, "the end of the result")
        assert server.client.get(f"/v2/requests/{job}/status").status_code == 404
        row = server.client.get(f"/inference-request/request-history/{job}").json()
        assert row["model_status"] == "COMPLETED"
        assert server.client.get(row["generation_url"]).status_code == 200


def test_files_are_kept_for_a_time(data, worker):
    with serving(data, [worker]) as server:
        clip, result = server.client.upload(b"clip"), server.client.result(server.client.job())
    age_files(data, 100)
    with serving(data, [worker], file_seconds=99, port=server.port) as server:
        wait_for(lambda: not stored_files(data), "the end of the files")
        assert server.client.get(result["output"]).status_code == 404
        row = server.client.get(f"/inference-request/request-history/{result['request_id']}").json()
        assert row["generation_url"] is None
        answer = server.client.submit(input_video=clip, driving_video=clip)
        assert answer.status_code == 400
        assert "upload it again" in answer.json()["error"]


def test_credits_are_always_zero(shared):
    assert shared.client.get("/v1/get-user-credits").json() == {"credits": 0.0, "free-credits": 0.0}


def test_the_history_has_every_job_as_it_was_sent(data):
    worker = FakeWorker()
    with serving(data, [worker]) as server:
        client = server.client
        good = client.job(dsize=100)
        client.wait(good)
        worker.error = RuntimeError("secret")
        bad = client.job(dsize=200)
        client.wait(bad)
        worker.gate.clear()
        running = client.job(dsize=300)
        client.wait(running, "PROCESSING")
        page = client.get("/inference-request/request-history").json()
        assert (page["total"], page["page"], page["per_page"], page["total_pages"]) == (3, 1, 20, 1)
        assert [row["request_id"] for row in page["data"]] == [running, bad, good]
        assert [row["model_status"] for row in page["data"]] == ["PENDING", "FAILED", "COMPLETED"]
        assert [row["request_body"]["dsize"] for row in page["data"]] == [300, 200, 100]
        assert all(
            {"input_video", "driving_video", "dsize"} == set(row["request_body"]) for row in page["data"]
        )
        assert page["data"][1]["error"] == "internal error (RuntimeError)"
        assert page["data"][2]["generation_url"] == client.result(good)["output"]
        assert client.get(f"/inference-request/request-history/{good}").json() == page["data"][2]
        worker.gate.set()


def test_the_history_is_paged_and_filtered(server):
    client, today = server.client, datetime.now(timezone.utc).date()
    jobs = [client.job() for _ in range(3)]
    for job in jobs:
        client.wait(job)

    def ids(**query) -> list[str]:
        answer = client.get("/inference-request/request-history", params=query)
        assert answer.status_code == 200, answer.text
        return [row["request_id"] for row in answer.json()["data"]]

    assert ids(per_page=2) == jobs[:0:-1]
    assert ids(per_page=2, page=2) == jobs[:1]
    assert ids(page=9) == []
    assert ids(sort_order="asc") == jobs
    assert ids(status="FAILED") == ids(status="PENDING") == []
    assert len(ids(status="COMPLETED", model_name="live-portrait")) == 3
    assert ids(model_name="other") == []
    assert len(ids(from_date=today, to_date=today + timedelta(days=1))) == 3
    assert ids(from_date=today - timedelta(days=9), to_date=today - timedelta(days=2)) == []


@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "-1"},
        {"page": "x"},
        {"page": "1" * 30},
        {"per_page": "101"},
        {"status": "DONE"},
        {"from_date": "yesterday"},
        {"from_date": "2026-02-31"},
        {"from_date": "2026-01-01", "to_date": "2026-03-01"},
        {"from_date": "2026-01-02", "to_date": "2026-01-01"},
        {"sort_order": "up; DROP TABLE jobs"},
    ],
)
def test_a_history_query_against_a_rule_is_a_400(query, shared):
    assert shared.client.get("/inference-request/request-history", params=query).status_code == 400


def test_links_are_made_for_the_address_that_clients_see(data, worker):
    with serving(data, [worker], public_url="https://gpu.example") as server:
        url = server.client.upload(b"clip")
        assert url.startswith("https://gpu.example/files/")
        answer = server.client.submit(input_video=url, driving_video=url).json()
        assert answer["status_url"].startswith("https://gpu.example/v2/requests/")
        server.client.wait(answer["request_id"])
        assert worker.inputs == [(b"clip", b"clip")]


def test_videos_are_served_in_ranges_so_that_a_download_can_resume(server):
    url = server.client.result(server.client.job())["output"]
    whole = server.client.get(url)
    part = server.client.get(url, headers={"Range": "bytes=5-9", "If-Range": whole.headers["etag"]})
    assert part.status_code == 206
    assert part.content == whole.content[5:10]
    assert server.client.get(url, headers={"Range": "bytes=-4"}).content == whole.content[-4:]
    assert server.client.get(url, headers={"Range": "bytes=9999999-"}).status_code == 416
    head = server.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(whole.content)
