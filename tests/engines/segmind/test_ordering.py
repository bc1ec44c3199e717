"""Faults while a job is ordered: requests that are and are never repeated, and messages to the user."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import httpx
import pytest
from faulty_server import Answer

from liveportrait_v2v.settings import AnimationSettings, MotionOptions

pytestmark = pytest.mark.slow

HTML = b"<html><head><style>p {}</style></head><body><h1>Not allowed</h1></body></html>"


@dataclass
class Case:
    """Answers to `submit`, and the expected outcome."""

    answers: list[Answer]
    posts: int
    billed: int
    state: str
    message: str | None = None
    absent: str = "\x1b"


def ok(**options) -> Answer:
    body = {"request_id": "job-1", "status": "QUEUED", "status_url": "x", "response_url": "x"}
    return Answer(200, {**body, **options}, billed=True)


def limited(**headers: str) -> list[Answer]:
    names = {"after": "Retry-After", "reset": "x-rate-limit-reset-at-utc"}
    return [Answer(429, {"error": "slow down"}, {names[name]: text for name, text in headers.items()})]


MAYBE = "may have been accepted and billed"
REFUSED = {
    "400": Case(
        [Answer(400, {"error": "dsize is odd"})], 1, 0, "FAILED", 'HTTP 400: "dsize is odd"; check the set'
    ),
    "401 missing": Case(
        [Answer(401, {"error": "API key missing"})], 1, 0, "FAILED", "API key missing.*key set"
    ),
    "401 invalid": Case([Answer(401, {"message": "bad key"})], 1, 0, "FAILED", "bad key.*SEGMIND_API_KEY"),
    "403": Case(
        [Answer(403, {"detail": "not your team"})], 1, 0, "FAILED", "not your team.*owner of its team"
    ),
    "404 slug": Case(
        [Answer(404, {"error": "no such model"})], 1, 0, "FAILED", "no such model.*SEGMIND_BASE_URL"
    ),
    "405 HTML": Case([Answer(405, HTML)], 1, 0, "FAILED", 'HTTP 405: "Not allowed"', "<"),
    "406 credits": Case([Answer(406, {"error": "Insufficient credits"})], 1, 0, "FAILED", "buy credits"),
    "406 type": Case(
        [Answer(406, {"error": "Wrong Content-Type"})],
        1,
        0,
        "FAILED",
        "Wrong Content-Type.*the server's message",
    ),
    "406 value": Case(
        [Answer(406, {"error": {"message": "scale"}})], 1, 0, "FAILED", '"scale".*a value was rejected'
    ),
    "422 validation": Case(
        [Answer(422, {"detail": [{"msg": "scale too small"}]})], 1, 0, "FAILED", 'HTTP 422: "scale too small"'
    ),
    "ANSI": Case([Answer(400, {"error": "\x1b[31mred\x07\u202e"})], 1, 0, "FAILED", '"red"'),
    "10 MB of error": Case([Answer(400, {"error": "x" * 10_000_000})], 1, 0, "FAILED", "xxx…", "x" * 500),
    "429 for good": Case(
        [Answer(429, {"error": "slow down"})] * 20,
        10,
        0,
        "FAILED",
        'HTTP 429: "slow down"; too many requests',
    ),
    "redirect": Case(
        [Answer(307, b"", {"Location": "/v2/elsewhere"})], 1, 0, "FAILED", "follows no redirect"
    ),
}
RETRIED = {
    "429 bare": Case(limited(), 2, 1, "SAVED"),
    "429 past": Case(limited(reset="2001-01-01T00:00:00Z"), 2, 1, "SAVED"),
    "429 far future": Case(limited(reset="2999-01-01T00:00:00Z"), 2, 1, "SAVED"),
    "429 garbage": Case(limited(reset="soon", after="NaN"), 2, 1, "SAVED"),
    "429 seconds": Case(limited(after="7"), 2, 1, "SAVED"),
    "429 three times": Case(limited() * 3, 4, 1, "SAVED"),
}
UNCLEAR = {
    "silence, accepted": Answer(silent=True, billed=True),
    "reset, accepted": Answer(reset=True, billed=True),
    "502, accepted": Answer(502, HTML, billed=True),
    "504, accepted": Answer(504, b"", billed=True),
    "500 with JSON, accepted": Answer(500, {"error": "boom"}, billed=True),
    "no JSON": Answer(200, b"thanks", billed=True),
    "empty": Answer(200, b"", billed=True),
    "list": Answer(200, [], billed=True),
    "null": Answer(200, b"null", billed=True),
    "NaN": Answer(200, b'{"request_id": "job-1", "cost": NaN}', billed=True),
    "50 MB": Answer(200, b'{"request_id": "job-1"' + b" " * (50 << 20) + b"}", billed=True),
    "no id": Answer(200, {"status": "QUEUED"}, billed=True),
    "id with a path": Answer(200, {"request_id": "../x"}, billed=True),
    "unicode id": Answer(200, {"request_id": "jöb"}, billed=True),
    "integer id": Answer(200, {"request_id": 17}, billed=True),
    "said to be compressed": Answer(200, {"request_id": "job-1"}, {"Content-Encoding": "gzip"}, billed=True),
    "truncated": Answer(200, {"request_id": "job-1"}, cut=4, billed=True),
    "slow head": Answer(200, {"request_id": "job-1"}, wait=None, drip_head=1.5, billed=True),
}


def check(bench, case: Case) -> None:
    bench.server.script["submit"] = list(case.answers)
    outcome = bench.run()
    assert (bench.server.count("submit"), bench.server.billed) == (case.posts, case.billed)
    assert bench.job.state == case.state
    if case.message is None:
        assert outcome.error is None, outcome.error
    else:
        assert re.search(case.message, outcome.message), outcome.message
        assert case.absent not in outcome.message


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_order_is_not_sent_again_and_quotes_the_servers_message(bench, name):
    check(bench, REFUSED[name])
    assert not bench.output.exists()


@pytest.mark.parametrize("name", RETRIED)
def test_a_limited_rate_is_waited_for(bench, name):
    check(bench, RETRIED[name])
    assert bench.clock.passed < 300


@pytest.mark.parametrize("name", UNCLEAR)
def test_an_unclear_order_is_found_in_the_history_and_not_sent_again(bench, server, name):
    server.script["submit"] = [UNCLEAR[name]]
    outcome = bench.run()
    assert outcome.error is None, outcome.error
    assert (server.count("submit"), server.billed, bench.job.state) == (1, 1, "SAVED")
    assert bench.job.request_id == "job-1"


@pytest.mark.parametrize("name", UNCLEAR)
def test_an_unclear_order_missing_from_the_history_stops_the_run_and_may_have_been_billed(
    bench, server, name
):
    answer = Answer(**{**vars(UNCLEAR[name]), "listed": False})
    server.script["submit"] = [answer]
    outcome = bench.run()
    assert MAYBE in outcome.message
    assert "jobs forget" in outcome.message
    assert (server.count("submit"), server.billed, bench.job.state) == (1, 1, "AMBIGUOUS")

    again = bench.run()
    assert MAYBE in again.message
    assert server.count("submit") == 1

    server.unlisted.clear()
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


def test_an_unclear_order_is_not_taken_for_another_job_of_the_same_inputs(bench, server):
    assert bench.run().error is None
    server.script["submit"] = [Answer(silent=True)]
    outcome = bench.run(seed=1)
    assert MAYBE in outcome.message
    assert [job.state for job in bench.jobs()] == ["AMBIGUOUS", "SAVED"]


def test_an_unclear_order_is_not_taken_for_a_job_of_other_settings_or_a_failed_one(bench, server):
    server.jobs["other"] = {"input_video": "https://elsewhere.example/a.mp4"}
    server.script["submit"] = [Answer(silent=True, billed=True)]
    server.always["find"] = Answer(200, {"data": [{"request_id": "other", "request_body": {}}]})
    assert MAYBE in bench.run().message
    elsewhere = {**server.jobs["job-2"], "scale": 3.0}
    server.always["find"] = Answer(200, {"data": [server.entry("job-2", request_body=elsewhere)]})
    assert MAYBE in bench.run().message
    found = server.entry("job-2", model_status="FAILED", generation_url=None)
    server.always["find"] = Answer(200, [found])
    assert MAYBE in bench.run().message
    lean = {name: server.jobs["job-2"][name] for name in ("input_video", "driving_video")}
    server.always["find"] = Answer(200, {"result": {"requests": [server.entry("job-2", request_body=lean)]}})
    assert bench.run().error is None
    assert server.count("submit") == 1


@pytest.mark.parametrize(
    "answer", [Answer(500, {"error": "no"}), Answer(401, {"error": "no"}), Answer(200, b"{")]
)
def test_a_history_that_can_not_be_read_leaves_the_order_unclear(bench, server, answer):
    server.script["submit"] = [Answer(504, billed=True)]
    server.always["find"] = answer
    assert MAYBE in bench.run().message
    assert (server.count("submit"), bench.job.state) == (1, "AMBIGUOUS")


def test_an_unreachable_server_is_retried_and_then_reported(bench, server):
    gone = bench.run(base_url="http://127.0.0.1:9")
    assert "127.0.0.1" in gone.message
    assert server.requests == []
    assert bench.job.state == "FAILED"
    assert bench.run(base_url="http://127.0.0.1:9", given={"source": bench.driving}).error is not None


class RefusingTransport(httpx.AsyncHTTPTransport):
    """Transport that refuses the connection of the first orders through v2."""

    def __init__(self, reason: str, limit: float = math.inf):
        super().__init__()
        self.reason, self.limit = reason, limit
        self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and "/v2/" in str(request.url) and self.refused < self.limit:
            self.refused += 1
            raise httpx.ConnectError(self.reason)
        return await super().handle_async_request(request)


def test_an_order_that_never_left_is_sent_again(bench, server):
    transport = RefusingTransport("connection refused", limit=2)
    assert bench.run(transport=transport).error is None
    assert (transport.refused, server.count("submit"), bench.job.state) == (2, 1, "SAVED")


def test_an_order_that_can_not_leave_costs_nothing_and_the_error_says_so(bench, server):
    outcome = bench.run(transport=RefusingTransport("certificate verify failed"))
    assert "certificate verify failed" in outcome.message
    assert "nothing was ordered" in outcome.message
    assert (server.count("submit"), bench.job.state) == (0, "FAILED")


def test_a_status_url_on_another_host_is_never_asked(bench, server):
    server.script["submit"] = [
        ok(status_url=f"{server.files}/status", response_url=f"{server.files}/r", poll_url="x")
    ]
    assert bench.run().error is None
    assert {request.path for request in server.requests if request.origin == "files"} == {"/result.mp4"}


def test_a_server_that_repeats_the_key_is_not_quoted_with_it(bench, server):
    server.script["submit"] = [Answer(401, {"error": f"key {bench.key} is unknown"})]
    outcome = bench.run()
    assert "key [key] is unknown" in outcome.message


def test_settings_go_out_with_their_documented_names_and_types(bench, server):
    assert bench.run(given={"settings": AnimationSettings(scale=2, lip_zero=False)}).error is None
    (payload,) = server.jobs.values()
    uploaded = {
        "input_video": f"{server.files}/upload-1.mp4",
        "driving_video": f"{server.files}/upload-2.mp4",
    }
    settings = AnimationSettings(scale=2, lip_zero=False, video_frame_load_cap=6).to_dict()
    assert payload == {**uploaded, **settings}
    assert [type(value) for value in payload.values()] == [
        type(value) for value in {**uploaded, **settings}.values()
    ]
    assert payload["base64"] is False


def test_settings_are_checked_before_anything_is_uploaded(bench, server):
    outcome = bench.run(given={"options": MotionOptions(region="lip")})
    assert "region must be 'all' for the segmind engine, got 'lip'" in outcome.message
    assert server.requests == []
    assert not (bench.folder / "data").exists()


def test_v1_saves_what_its_one_request_brings(bench, server):
    outcome = bench.run(version="v1")
    assert outcome.error is None, outcome.error
    assert (server.count("v1"), server.count("submit"), bench.job.state) == (1, 0, "SAVED")
    assert (bench.job.cost, bench.job.remaining, bench.job.request_id) == (0.31, 9.5, "job-1")


@pytest.mark.parametrize("answer", [Answer(reset=True, billed=True), Answer(504, b"", billed=True)])
def test_v1_that_breaks_is_found_in_the_history(bench, server, answer):
    server.script["v1"] = [answer]
    outcome = bench.run(version="v1")
    assert outcome.error is None, outcome.error
    assert (server.count("v1"), server.billed, bench.job.state) == (1, 1, "SAVED")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(400, b"\x1f\x8b" * 99, {"Content-Encoding": "gzip"}), "HTTP 400"),
        (Answer(400, b" " * (50 << 20)), "HTTP 400"),
        (Answer(413, {"error": "too big"}, cut=3), "HTTP 413"),
    ],
)
def test_a_v1_request_refused_with_an_unreadable_body_counts_as_refused(bench, server, answer, message):
    server.script["v1"] = [answer]
    outcome = bench.run(version="v1")
    assert message in outcome.message
    assert (server.count("v1"), server.billed, bench.job.state) == (1, 0, "FAILED")


def test_v1_without_an_id_is_saved_and_used_again(bench, server):
    server.script["v1"] = [Answer(200, server.video, billed=True)]
    assert bench.run(version="v1").error is None
    assert bench.run(version="v1").error is None
    assert (server.count("v1"), bench.job.state, bench.job.request_id) == (1, "SAVED", None)


def test_v1_that_breaks_off_in_the_video_is_fetched_by_its_id(bench, server):
    server.script["v1"] = [Answer(200, server.video, {"x-request-id": "job-1"}, cut=100, billed=True)]
    assert bench.run(version="v1").error is None
    assert (server.count("v1"), server.billed, bench.job.state) == (1, 1, "SAVED")


def test_a_refused_v1_request_quotes_the_servers_message(bench, server):
    server.script["v1"] = [Answer(406, {"error": f"Insufficient credits for {bench.key}"})]
    outcome = bench.run(version="v1")
    assert "Insufficient credits for [key]" in outcome.message
    assert (server.billed, bench.job.state) == (0, "FAILED")
