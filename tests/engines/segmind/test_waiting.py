"""Faults while a job runs: none orders a second job, and none loses the first."""

from __future__ import annotations

import itertools
import re

import pytest
from faulty_server import Answer

from liveportrait_v2v.engines.segmind.errors import DeadlineError

pytestmark = pytest.mark.slow


def status(state: object, code: int = 200, **more) -> Answer:
    return Answer(code, {"status": state, "request_id": "job-1", **more})


STORM = [Answer(code, b"<h1>busy</h1>") for code in (500, 502, 503, 504)] * 3
RECOVERED = {
    "storm of 5xx": {"status": STORM},
    "storm of 429": {"status": [Answer(429, headers={"Retry-After": "5"})] * 12},
    "resets": {"status": [Answer(reset=True)] * 3},
    "silence": {"status": [Answer(silent=True)]},
    "no JSON": {
        "status": [Answer(200, b"<html>"), Answer(200, b""), Answer(200, b"[]"), Answer(200, b"null")]
    },
    "50 MB": {"status": [Answer(200, b"[" + b" " * (50 << 20) + b"]")]},
    "compressed": {"status": [Answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})]},
    "unknown states": {"status": [status("THINKING"), status("paused"), status("QUEUED")]},
    "lower case": {"status": [status("queued"), status("processing"), status("completed")]},
    "missing states": {"status": [status(None), Answer(200, {}), status(17), status(["x"])]},
    "regressing": {
        "status": [status("PROCESSING"), status("QUEUED"), status("PROCESSING"), status("QUEUED")]
    },
    "404 at first": {"status": [Answer(404, {"error": "unknown"})] * 2},
    "404, and the history knows": {"status": [Answer(404, {"error": "expired"})] * 20},
    "result not there yet": {
        "result": [status("PROCESSING"), Answer(404), status("COMPLETED"), status("COMPLETED", output=None)]
    },
    "result never there, history has it": {"result": [status("COMPLETED")] * 10},
    "result storm": {"result": STORM},
}
FAILED = {
    "422 FAILED": (status("FAILED", 422, error="no face found"), '"no face found"'),
    "200 FAILED": (status("failed", error="no face found"), '"no face found"'),
    "null": (status("FAILED", 422, error=None), '"no reason given"'),
    "dict": (status("FAILED", 422, error={"message": "bad", "code": 3}), '"bad"'),
    "list": (status("FAILED", 422, error=["bad", {"detail": "worse"}]), '"bad; worse"'),
    "emoji": (status("FAILED", 422, error="no face 🙈"), '"no face 🙈"'),
    "ANSI": (status("FAILED", 422, error="\x1b[2J\x1b]0;title\x07bad\r\n"), '"bad"'),
    "10 MB": (status("FAILED", 422, error="x" * 10_000_000), "xxx…"),
    "blocked content": (status("FAILED", 422, error="RAI: blocked"), "RAI: blocked"),
}
STOPPED = {
    "key revoked": (Answer(401, {"error": "key revoked"}), "key revoked.*SEGMIND_API_KEY"),
    "forbidden": (Answer(403, {"error": "left the team"}), "left the team"),
    "422 without a state": (Answer(422, {"error": "odd id"}), "odd id"),
    "redirect": (Answer(302, b"", {"Location": "/login"}), "redirects .302."),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_a_temporary_fault_is_waited_out(bench, server, name):
    for route, answers in RECOVERED[name].items():
        server.script[route] = list(answers)
    outcome = bench.run()
    assert outcome.error is None, outcome.error
    assert (server.count("submit"), server.billed, bench.job.state) == (1, 1, "SAVED")


@pytest.mark.parametrize("route", ["status", "result"])
@pytest.mark.parametrize("name", FAILED)
def test_a_failed_job_quotes_the_servers_message_and_is_ordered_again_by_the_next_run(
    bench, server, name, route
):
    answer, message = FAILED[name]
    server.script[route] = [answer]
    outcome = bench.run()
    assert message in outcome.message
    assert "not billed" in outcome.message
    assert "job-1" in outcome.message
    assert len(outcome.message) < 700
    assert "\x1b" not in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "FAILED")
    assert bench.run().error is None
    assert [job.state for job in bench.jobs()] == ["SAVED", "FAILED"]


