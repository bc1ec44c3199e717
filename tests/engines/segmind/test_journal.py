"""Journal of paid jobs: one order for the same inputs across runs and processes, and damaged journals."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faulty_server import PATIENCE_SECONDS, Answer
from segmind_clocks import HastyClock
from shades import make_clip

from liveportrait_v2v.cli import main
from liveportrait_v2v.engines.segmind import Journal, SpendingLimits, locks
from liveportrait_v2v.engines.segmind.errors import JournalError
from liveportrait_v2v.engines.segmind.journal import FAILED, SENDING, SUBMITTED
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
RUN = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from liveportrait_v2v.run import animate
from liveportrait_v2v.engines.segmind import SegmindEngine, Journal
from segmind_clocks import HastyClock

folder = Path({folder!r})
{kill}
engine = SegmindEngine(folder=folder / "data", key_folder=folder, base_url={base!r}, clock=HastyClock())
result = animate(folder / "source.mp4", folder / "driving.mp4", engine=engine, output=folder / {output!r})
print(result.job["request_id"])
"""
KILL = """
import os, signal
def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
def dying(function, when):
    def call(self, job, state, *arguments, **values):
        if when == "before " + state:
            die()
        done = function(self, job, state, *arguments, **values)
        # SENDING is not committed yet: it is part of `send`.
        if when == "after " + state != "after SENDING":
            die()
        return done
    return call
def sending(function):
    def call(self, job, payload, limits):
        done = function(self, job, payload, limits)
        if {when!r} == "after SENDING":
            die()
        return done
    return call
def beginning(function):
    def call(self, *arguments, **values):
        done = function(self, *arguments, **values)
        if {when!r} == "after INTENT":
            die()
        return done
    return call
Journal.advance = dying(Journal.advance, {when!r})
Journal.send = sending(Journal.send)
Journal.begin = beginning(Journal.begin)
"""


def script(bench, when: str = "", output: str = "out.mp4") -> list[str]:
    kill = KILL.format(when=when) if when else ""
    values = {"folder": str(bench.folder), "base": bench.server.api, "output": output, "kill": kill}
    return [sys.executable, "-c", RUN.format(tests=str(ROOT / "tests"), **values)]


