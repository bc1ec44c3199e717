"""Commands of the Segmind engine: animate, jobs and key."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest
from faulty_server import Answer

from liveportrait_v2v.cli import main
from liveportrait_v2v.media import Clip

KEY = "SG_0123456789abcdef"


@pytest.fixture
def home(bench, server, monkeypatch):
    """User with temporary folders and a clock that hardly sleeps."""
    monkeypatch.setenv("XDG_DATA_HOME", str(bench.folder / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(bench.folder / "config"))
    monkeypatch.setenv("LOCALAPPDATA", str(bench.folder / "data"))
    monkeypatch.setenv("APPDATA", str(bench.folder / "config"))
    monkeypatch.setenv("SEGMIND_BASE_URL", server.api)
    monkeypatch.setattr("liveportrait_v2v.engines.segmind.engine.Clock", lambda: bench.clock)
    monkeypatch.chdir(bench.folder)
    return bench


ANIMATE = ["animate", "source.mp4", "driving.mp4", "-o", "out.mp4", "--engine", "segmind"]


def printed(capsys, *arguments: str, code: int = 0) -> str:
    """Return the stdout of a command, or its stderr if it fails."""
    assert main(list(arguments)) == code
    out = capsys.readouterr()
    return out.err if code else out.out


def test_animate_prints_the_price_and_the_remaining_credits(home, capsys):
    output = printed(capsys, *ANIMATE)
    assert "job 1 (job-1): 0.29 USD, 12.5 credits left; as the model made it: " in output
    assert Clip("out.mp4").info.frame_count == 6


def test_animate_as_json_has_the_job(home, capsys):
    report = json.loads(printed(capsys, *ANIMATE, "--json"))
    assert report["job"]["request_id"] == "job-1"
    assert report["job"]["cost"] == 0.29
    assert report["frames_without_source_face"] is None
    assert report["notes"] == []


def test_animate_orders_again_only_with_another_seed(home, server, capsys):
    for seed in ("0", "0", "1"):
        printed(capsys, *ANIMATE, "--seed", seed)
    assert server.billed == 2


@pytest.mark.parametrize("limit", ["--max-cost", "--max-cost-per-day"])
def test_animate_keeps_a_limit(home, server, capsys, limit):
    assert "nothing was ordered" in printed(capsys, *ANIMATE, limit, "0.1", code=2)
    assert server.billed == 0
    assert "must be 0 or more" in printed(capsys, *ANIMATE, limit, "-1", code=2)


def test_animate_uses_v1_on_request(home, server, capsys):
    printed(capsys, *ANIMATE, "--api", "v1")
    assert (server.count("v1"), server.count("submit")) == (1, 0)


def test_animate_with_an_unclear_order_ends_with_one_line(home, server, capsys):
    server.always["submit"] = Answer(504, billed=True, listed=False)
    output = printed(capsys, *ANIMATE, code=2)
    assert output.count("\n") == 1
    assert "may have been accepted and billed" in output
    assert "jobs forget 1" in output


def test_jobs_are_listed_and_shown(home, server, capsys):
    assert "0 jobs" in printed(capsys, "jobs", "list")
    printed(capsys, *ANIMATE)
    output = printed(capsys, "jobs", "list")
    assert "SAVED  job-1  0.29 USD  source.mp4 + driving.mp4" in output
    assert "about 0.29 USD in the last 24" in output
    assert json.loads(printed(capsys, "jobs", "list", "--json"))[0]["request_id"] == "job-1"
    shown = [json.loads(printed(capsys, "jobs", "show", name)) for name in ("1", "job-1")]
    assert shown[0] == shown[1]
    assert shown[0]["payload"]["scale"] == 2.3
    assert "ID must be" in printed(capsys, "jobs", "show", "job-9", code=2)


def test_a_job_left_behind_is_resumed_and_fetched(home, server, capsys):
    server.always["status"] = Answer(401, {"error": "who are you"})
    assert "who are you" in printed(capsys, *ANIMATE, code=2)
    del server.always["status"]
    assert "job 1 (job-1): 0.29 USD" in printed(capsys, "jobs", "resume", "1")
    printed(capsys, "jobs", "fetch", "job-1", "-o", "made.mp4")
    with open("made.mp4", "rb") as file:
        assert file.read() == server.video
    printed(capsys, *ANIMATE)
    assert server.count("submit") == 1


def test_an_order_that_is_unclear_can_be_resumed_once_the_history_shows_it(home, server, capsys):
    server.script["submit"] = [Answer(504, billed=True, listed=False)]
    printed(capsys, *ANIMATE, code=2)
    assert "may have been" in printed(capsys, "jobs", "resume", "1", code=2)
    server.unlisted.clear()
    assert "job-1" in printed(capsys, "jobs", "resume", "1")
    assert server.count("submit") == 1


def test_a_job_of_another_machine_is_fetched_by_its_id_after_the_hour(home, server, capsys):
    server.jobs["far-away"] = {}
    server.always["status"] = Answer(404, {"error": "expired"})
    printed(capsys, "jobs", "fetch", "far-away", "-o", "made.mp4")
    assert Clip("made.mp4").info.frame_count == 6
    assert "about 0.00 USD" in printed(capsys, "jobs", "list")
    assert server.count("submit") == 0


@pytest.mark.parametrize("name", ["../x", "a/b", "ä", ""])
def test_an_invalid_request_id_is_never_requested(home, server, capsys, name):
    assert "a request id has" in printed(capsys, "jobs", "fetch", name, "-o", "made.mp4", code=2)
    assert server.requests == []


def test_a_job_of_another_server_is_not_requested_from_this_one(home, server, capsys, monkeypatch):
    server.always["status"] = Answer(401, {"error": "who are you"})
    printed(capsys, *ANIMATE, code=2)
    sent = len(server.requests)
    monkeypatch.setenv("SEGMIND_BASE_URL", "http://127.0.0.1:9")
    assert f"ordered at {server.api}" in printed(capsys, "jobs", "resume", "1", code=2)
    assert len(server.requests) == sent


def test_a_forgotten_job_is_ordered_again(home, server, capsys):
    printed(capsys, *ANIMATE)
    assert "set aside" in printed(capsys, "jobs", "forget", "job-1")
    printed(capsys, *ANIMATE)
    assert server.billed == 2
    assert "FORGOTTEN" in printed(capsys, "jobs", "list")
    assert "set aside" in printed(capsys, "jobs", "resume", "1", code=2)


def test_a_key_is_read_from_stdin_stored_reported_and_removed(home, capsys, monkeypatch):
    monkeypatch.delenv("SEGMIND_API_KEY")
    assert "no key" in printed(capsys, "key", "status")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{home.key}\n"))
    stored = printed(capsys, "key", "set")
    output = printed(capsys, "key", "status", "--check")
    assert "a key is configured" in output
    assert "credits: 12.5" in output
    assert home.key not in stored + output
    path = home.folder / "config" / "liveportrait-v2v" / "segmind.key"
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    assert "removed" in printed(capsys, "key", "remove")
    assert not path.exists()
    assert "there is no" in printed(capsys, "key", "remove")


def test_a_terminal_prompts_for_the_key_without_echo(home, capsys, monkeypatch):
    monkeypatch.delenv("SEGMIND_API_KEY")
    monkeypatch.setattr(sys, "stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setattr("getpass.getpass", lambda prompt: KEY)
    printed(capsys, "key", "set")
    assert "a key is configured" in printed(capsys, "key", "status")


def test_an_invalid_key_is_refused_and_nothing_stored(home, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("my secret\n"))
    output = printed(capsys, "key", "set", code=2)
    assert "an API key is" in output
    assert "secret" not in output
    assert not (home.folder / "config").exists()


def test_the_key_is_not_an_argument(home, capsys):
    with pytest.raises(SystemExit):
        main(["key", "set", KEY])
