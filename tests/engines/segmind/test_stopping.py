"""Stop requests in each phase: effective at once, the job kept, and its continuation reported."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from faulty_server import PATIENCE_SECONDS, Answer
from segmind_clocks import HastyClock
from shades import make_clip

from liveportrait_v2v.deadlines import Clock
from liveportrait_v2v.engines.segmind import prepare
from liveportrait_v2v.engines.segmind.errors import JobStoppedError
from liveportrait_v2v.engines.segmind.http import Timeouts
from liveportrait_v2v.errors import Cancelled
from liveportrait_v2v.media import Clip

pytestmark = pytest.mark.slow

# Half a second is documented; the rest is for busy machines. Without a stop each run would hang for a minute.
NOTICED_SECONDS = 8.0

# Route at which the server stays silent: state of the job afterwards, and message.
PHASES = {
    "upload": ("INTENT", "nothing was ordered"),
    "submit": ("AMBIGUOUS", "may have been accepted and billed"),
    "status": ("SUBMITTED", "job job-1 continues .* and may be billed; run again, or .*jobs fetch job-1"),
    "result": ("SUBMITTED", "job job-1 continues"),
    "file": ("COMPLETED", "job job-1 is paid and done"),
}


class StopRequest:
    """`cancelled` callback that returns True once it is set, with the time of that."""

    def __init__(self) -> None:
        self.since: float | None = None

    def set(self) -> None:
        self.since = time.monotonic()

    def __call__(self) -> bool:
        return self.since is not None


def stop_at(bench, route: str, **options):
    """Return the outcome of a run stopped at its first request of a route, and the seconds that stopping took."""
    stop = StopRequest()

    def stop_it() -> None:
        bench.server.wait_for(route)
        stop.set()

    thread = threading.Thread(target=stop_it)
    thread.start()
    outcome = bench.run(cancelled=stop, **options)
    took = time.monotonic() - stop.since
    thread.join()
    return outcome, took


@pytest.mark.parametrize("phase", PHASES)
def test_a_stop_during_a_request_takes_effect_at_once_and_the_next_run_resumes(bench, server, phase):
    state, message = PHASES[phase]
    server.script[phase] = [Answer(silent=True, billed=phase == "submit")]
    outcome, took = stop_at(bench, phase, timeouts=Timeouts(read=60))
    assert isinstance(outcome.error, JobStoppedError)
    assert took < NOTICED_SECONDS
    assert re.search(message, outcome.error.goes_on), outcome.error.goes_on
    assert bench.job.state == state
    assert not bench.output.exists()
    orders = server.count("submit")
    assert bench.run().error is None
    assert (server.count("submit"), server.billed) == (max(orders, 1), 1)
    assert bench.job.state == "SAVED"


def test_a_stop_between_two_polls_takes_effect_at_once(bench, server):
    class SleepyClock(Clock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(60 if server.count("status") else 0)

    server.always["status"] = Answer(200, {"status": "QUEUED"})
    outcome, took = stop_at(bench, "status", clock=SleepyClock())
    assert took < NOTICED_SECONDS
    assert outcome.error.request_id == "job-1"


def test_a_stop_while_waiting_for_another_run_of_the_same_job_takes_effect_at_once(bench, server):
    bench.clock, gate, first = HastyClock(), threading.Event(), []
    server.script["submit"] = [Answer(200, {"request_id": "job-1"}, wait=gate, billed=True)]
    thread = threading.Thread(target=lambda: first.append(bench.run(given={"output": None}, timeouts=None)))
    thread.start()
    server.wait_for("submit")
    stop = StopRequest()
    threading.Timer(0.5, stop.set).start()
    second = bench.run(cancelled=stop)
    assert time.monotonic() - stop.since < NOTICED_SECONDS
    assert isinstance(second.error, JobStoppedError)
    gate.set()
    thread.join()
    assert first[0].error is None
    assert server.billed == 1


def test_a_stop_during_a_dns_lookup_takes_effect_at_once(bench, server):
    hangs, stop = threading.Event(), StopRequest()

    def hanging(host: str, port: int) -> list[str]:
        stop.set()
        hangs.wait(60)
        raise socket.gaierror("no answer")

    server.always["result"] = Answer(200, {"status": "COMPLETED", "output": "https://files.example/x.mp4"})
    outcome = bench.run(cancelled=stop, resolver=hanging)
    assert time.monotonic() - stop.since < NOTICED_SECONDS
    assert isinstance(outcome.error, JobStoppedError)
    assert bench.job.state == "COMPLETED"
    hangs.set()


def test_a_stop_while_clips_are_prepared_takes_effect_at_once(bench, server, monkeypatch):
    stop, frames_at = StopRequest(), prepare.frames_at

    def slowly(clip, numbers):
        stop.set()
        for frame in frames_at(clip, numbers):
            time.sleep(0.2)
            yield frame

    monkeypatch.setattr(prepare, "frames_at", slowly)
    bench.source = make_clip(bench.folder / "odd.mp4", frames=25, rate=30)
    bench.driving = make_clip(bench.folder / "even.mp4", frames=25, rate=24)
    outcome = bench.run(cancelled=stop)
    assert time.monotonic() - stop.since < NOTICED_SECONDS
    assert "nothing was ordered" in outcome.message
    assert server.requests == []


def test_a_stop_while_the_result_is_written_leaves_no_file_and_keeps_the_job(bench, server):
    stop = StopRequest()
    outcome = bench.run(
        cancelled=stop,
        given={
            "on_progress": lambda progress: stop.set() if progress.stage == "writing" else None,
            "chunk": 1,
        },
    )
    assert isinstance(outcome.error, Cancelled)
    assert not bench.output.exists()
    assert (server.billed, bench.job.state) == (1, "SAVED")
    assert bench.run().error is None
    assert Clip(bench.output).info.frame_count == 6
    assert server.billed == 1


class Interrupt(BaseException):
    """Like ComfyUI's interrupt, which is not an Exception."""


def test_an_exception_of_the_caller_ends_the_run_and_releases_the_job(bench, server):
    def interrupted() -> bool:
        if server.count("submit"):
            raise Interrupt
        return False

    server.script["submit"] = [Answer(silent=True, billed=True)]
    outcome = bench.run(cancelled=interrupted, timeouts=Timeouts(read=60))
    assert isinstance(outcome.error, Interrupt)
    assert bench.job.state == "AMBIGUOUS"
    assert list((bench.folder / "data" / "locks").iterdir()) == []
    assert bench.run().error is None
    assert (server.count("submit"), bench.job.state) == (1, "SAVED")


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process")
def test_ctrl_c_on_the_command_line_prints_how_to_resume(bench, server):
    server.always["status"] = Answer(200, {"status": "PROCESSING"})
    command = [
        sys.executable,
        "-m",
        "liveportrait_v2v.cli",
        "animate",
        "source.mp4",
        "driving.mp4",
        "-o",
        "out.mp4",
    ]
    environment = {
        **os.environ,
        "SEGMIND_BASE_URL": server.api,
        "XDG_DATA_HOME": str(bench.folder / "home"),
        "XDG_CONFIG_HOME": str(bench.folder / "home"),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    running = subprocess.Popen(
        [*command, "--engine", "segmind"],
        cwd=bench.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    server.wait_for("status")
    running.send_signal(signal.SIGINT)
    _, message = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 130
    assert "job job-1 continues" in message
    assert "jobs fetch job-1" in message
    assert message.count("\n") == 1
    assert not bench.output.exists()
    bench.check_canary()
