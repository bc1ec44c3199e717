"""Jobs in PostgreSQL: attempts, silent workers, cancellation, priorities, and the schema's versions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import clusters
import pytest

from liveportrait_v2v.cli import main
from liveportrait_v2v.deadlines import Clock
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.server.config import ClusterConfig
from liveportrait_v2v.server.jobs import (
    COMPLETED,
    FAILED,
    MAX_ATTEMPTS,
    PROCESSING,
    QUEUED,
    HistoryQuery,
    Job,
    QueueFull,
    StoreError,
)

pytestmark = pytest.mark.cluster
if reason := clusters.missing():
    pytest.skip(reason, allow_module_level=True)

from liveportrait_v2v.server.cluster import database as schema  # noqa: E402
from liveportrait_v2v.server.cluster import jobs as cluster_jobs  # noqa: E402
from liveportrait_v2v.server.cluster.database import Database  # noqa: E402
from liveportrait_v2v.server.cluster.jobs import PostgresJobs, cancel  # noqa: E402
from liveportrait_v2v.server.cluster.status import read_status, status_lines  # noqa: E402

SILENT = 0.0  # seconds: every worker counts as silent


class Queue:
    """Job store with workers that take its entries as Procrastinate's would."""

    def __init__(self, url: str):
        self.url = url
        self.database = Database(url)
        self.jobs = self.server()

    def server(self, **values) -> PostgresJobs:
        """Return the store of one more server."""
        values = {"capacity": 5, "queue": "draft", "priority": 0, "clock": Clock(), **values}
        return PostgresJobs(self.database, **values)

    def submit(self, jobs: PostgresJobs | None = None, number: int = 0) -> str:
        return (jobs or self.jobs).submit("model", {"n": number}, "a.mp4", "b.mp4", {"dsize": 64}).id

    def worker(self, name: str = "w", *queues: str) -> int:
        with self.database.transaction() as base:
            number = base.execute(
                "SELECT worker_id AS id FROM procrastinate_register_worker_v1()"
            ).fetchone()["id"]
            base.execute(
                "INSERT INTO workers VALUES (%s, %s, %s)", [number, name, list(queues or ("draft",))]
            )
        return number

    def fetch(self, worker: int) -> tuple[str, int] | None:
        """Take the next entry; return the job's id and the entry."""
        with self.database.transaction() as base:
            row = base.execute(
                "SELECT id, args FROM procrastinate_fetch_job_v2("
                "(SELECT queues::varchar[] FROM workers WHERE id = %s), %s)",
                [worker, worker],
            ).fetchone()
        return None if row["id"] is None else (row["args"]["job_id"], row["id"])

    def take(self, worker: int) -> Job | None:
        fetched = self.fetch(worker)
        return None if fetched is None else self.jobs.begin(*fetched, worker)

    def rows(self, query: str) -> list[tuple]:
        with self.database.transaction() as base:
            return [tuple(row.values()) for row in base.execute(query.encode()).fetchall()]

    def entries(self) -> list[tuple]:
        return self.rows("SELECT id, status FROM procrastinate_jobs ORDER BY id")


@pytest.fixture
def queue(postgres) -> Iterator[Queue]:
    url = postgres.new_database()
    queue = Queue(url)
    yield queue
    queue.database.close()
    postgres.take_back(url)


def test_a_job_goes_through_its_states_and_its_entry_ends_with_it(queue):
    job_id = queue.submit(number=7)
    waiting = queue.jobs.get(job_id)
    assert (waiting.status, waiting.attempt, waiting.request, waiting.settings) == (
        QUEUED,
        0,
        {"n": 7},
        {"dsize": 64},
    )
    job = queue.take(queue.worker())
    assert (job.id, job.status, job.attempt) == (job_id, PROCESSING, 1)
    assert queue.jobs.finish(job, output="c.mp4")
    done = queue.jobs.get(job_id)
    assert (done.status, done.output) == (COMPLETED, "c.mp4")
    assert queue.entries() == []


