"""Job store: order, capacity and restarts."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace

import pytest

from liveportrait_v2v.server.jobs import (
    COMPLETED,
    FAILED,
    MAX_ATTEMPTS,
    PROCESSING,
    QUEUED,
    HistoryQuery,
    QueueFull,
    SqliteJobs,
    StoreError,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.sqlite3"


@pytest.fixture
def jobs(path):
    jobs = SqliteJobs(path, capacity=5)
    yield jobs
    jobs.close()


def submit(jobs: SqliteJobs, number: int = 0) -> str:
    return jobs.submit("model", {"n": number}, "a.mp4", "b.mp4", {"dsize": 64}).id


def test_jobs_are_claimed_in_the_order_in_which_they_came(jobs):
    ids = [submit(jobs) for _ in range(3)]
    assert [jobs.claim().id for _ in range(3)] == ids
    assert jobs.claim() is None


def test_a_claimed_job_is_processing_and_has_all_parameters(jobs):
    job = jobs.get(submit(jobs, 7))
    assert (job.status, job.started, job.request, job.settings) == (QUEUED, None, {"n": 7}, {"dsize": 64})
    assert jobs.claim().id == job.id
    job = jobs.get(job.id)
    assert job.status == PROCESSING
    assert job.started >= job.created


def test_a_job_ends_completed_or_failed(jobs):
    good, bad = submit(jobs), submit(jobs)
    assert jobs.finish(jobs.claim(), output="c.mp4")
    assert jobs.finish(jobs.claim(), error="no face")
    assert (jobs.get(good).status, jobs.get(good).output, jobs.get(good).error) == (COMPLETED, "c.mp4", None)
    assert (jobs.get(bad).status, jobs.get(bad).output, jobs.get(bad).error) == (FAILED, None, "no face")


def test_an_attempt_that_is_not_the_current_one_finishes_nothing(jobs):
    submit(jobs)
    first = jobs.claim()
    assert first.attempt == 1
    assert not jobs.finish(replace(first, attempt=2), output="c.mp4")
    assert jobs.get(first.id).status == PROCESSING
    assert jobs.finish(first, output="c.mp4")
    assert not jobs.finish(first, error="late")
    assert jobs.get(first.id).output == "c.mp4"


def test_a_requeued_job_keeps_its_place(jobs):
    first, second = submit(jobs), submit(jobs)
    jobs.requeue(jobs.claim())
    assert [jobs.claim().id, jobs.claim().id] == [first, second]


def test_the_queue_has_a_maximum_length(jobs):
    for _ in range(5):
        submit(jobs)
    with pytest.raises(QueueFull):
        submit(jobs)
    jobs.claim()
    submit(jobs)


def test_a_restart_keeps_all_jobs_and_requeues_the_running_ones(path):
    jobs = SqliteJobs(path, 5)
    done, running, waiting = submit(jobs), submit(jobs), submit(jobs)
    jobs.finish(jobs.claim(), output="c.mp4")
    jobs.claim()
    jobs.close()
    jobs = SqliteJobs(path, 5)
    assert jobs.get(done).status == COMPLETED
    assert [jobs.claim().id, jobs.claim().id] == [running, waiting]
    jobs.close()


def test_a_job_during_which_the_server_ended_too_often_has_failed(path):
    jobs = SqliteJobs(path, 5)
    job_id = submit(jobs)
    for _ in range(MAX_ATTEMPTS):
        assert jobs.claim().id == job_id
        jobs.close()
        jobs = SqliteJobs(path, 5)
    assert jobs.claim() is None
    assert "server ended 3 times" in jobs.get(job_id).error
    jobs.close()


def test_a_requeued_job_has_no_failed_attempt(path):
    jobs = SqliteJobs(path, 5)
    job_id = submit(jobs)
    for _ in range(MAX_ATTEMPTS + 1):
        jobs.requeue(jobs.claim())
        jobs.close()
        jobs = SqliteJobs(path, 5)
    jobs.claim()
    jobs.close()
    jobs = SqliteJobs(path, 5)
    assert jobs.claim().id == job_id
    jobs.close()


def test_two_servers_never_work_on_the_same_jobs(jobs, path):
    submit(jobs)
    with pytest.raises(StoreError, match="another server"):
        SqliteJobs(path, 5)


def test_a_file_that_is_not_a_database_is_an_error(path):
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        SqliteJobs(path, 5)


def test_a_full_disk_is_reported_and_loses_nothing(jobs):
    first = submit(jobs)
    pages = jobs._base.execute("PRAGMA page_count").fetchone()[0]
    jobs._base.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError) as caught:
        jobs.submit("model", {"long": "a" * 100_000}, "a.mp4", "b.mp4", {})
    assert caught.value.full
    jobs._base.execute("PRAGMA max_page_count = 100000")
    second = submit(jobs)
    assert [jobs.claim().id, jobs.claim().id] == [first, second]
    assert jobs.claim() is None


def test_threads_that_claim_at_once_get_different_jobs(path):
    jobs = SqliteJobs(path, 100)
    ids = {submit(jobs) for _ in range(40)}
    claimed: list[str] = []

    def claim() -> None:
        while (job := jobs.claim()) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 40
    assert set(claimed) == ids
    jobs.close()


def test_old_jobs_are_forgotten_and_unfinished_ones_are_not(jobs):
    old, waiting = submit(jobs), submit(jobs)
    jobs.finish(jobs.claim(), error="x")
    jobs.forget(jobs.get(old).finished + 1)
    assert jobs.get(old) is None
    assert jobs.get(waiting) is not None


def test_the_history_counts_all_and_gives_a_page(jobs):
    ids = [submit(jobs) for _ in range(5)]
    everything = HistoryQuery(0, 1e12)
    assert jobs.history(everything)[0] == 5
    assert [job.id for job in jobs.history(everything)[1]] == ids[::-1]
    page = HistoryQuery(0, 1e12, oldest_first=True, offset=2, limit=2)
    assert [job.id for job in jobs.history(page)[1]] == ids[2:4]
    assert jobs.history(HistoryQuery(0, 1e12, model="ode"))[0] == 5
    assert jobs.history(HistoryQuery(0, 1e12, model="%"))[0] == 0
    assert jobs.history(HistoryQuery(0, 1e12, statuses=(FAILED,)))[0] == 0
    assert jobs.history(HistoryQuery(0, 1))[0] == 0


def test_the_file_is_plain_sqlite(path):
    jobs = SqliteJobs(path, 5)
    job_id = submit(jobs)
    jobs.close()
    with sqlite3.connect(path) as base:
        assert base.execute("SELECT id, status FROM jobs").fetchall() == [(job_id, QUEUED)]