def environment(bench) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("when", "orders"),
    [
        ("after INTENT", 1),
        ("after SENDING", 0),
        ("before SUBMITTED", 1),
        ("after SUBMITTED", 1),
        ("before COMPLETED", 1),
        ("after COMPLETED", 1),
        ("before SAVED", 1),
        ("after SAVED", 1),
    ],
)
def test_a_run_that_is_killed_leaves_a_journal_of_one_file_and_is_paid_for_once(bench, server, when, orders):
    killed = subprocess.run(script(bench, when), env=environment(bench), capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert not bench.output.exists()
    assert [path.name for path in (bench.folder / "data").glob("*jobs.sqlite*")] == ["jobs.sqlite"]

    outcome = bench.run()
    assert server.count("submit") == server.billed == orders
    if orders:
        assert outcome.error is None, outcome.error
        assert bench.job.state == "SAVED"
        assert bench.output.exists()
    else:
        # An order about to leave can't be told from one that has left.
        assert "may have been accepted and billed" in outcome.message
        assert bench.job.state == "AMBIGUOUS"


def test_two_processes_with_the_same_inputs_order_one_job(bench, server):
    gate = threading.Event()
    server.script["submit"] = [
        Answer(200, {"request_id": "job-1", "status": "QUEUED"}, wait=gate, billed=True)
    ]
    runs = [
        subprocess.Popen(
            script(bench, output=f"out{number}.mp4"),
            env=environment(bench),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    server.wait_for("submit")
    time.sleep(1)  # the other process may reach the point where it would order
    gate.set()
    ended = [run.communicate(timeout=PATIENCE_SECONDS) for run in runs]
    assert [out.strip() for out, _ in ended] == ["job-1"] * 2, ended
    assert (server.count("submit"), server.billed, bench.job.state) == (1, 1, "SAVED")


def test_sixteen_runs_at_once_with_the_same_inputs_order_one_job(bench, server):
    bench.clock, outcomes = HastyClock(), []
    threads = [
        threading.Thread(
            target=lambda number=number: outcomes.append(
                bench.run(given={"output": bench.folder / f"{number}.mp4"})
            )
        )
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(one.error) for one in outcomes if one.error] == []
    assert {one.result.job["request_id"] for one in outcomes} == {"job-1"}
    assert (server.count("submit"), server.count("file"), bench.job.state) == (1, 1, "SAVED")
    assert list((bench.folder / "data" / "locks").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(422, {"status": "FAILED", "error": "no face"}), "no face"),
        (Answer(504, b"", billed=True, listed=False), "may have been accepted"),
    ],
)
def test_runs_that_wait_for_another_share_its_failure(bench, server, monkeypatch, answer, message):
    waiting, take = set(), locks.take

    def watched(path: Path):
        taken = take(path)
        if taken is None:
            waiting.add(threading.get_ident())
        return taken

    monkeypatch.setattr(locks, "take", watched)
    server.always["status" if answer.status == 422 else "submit"] = answer
    bench.clock, gate, outcomes = HastyClock(), threading.Event(), []
    server.script["upload"] = [Answer(200, {"urls": [f"{server.files}/upload-1.mp4"]}, wait=gate)]
    threads = [threading.Thread(target=lambda: outcomes.append(bench.run())) for _ in range(4)]
    threads[0].start()
    server.wait_for("upload")
    for thread in threads[1:]:
        thread.start()
    end = time.monotonic() + PATIENCE_SECONDS / 2  # before the upload is given up
    while len(waiting) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    gate.set()
    for thread in threads:
        thread.join()
    assert all(message in one.message for one in outcomes), [one.message for one in outcomes]
    assert server.count("submit") == 1


def test_a_saved_result_is_used_again_and_nothing_is_sent(bench, server):
    first = bench.run()
    sent = len(server.requests)
    second = bench.run()
    assert second.error is None
    assert len(server.requests) == sent
    assert first.result.job == second.result.job


def test_another_seed_orders_a_new_job(bench, server):
    bench.run()
    assert bench.run(seed=7).error is None
    assert bench.run(seed=7).error is None
    assert server.billed == 2
    assert len(server.uploads) == 2


OTHER = {
    "settings": lambda bench: {"settings": AnimationSettings(scale=2.0)},
    "pairing": lambda bench: {"options": MotionOptions(pairing="frame")},
    "source": lambda bench: {"source": make_clip(bench.folder / "other.mp4", shade=9)},
    "swapped": lambda bench: {"source": bench.driving, "driving": bench.source},
}


@pytest.mark.parametrize("name", OTHER)
def test_other_inputs_order_a_new_job(bench, server, name):
    bench.run()
    assert bench.run(given=OTHER[name](bench)).error is None
    assert server.billed == 2


def test_the_same_content_under_another_name_is_the_same_job(bench, server):
    bench.run()
    renamed = bench.folder / "renamed.mp4"
    renamed.write_bytes(bench.source.read_bytes())
    assert bench.run(given={"source": renamed}).error is None
    assert server.billed == 1


def journal_file(bench) -> Path:
    bench.engine().journal().close()
    return bench.folder / "data" / "jobs.sqlite"


SPOILED = {
    "garbage": b"not a database at all, and long enough to be read" * 99,
    "empty": b"",
    "truncated": None,
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_journal_stops_before_anything_is_sent_and_stays_as_it_is(bench, server, name):
    path = journal_file(bench)
    path.write_bytes(path.read_bytes()[:5000] if SPOILED[name] is None else SPOILED[name])
    before = path.read_bytes()
    outcome = bench.run()
    assert isinstance(outcome.error, JournalError)
    assert "damaged" in outcome.message
    assert str(path) in outcome.message
    assert server.requests == []
    assert path.read_bytes() == before


def pages_of(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + 4096] for at in range(0, len(data), 4096)]


def test_a_journal_with_a_page_of_its_earlier_self_orders_nothing(bench, server):
    path = journal_file(bench)
    before = pages_of(path)
    bench.run()
    after = pages_of(path)
    changed = [number for number, page in enumerate(after) if page != before[number]]
    assert len(changed) > 2
    for number in changed:
        path.write_bytes(b"".join([*after[:number], before[number], *after[number + 1 :]]))
        bench.run()
        assert server.billed == 1, number
    path.write_bytes(b"".join(after))
    assert bench.run().error is None
    assert server.billed == 1


EDITS = {
    "deleted": "DELETE FROM jobs",
    "failed": "UPDATE jobs SET state = 'FAILED'",
    "payload": "UPDATE jobs SET payload = 'not json'",
    "unsealed": "DELETE FROM seal",
}


@pytest.mark.parametrize("name", EDITS)
def test_a_journal_that_was_edited_orders_nothing_and_its_jobs_are_still_fetched(bench, server, name):
    bench.run()
    path = bench.folder / "data" / "jobs.sqlite"
    base = sqlite3.connect(path)
    base.execute(EDITS[name])
    base.commit()
    base.close()
    for _ in range(2):
        outcome = bench.run(seed=3)
        assert isinstance(outcome.error, JournalError)
        assert "is not as it was written last" in outcome.message
    sent = server.count("upload")
    assert (server.billed, sent) == (1, 2)
    copy = bench.folder / "copy.mp4"
    job = bench.engine().fetch("job-1", copy)
    assert (job.state, copy.read_bytes()) == ("SAVED", server.video)
    # Fetching does not make it trusted again.
    assert isinstance(bench.run(seed=3).error, JournalError)


ODD = {
    "label": "CAST(x'fffe' AS TEXT)",
    "payload": "'[1, 2'",
    "url": "CAST(x'68747470733a2f2f782feda080' AS TEXT)",
    "created": "9e13",
    "changed": "'soon'",
    "cost": "'much'",
    "error": "x'00ff'",
}


@pytest.mark.parametrize("column", ODD)
def test_rows_edited_by_hand_are_read(bench, server, column):
    bench.run()
    path = bench.folder / "data" / "jobs.sqlite"
    base = sqlite3.connect(path)
    base.execute(f"UPDATE jobs SET {column} = {ODD[column]}")
    base.execute("UPDATE jobs SET state = 'COMPLETED', file = NULL")
    base.commit()
    base.close()
    folder = ["--folder", str(bench.folder / "data")]
    assert main(["jobs", *folder, "list"]) == 0
    assert main(["jobs", *folder, "show", "1"]) == 0
    copy = bench.folder / "copy.mp4"
    assert bench.engine().fetch("job-1", copy).state == "SAVED"
    assert copy.read_bytes() == server.video


def wal_journal(bench, lost: str = "") -> None:
    """Leave a journal of version 1 as a killed run did: in WAL mode, its rows beside it."""
    journal_file(bench)
    path = bench.folder / "data" / "jobs.sqlite"
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("DROP TABLE seal")
    base.execute("PRAGMA user_version = 1")
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA wal_autocheckpoint = 0")
    base.execute(
        "INSERT INTO jobs (hash, state, endpoint, label, created, changed) VALUES ('h', 'SENDING', 'e', 'l', 1, 1)"
    )
    files = {file.name: file.read_bytes() for file in path.parent.glob("jobs.sqlite*")}
    base.close()
    for name, data in files.items():
        if name != lost:
            (path.parent / name).write_bytes(data)


def test_a_journal_in_wal_mode_is_converted_with_its_rows(bench, server):
    wal_journal(bench)
    assert [job.state for job in bench.jobs()] == ["SENDING"]
    data = bench.folder / "data"
    assert [path.name for path in data.glob("jobs.sqlite*")] == ["jobs.sqlite"]
    assert bench.run().error is None
    assert server.billed == 1


def test_a_journal_whose_wal_is_lost_orders_nothing(bench, server):
    wal_journal(bench, lost="jobs.sqlite-wal")
    assert "is not as it was written last" in bench.run().message
    assert server.requests == []


def test_another_programs_database_is_not_taken_for_the_journal(bench, server):
    path = journal_file(bench)
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE jobs (id)")
    other.commit()
    other.close()
    assert "not a journal of this program" in bench.run().message
    assert server.requests == []


def test_a_locked_journal_stops_before_anything_is_sent(bench, server, monkeypatch):
    monkeypatch.setattr(Journal.__init__, "__defaults__", (0.2,))
    other = sqlite3.connect(journal_file(bench), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    outcome = bench.run()
    assert "locked" in outcome.message
    assert server.requests == []
    other.close()
    assert bench.run().error is None


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root writes everywhere")
def test_a_folder_that_can_not_be_written_stops_before_anything_is_sent(bench, server):
    (bench.folder / "data").mkdir(mode=0o500)
    assert "can't be written" in bench.run().message
    assert server.requests == []


def test_a_file_in_the_place_of_the_folder_stops_before_anything_is_sent(bench, server):
    (bench.folder / "data").write_text("")
    assert isinstance(bench.run().error, JournalError)
    assert server.requests == []


def test_a_journal_that_breaks_after_the_order_names_the_job(bench, server, monkeypatch):
    advance = Journal.advance

    def broken(self, job, state, **values):
        if state == SUBMITTED:
            raise JournalError("the disk is gone")
        return advance(self, job, state, **values)

    monkeypatch.setattr(Journal, "advance", broken)
    outcome = bench.run()
    assert "jobs fetch job-1" in outcome.message
    assert outcome.error.request_id == "job-1"
    monkeypatch.setattr(Journal, "advance", advance)
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


@pytest.mark.skipif(os.name == "nt", reason="no modes")
def test_journal_and_results_are_the_owners_alone(bench):
    bench.run()
    data = bench.folder / "data"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (data, data / "results", data / "jobs.sqlite")] == [
        0o700,
        0o700,
        0o600,
    ]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (SpendingLimits(run=0.1), "one job may cost at most 0.10 USD, and one costs about 0.28 USD"),
        (SpendingLimits(day=0.2), "at most 0.20 USD may be spent in 24 hours, 0.00 USD are"),
    ],
)
def test_a_limit_below_the_usual_price_orders_nothing(bench, server, limits, message):
    outcome = bench.run(limits=limits)
    assert message in outcome.message
    assert "nothing was ordered" in outcome.message
    assert (server.count("submit"), bench.job.state) == (0, FAILED)
    assert bench.run().error is None