def test_calls_whose_answers_were_lost_may_be_repeated(queue):
    queue.submit()
    worker = queue.worker()
    fetched = queue.fetch(worker)
    queue.jobs.begin(*fetched, worker)
    job = queue.jobs.begin(*fetched, worker)
    assert job.status == PROCESSING
    assert queue.jobs.finish(job, output="c.mp4")
    assert queue.jobs.finish(job, output="c.mp4")
    assert not queue.jobs.finish(job, output="d.mp4")
    assert queue.jobs.get(job.id).output == "c.mp4"


def test_a_submit_that_fails_leaves_neither_row_nor_entry(queue, monkeypatch):
    def enter(self, base, *how):
        base.execute("SELECT 1 / 0")

    monkeypatch.setattr(PostgresJobs, "_enter", enter)
    with pytest.raises(StoreError, match="division by zero"):
        queue.submit()
    assert queue.rows("SELECT id FROM jobs") == queue.entries() == []


def test_jobs_come_in_order_of_priority_then_of_arrival(queue):
    urgent = queue.server(priority=10)
    ids = [queue.submit(), queue.submit(), queue.submit(urgent), queue.submit(urgent)]
    worker = queue.worker()
    taken = []
    while job := queue.take(worker):
        taken.append(job.id)
        queue.jobs.finish(job, error="x")
    assert taken == [ids[2], ids[3], ids[0], ids[1]]


def test_a_labelled_job_waits_for_a_worker_with_its_label_which_takes_others_too(queue):
    labelled = queue.submit(queue.server(queue="draft-24g"))
    plain = queue.submit()
    small, large = queue.worker("small", "draft"), queue.worker("large", "draft", "draft-24g")
    assert queue.take(small).id == plain
    assert queue.take(small) is None
    assert queue.take(large).id == labelled


def test_the_longest_label_is_one_that_postgresql_can_announce(queue):
    label = "a" * 24
    config = ClusterConfig(queue.url, "s3://b/p", labels=(label,))
    job_id = queue.submit(queue.server(queue=config.queues("liveportrait")[-1]))
    assert queue.take(queue.worker("w", *config.queues("liveportrait"))).id == job_id
    with pytest.raises(SettingsError, match="--label"):
        replace(config, labels=(label + "a",))


@pytest.mark.parametrize("replaced", ["waits", "runs again", "is done"])
def test_an_attempt_that_was_replaced_changes_nothing(queue, replaced):
    job_id = queue.submit()
    first = queue.take(queue.worker())
    assert queue.jobs.recover(SILENT) == 1
    if replaced != "waits":
        second = queue.take(queue.worker())
        assert (second.id, second.attempt) == (job_id, 2)
    if replaced == "is done":
        queue.jobs.finish(second, output="second.mp4")
    before = queue.jobs.get(job_id), queue.entries()
    assert not queue.jobs.finish(first, output="first.mp4")
    assert not queue.jobs.finish(first, error="first")
    assert not queue.jobs.set_progress(first, 0.5)
    queue.jobs.requeue(first)
    queue.jobs.lose(first)
    assert (queue.jobs.get(job_id), queue.entries()) == before


def test_a_job_whose_workers_fall_silent_three_times_has_failed_with_a_reason(queue):
    job_id = queue.submit()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert queue.take(queue.worker()).attempt == attempt
        queue.jobs.recover(SILENT)
    job = queue.jobs.get(job_id)
    assert (job.status, job.error) == (FAILED, "the worker ended 3 times during this job")
    assert queue.entries() == []


def test_a_job_of_a_worker_with_a_heartbeat_is_left_alone(queue):
    job_id = queue.submit()
    queue.take(queue.worker())
    with queue.database.transaction() as base:
        base.execute("UPDATE procrastinate_workers SET last_heartbeat = now() + interval '1 hour'")
    assert queue.jobs.recover(SILENT) == 0
    assert queue.jobs.get(job_id).status == PROCESSING


def test_soon_after_a_start_of_the_database_nobody_counts_as_silent(queue):
    job_id = queue.submit()
    queue.take(queue.worker())
    with queue.database.transaction() as base:
        base.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 day'")
    assert queue.jobs.recover(20 * 3600) == 0
    assert queue.jobs.get(job_id).status == PROCESSING