@pytest.mark.parametrize("name", STOPPED)
def test_a_permanent_fault_stops_the_run_and_keeps_the_job(bench, server, name):
    answer, message = STOPPED[name]
    server.always["status"] = answer
    outcome = bench.run()
    assert re.search(message, outcome.message), outcome.message
    assert (server.count("submit"), bench.job.state, bench.job.request_id) == (1, "SUBMITTED", "job-1")
    del server.always["status"]
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


@pytest.mark.parametrize("state", ["QUEUED", "PROCESSING", "whatever", None])
def test_the_deadline_ends_the_wait_and_names_the_job(bench, server, state):
    server.always["status"] = status(state)
    outcome = bench.run()
    assert isinstance(outcome.error, DeadlineError)
    assert outcome.error.request_id == "job-1"
    assert "no result after" in outcome.message
    assert "jobs fetch job-1" in outcome.message
    assert 890 < bench.clock.passed < 905
    assert (server.count("submit"), bench.job.state) == (1, "SUBMITTED")
    del server.always["status"]
    assert bench.run().error is None
    assert server.count("submit") == 1


def test_the_deadline_reports_the_last_problem(bench, server):
    server.always["status"] = Answer(503, b"<h1>Maintenance</h1>")
    outcome = bench.run()
    assert "(last problem: HTTP 503 Maintenance): job job-1 continues" in outcome.message
    assert (server.count("submit"), bench.job.state) == (1, "SUBMITTED")


def test_a_job_unknown_to_server_and_history_is_reported_and_not_ordered_again(bench, server):
    server.always["status"] = server.always["history"] = Answer(404, {"error": "unknown"})
    outcome = bench.run()
    assert "job-1" in outcome.message
    assert "neither does its history" in outcome.message
    assert "neither does its history" in bench.run().message
    assert (server.count("submit"), bench.job.state) == (1, "SUBMITTED")


def test_a_job_that_failed_between_runs_is_found_in_the_history(bench, server):
    server.always["status"] = Answer(404, {"error": "expired"})
    server.script["history"] = [
        Answer(200, {"request_id": "job-1", "model_status": "FAILED", "error": "no face"})
    ]
    outcome = bench.run()
    assert '"no face"' in outcome.message
    assert bench.job.state == "FAILED"


@pytest.mark.parametrize("day", [-86400.0, 86400.0])
def test_a_wall_clock_that_jumps_by_a_day_changes_nothing(bench, server, day):
    server.script["submit"] = [Answer(504, billed=True)]
    server.script["status"] = [
        Answer(200, {"status": "QUEUED"}, do=lambda: setattr(bench.clock, "jump", day))
    ]
    assert bench.run().error is None
    assert bench.clock.passed < 120
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


def test_polls_of_a_job_become_less_frequent(bench, server):
    moments = []
    server.always["status"] = Answer(
        200, {"status": "PROCESSING"}, do=lambda: moments.append(bench.clock.monotonic())
    )
    bench.run()
    waits = [after - before for before, after in itertools.pairwise(moments)]
    assert all(2 < wait < 13 for wait in waits)
    # Whatever the jitter: at most 1.2 x 3.9 s at first, at least 0.8 x 10 s at last.
    assert waits[0] < 6 < 7.9 < min(waits[-3:])
    assert server.count("status") < 120


def test_states_report_the_seconds_the_request_id_and_the_price(bench, server):
    outcome = bench.run()
    lines = [state.text for state in outcome.states]
    assert next(text for text in lines if text.startswith("PROCESSING")).endswith("job job-1")
    assert re.fullmatch(r"done, \d+ s, job job-1, 0.29 USD, 12.5 credits left", lines[-1])
    names = [state.state for state in outcome.states]
    assert list(dict.fromkeys(names)) == [
        *(
            "preparing the clips",
            "uploading",
            "ordering",
            "waiting",
            "QUEUED",
            "PROCESSING",
            "downloading",
            "done",
        )
    ]
    assert outcome.result.job["cost"] == 0.29
    assert outcome.result.job["remaining_credits"] == 12.5


def test_the_key_follows_no_redirect_of_a_poll(bench, server):
    server.script["status"] = [Answer(307, b"", {"Location": f"{server.files}/steal"})]
    assert "redirects" in bench.run().message
    assert server.count("file") == 0