def test_a_days_limit_counts_what_the_server_reported_and_ends_with_the_day(bench, server):
    limits = SpendingLimits(day=0.8)
    assert [bench.run(seed=seed, limits=limits).error for seed in (0, 1)] == [None, None]
    outcome = bench.run(seed=2, limits=limits)
    assert "0.58 USD are" in outcome.message
    assert "about 0.29 USD" in outcome.message
    assert server.billed == 2
    bench.clock.jump += 24 * 3600
    assert bench.run(seed=2, limits=limits).error is None


def test_an_order_that_is_on_its_way_counts_for_the_limit(tmp_path):
    journal = Journal(tmp_path, time.time)
    first, second = (journal.begin(name, "https://api.example", name) for name in ("a", "b"))
    assert journal.send(first, {"n": 1}, SpendingLimits(day=0.5)).state == SENDING
    with pytest.raises(Exception, match=r"0.28 USD are"):
        journal.send(second, {"n": 2}, SpendingLimits(day=0.5))


def test_the_price_at_another_server_does_not_count_here(tmp_path):
    journal = Journal(tmp_path, time.time)
    own = journal.begin("a", "http://127.0.0.1:8189", "a")
    journal.advance(own, SUBMITTED, cost=0.0)
    assert journal.expected_cost("http://127.0.0.1:8189") == 0.0
    assert journal.expected_cost("https://api.segmind.com") == 0.28


def test_a_forgotten_job_is_ordered_again_and_its_cost_still_counts(bench, server):
    bench.run()
    journal = bench.engine().journal()
    file = Path(bench.job.file)
    journal.forget(bench.job)
    assert not file.exists()
    assert journal.spent(86400) == pytest.approx(0.29)
    journal.close()
    assert bench.run().error is None
    assert server.billed == 2


def test_a_job_under_way_is_not_forgotten(tmp_path):
    journal = Journal(tmp_path, time.time)
    job = journal.begin("a", "https://api.example", "a")
    lock = locks.take(journal.lock_path("a"))
    with pytest.raises(JournalError, match="under way"):
        journal.forget(job)
    locks.release(lock)
    assert journal.forget(job).state == "FORGOTTEN"