def test_a_handed_over_job_keeps_its_place_and_its_attempts(queue):
    ids = [queue.submit(), queue.submit()]
    worker = queue.worker()
    for number in range(MAX_ATTEMPTS + 1):
        job = queue.take(worker)
        assert (job.id, job.attempt) == (ids[0], number + 1)
        queue.jobs.requeue(job)
    assert queue.rows("SELECT lost FROM jobs") == [(0,), (0,)]


def test_an_entry_whose_worker_ended_before_it_began_waits_again_and_counts_no_attempt(queue):
    job_id = queue.submit()
    queue.fetch(queue.worker())
    assert queue.jobs.recover(SILENT) == 1
    assert queue.rows("SELECT lost FROM jobs") == [(0,)]
    assert queue.take(queue.worker()).id == job_id


def test_an_entry_that_was_delivered_with_a_lost_answer_is_given_back_by_its_own_worker(queue):
    queue.submit()
    worker = queue.worker()
    fetched = queue.fetch(worker)
    assert queue.fetch(worker) is None
    queue.jobs.release(worker)
    assert queue.fetch(worker) == fetched


def test_an_entry_that_is_delivered_twice_is_computed_once(queue):
    job_id = queue.submit()
    first, second = queue.worker(), queue.worker()
    job = queue.take(first)
    with queue.database.transaction() as base:
        base.execute(
            "SELECT procrastinate_retry_job_v2((SELECT id FROM procrastinate_jobs), NULL, NULL, NULL, NULL)"
        )
    assert queue.take(second) is None
    assert queue.jobs.get(job_id).attempt == 1
    assert queue.jobs.finish(job, output="c.mp4")
    assert queue.entries() == []


def test_a_job_that_was_delivered_twice_is_not_lost_with_its_worker(queue):
    job_id = queue.submit()
    queue.take(queue.worker())
    with queue.database.transaction() as base:
        base.execute(
            "SELECT procrastinate_retry_job_v2((SELECT id FROM procrastinate_jobs), NULL, NULL, NULL, NULL)"
        )
    queue.take(queue.worker())
    queue.jobs.recover(SILENT)
    assert queue.take(queue.worker()).id == job_id


def test_a_machine_that_freezes_in_a_transaction_keeps_nothing_from_the_others_for_long(queue, monkeypatch):
    options = schema.OPTIONS["options"].replace("session_timeout=5s", "session_timeout=300ms")
    job_id = queue.submit()
    queue.take(queue.worker())
    monkeypatch.setitem(schema.OPTIONS, "options", options)
    frozen = Database(queue.url)
    with pytest.raises(StoreError), frozen.transaction() as base:
        base.execute("SELECT pg_advisory_xact_lock(%s), id FROM jobs FOR UPDATE", [cluster_jobs._SUBMIT_LOCK])
        assert queue.jobs.recover(SILENT) == 0
        queue.submit()
        assert queue.jobs.recover(SILENT) == 1
    frozen.close()
    assert queue.jobs.get(job_id).status == QUEUED


def test_sweepers_at_once_give_a_job_away_once(queue):
    ids = [queue.submit() for _ in range(5)]
    worker = queue.worker()
    for _ in ids:
        queue.take(worker)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: queue.jobs.recover(SILENT), range(8)))
    assert sum(counts) == 5
    assert queue.rows("SELECT DISTINCT lost FROM jobs") == [(1,)]


def test_the_capacity_holds_over_servers_that_submit_at_once(queue):
    servers = [queue.server(capacity=20), queue.server(capacity=20)]
    refused = []

    def submit(number: int) -> None:
        try:
            queue.submit(servers[number % 2])
        except QueueFull:
            refused.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, range(40)))
    assert len(refused) == 20
    assert queue.rows("SELECT count(*) FROM jobs") == [(20,)]


def test_workers_that_take_at_once_get_different_jobs(queue):
    jobs = queue.server(capacity=100)
    ids = {queue.submit(jobs) for _ in range(40)}
    taken: list[str] = []

    def take() -> None:
        worker = queue.worker()
        while job := queue.take(worker):
            taken.append(job.id)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 40
    assert set(taken) == ids


@pytest.mark.parametrize("state", ["waiting", "delivered", "running", "finished"])
def test_a_job_is_cancelled_unless_it_is_finished(queue, state):
    job_id, other = queue.submit(), queue.submit()
    worker = queue.worker()
    if state == "delivered":
        fetched = queue.fetch(worker)
    elif state != "waiting":
        job = queue.take(worker)
    if state == "finished":
        queue.jobs.finish(job, output="c.mp4")
    now = cancel(queue.database, job_id)
    assert now == queue.jobs.get(job_id)
    if state == "finished":
        assert now.status == COMPLETED
        return
    assert (now.status, now.error) == (FAILED, "the job was cancelled")
    if state == "delivered":
        assert queue.jobs.begin(*fetched, worker) is None
    if state == "running":
        assert not queue.jobs.finish(job, output="c.mp4")
    assert [status for _, status in queue.entries()] == ["todo"]
    assert queue.take(worker).id == other


def test_the_entry_of_a_cancelled_job_goes_though_its_worker_has_ended(queue):
    job_id = queue.submit()
    queue.take(queue.worker())
    cancel(queue.database, job_id)
    queue.jobs.recover(SILENT)
    assert queue.entries() == []


@pytest.mark.parametrize("job_id", ["none", "0" * 32, "a\0b", "\ud800", "../x"])
def test_there_is_no_job_of_another_id(queue, job_id):
    assert queue.jobs.get(job_id) is None
    assert cancel(queue.database, job_id) is None


def test_text_that_postgresql_refuses_is_stored_readably(queue):
    job_id = queue.submit()
    queue.jobs.finish(queue.take(queue.worker()), error="a\0b\ud800c")
    assert queue.jobs.get(job_id).error == "a\ufffdb?c"
    assert queue.jobs.history(HistoryQuery(0, 1e12, model="a\0\ud800"))[0] == 0


def test_the_history_counts_all_and_gives_a_page_and_forgets(queue):
    ids = [queue.submit() for _ in range(5)]
    everything = HistoryQuery(0, 1e12)
    assert [job.id for job in queue.jobs.history(everything)[1]] == ids[::-1]
    page = HistoryQuery(0, 1e12, oldest_first=True, offset=2, limit=2)
    assert (queue.jobs.history(page)[0], [job.id for job in queue.jobs.history(page)[1]]) == (5, ids[2:4])
    assert queue.jobs.history(HistoryQuery(0, 1e12, model="ode"))[0] == 5
    assert queue.jobs.history(HistoryQuery(0, 1e12, model="%"))[0] == 0
    assert queue.jobs.history(HistoryQuery(0, 1e12, statuses=(FAILED,)))[0] == 0
    queue.jobs.finish(queue.take(queue.worker()), error="x")
    queue.jobs.forget(1e12)
    assert [job.id for job in queue.jobs.history(everything)[1]] == ids[:0:-1]


def test_the_status_has_queues_workers_progress_and_what_is_stalled(queue):
    for _ in range(3):
        queue.submit()
    queue.submit(queue.server(queue="draft-24g"))
    job = queue.take(queue.worker("gpu-1:10:0"))
    queue.jobs.set_progress(job, 0.25)
    gone = queue.worker("gpu-2:11:0")
    lost = queue.take(gone)
    with queue.database.transaction() as base:
        base.execute("DELETE FROM procrastinate_workers WHERE id = %s", [gone])
    status = read_status(queue.database)
    assert [(one.name, one.waiting, one.running, one.workers) for one in status.queues] == [
        ("draft", 1, 2, 1),
        ("draft-24g", 1, 0, 0),
    ]
    assert [(one.name, one.job, one.progress) for one in status.workers] == [("gpu-1:10:0", job.id, 0.25)]
    assert status.stalled == (lost.id,)
    text = "\n".join(status_lines(status))
    assert "no worker takes the jobs of draft-24g" in text
    assert "25%" in text
    assert lost.id in text


def test_without_tables_or_with_those_of_another_version_a_server_says_what_to_run(postgres, monkeypatch):
    database = Database(postgres.new_database(migrated=False))
    with pytest.raises(SettingsError, match="--migrate"):
        database.check_version()
    assert "now of version 1" in database.migrate()
    assert "already" in database.migrate()
    database.check_version()
    monkeypatch.setattr(
        schema, "_MIGRATIONS", (*schema._MIGRATIONS, "ALTER TABLE jobs ADD COLUMN colour text")
    )
    with pytest.raises(SettingsError, match=r"older version .1, .*--migrate"):
        database.check_version()
    assert "now of version 2" in database.migrate()
    with database.transaction() as base:
        base.execute("SELECT colour FROM jobs")
    monkeypatch.undo()
    for refuse in (database.check_version, database.migrate):
        with pytest.raises(SettingsError, match="this program"):
            refuse()
    database.close()


def test_servers_that_migrate_at_once_do_it_once(postgres):
    url = postgres.new_database(migrated=False)

    def migrate(_: int) -> str:
        database = Database(url)
        try:
            return database.migrate()
        finally:
            database.close()

    with ThreadPoolExecutor(3) as pool:
        assert sorted("already" in said for said in pool.map(migrate, range(3))) == [False, True, True]


def test_other_tables_of_procrastinate_in_the_same_database_are_left_alone(postgres):
    from procrastinate.schema import SchemaManager

    url = postgres.new_database(migrated=False)
    postgres.execute(url.rsplit("/", 1)[1], SchemaManager.get_schema())
    database = Database(url)
    database.migrate()
    database.check_version()
    database.close()
    assert postgres.execute(url.rsplit("/", 1)[1], "SELECT count(*) FROM public.procrastinate_jobs") == [(0,)]


def test_the_command_migrates_shows_and_cancels(postgres, capsys):
    url = postgres.new_database(migrated=False)
    assert main(["serve", "status", "--database", url]) == 2
    assert "--migrate" in capsys.readouterr().err
    assert main(["serve", "--database", url, "--migrate"]) == 0
    assert "now of version" in capsys.readouterr().out
    queue = Queue(url)
    job_id = queue.submit()
    assert main(["serve", "status", "--database", url]) == 0
    assert "no worker takes the jobs of draft" in capsys.readouterr().out
    assert main(["serve", "cancel", "--database", url, "--job", job_id]) == 0
    assert capsys.readouterr().out == f"job {job_id}: FAILED, the job was cancelled\n"
    assert main(["serve", "cancel", "--database", url, "--job", "0" * 32]) == 2
    assert main(["serve", "cancel", "--database", url]) == 2
    queue.database.close()


REFUSED = {
    "a database without files": (["--database", "postgresql://h/d"], "s3://BUCKET/PREFIX"),
    "a local directory": (["--database", "postgresql://h/d", "--files", "/tmp/x"], "--shared-files"),
    "files without a database": (["--files", "s3://b/p"], "--files: only with --database"),
    "a role without a database": (["--role", "worker"], "--role: only with --database"),
    "status without a database": (["status"], "status and cancel: only with --database"),
    "a job without a database": (["--job", "0" * 32], "--job: only with --database"),
    "an unknown role": (
        ["--database", "postgresql://h/d", "--files", "s3://b/p", "--role", "boss"],
        "--role must be",
    ),
    "a wrong label": (
        ["--database", "postgresql://h/d", "--files", "s3://b/p", "--label", "A b"],
        "--label must be",
    ),
    "a malformed URL": (["--database", "nonsense", "--migrate"], "--database must be"),
    "a database that is away": (
        ["--database", "postgresql://127.0.0.1:1/d", "--migrate"],
        "refused",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(name, tmp_path, capsys):
    options, message = REFUSED[name]
    assert main(["serve", "--data", str(tmp_path / "data"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_password_in_the_url_is_in_no_message(capsys, tmp_path):
    url = "postgresql://user:very-secret-word@127.0.0.1:1/d"
    assert main(["serve", "--database", url, "--files", "s3://b/p", "--data", str(tmp_path)]) == 2
    assert "very-secret-word" not in capsys.readouterr().err
