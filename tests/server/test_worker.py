"""Worker processes with the draft engine: failures, limits and shutdown."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from processes import children, is_alive, linux, running, wait_until_ended
from serving import PATIENCE, wait_for

from liveportrait_v2v.errors import MediaError, SettingsError
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.server import worker_process
from liveportrait_v2v.server.worker import JobFailed, ProcessWorker, Task, WorkerTrouble

pytestmark = pytest.mark.slow

QUICK = {"dsize": 128, "video_frame_load_cap": 3}


def new_worker(engine: str = "draft", device: str = "cpu", **limits) -> ProcessWorker:
    seconds = dict.fromkeys(("start_seconds", "job_seconds", "grace_seconds"), PATIENCE)
    return ProcessWorker(engine, device, **{**seconds, "max_bytes": 1 << 24, **limits})


def task(clips, folder: Path, **settings) -> Task:
    return Task(clips["obama"], clips["obama"], folder / "result.mp4", {**QUICK, **settings})


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE))


def test_a_worker_computes_job_after_job_and_reports_why_one_failed(clips, tmp_path):
    async def scenario():
        worker = new_worker()
        await worker.start()
        first = task(clips, tmp_path)
        await worker.run(first)
        assert Clip(first.output).info.frame_count == 3
        with pytest.raises(JobFailed, match="face 5 was found nowhere"):
            await worker.run(task(clips, tmp_path, input_face_index=5))
        (tmp_path / "text").write_text("no clip at all")
        with pytest.raises(JobFailed, match=r"^driving_video: not a video or picture") as caught:
            await worker.run(Task(clips["obama"], tmp_path / "text", tmp_path / "b.mp4", QUICK))
        assert str(tmp_path) not in str(caught.value)
        await worker.run(Task(clips["obama"], clips["single_face"], tmp_path / "c.mp4", QUICK))
        assert (tmp_path / "c.mp4").exists()
        await worker.close()

    run(scenario())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.mp4", "result.mp4", "text"]


def test_a_worker_that_dies_takes_one_job_with_it(clips, tmp_path):
    async def scenario():
        worker = new_worker()
        await worker.start()
        long = asyncio.ensure_future(
            worker.run(Task(clips["jwp_intro"], clips["jwp_intro"], tmp_path / "a.mp4", {}))
        )
        while not list(tmp_path.glob(".*.part")):
            await asyncio.sleep(0.02)
        worker._process.kill()
        with pytest.raises(JobFailed, match="ended in the middle of the job"):
            await long
        await worker.run(task(clips, tmp_path))
        worker._process.kill()
        await worker._process.wait()
        await worker.run(task(clips, tmp_path))
        await worker.close()

    run(scenario())
    assert (tmp_path / "result.mp4").exists()


START = (
    "worker_process.main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))"
)
# No engine, which takes seconds to load: the result is the driving clip.
COPY = f"""
import shutil, sys
from liveportrait_v2v.server import worker_process
worker_process._load = lambda *_: None
worker_process._animate = lambda order, *_: shutil.copy(order["driving"], order["output"])
{START}
"""


def copying_worker() -> ProcessWorker:
    worker = new_worker()
    worker._arguments = ("-c", COPY, *worker._arguments[2:])
    return worker


@pytest.mark.parametrize("delay", [0, 0.001, 0.005])
def test_a_job_sent_to_a_worker_that_has_just_died_is_the_workers_trouble(clips, tmp_path, delay):
    async def scenario():
        worker = copying_worker()
        await worker.start()
        worker._process.kill()
        time.sleep(delay)  # the loop notices nothing meanwhile
        with pytest.raises(WorkerTrouble, match="before the job began"):
            await worker.run(task(clips, tmp_path))
        await worker.run(task(clips, tmp_path))
        await worker.close()

    run(scenario())
    assert (tmp_path / "result.mp4").exists()


# A driver that hangs in C, without the interpreter's lock released.
HANG = f"""
import ctypes, sys
from liveportrait_v2v.server import worker_process
def hang(*_):
    libc = ctypes.PyDLL(None)
    while True:
        libc.sleep(1000)
worker_process._load = hang
{START}
"""
PARENT = """
import asyncio, sys
sys.path[:0] = [{tests!r}]
from test_worker import hanging_worker
async def main():
    worker = hanging_worker(start_seconds=1000)
    start = asyncio.ensure_future(worker.start())
    while worker._process is None:
        await asyncio.sleep(0.02)
    print(worker._process.pid, flush=True)
    await start
asyncio.run(main())
"""


def hanging_worker(**limits) -> ProcessWorker:
    worker = new_worker(**{"grace_seconds": 0.5, **limits})
    worker._arguments = ("-c", HANG, *worker._arguments[2:])
    return worker


@linux
def test_a_worker_that_hangs_while_it_starts_is_given_up_and_killed():
    async def scenario():
        worker = hanging_worker(start_seconds=3)
        start = asyncio.ensure_future(worker.start())
        while worker._process is None:
            await asyncio.sleep(0.01)
        pid = worker._process.pid
        with pytest.raises(SettingsError, match="did not start within 3 seconds; its driver may hang"):
            await start
        wait_until_ended(pid)

    run(scenario())


@linux
def test_the_end_of_a_worker_can_not_be_cancelled_half_way():
    async def scenario():
        worker = hanging_worker()
        start = asyncio.ensure_future(worker.start())
        while worker._process is None:
            await asyncio.sleep(0.01)
        pid = worker._process.pid
        await asyncio.sleep(1)
        for _ in range(3):
            start.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await start
        wait_until_ended(pid)

    run(scenario())


@linux
def test_a_worker_that_hangs_dies_with_a_server_that_is_killed():
    code = PARENT.format(tests=str(Path(__file__).parent))
    paths = os.pathsep.join(map(str, (Path(__file__).parents[2], Path(__file__).parents[1])))
    command = [sys.executable, "-c", code]
    with running(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    ) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(2)  # until it hangs
        assert is_alive(pid)
        parent.kill()
    wait_until_ended(pid)


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_whose_worker_hangs_while_it_starts_ends_on_a_signal(tmp_path, number):
    code = (
        "import sys; from test_worker import HANG; from liveportrait_v2v.server import worker\n"
        "from liveportrait_v2v.cli import main\n"
        "init = worker.ProcessWorker.__init__\n"
        "def hanging(self, *a, **k):\n"
        "    init(self, *a, **{**k, 'grace_seconds': 0.5})\n"
        "    self._arguments = ('-c', HANG, *self._arguments[2:])\n"
        "worker.ProcessWorker.__init__ = hanging\n"
        f"sys.exit(main(['serve', '--port', '0', '--data', {str(tmp_path / 'data')!r}]))"
    )
    folders = (Path(__file__).parents[2], Path(__file__).parents[1], Path(__file__).parent)
    paths = os.pathsep.join(map(str, folders))
    with running([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}) as server:
        (pid,) = wait_for(lambda: children(server.pid), "the worker's start")
        time.sleep(1)
        server.send_signal(number)
        assert server.wait(timeout=PATIENCE) == 0
    wait_until_ended(pid)


# While a signal is handled, another comes before each step of that.
SIGNALLED = f"""
import signal, sys
from liveportrait_v2v.server import worker_process
def another(*_):
    signal.raise_signal(signal.SIGTERM)
    return another
def load(*_):
    handler = signal.getsignal(signal.SIGTERM)
    def handle(*given):
        first = sys.gettrace() is None
        if first:
            sys.settrace(another)
        handler(*given)
        if first:
            sys.settrace(None)
    signal.signal(signal.SIGTERM, handle)
worker_process._load = load
{START}
"""


def test_a_worker_ends_however_many_signals_come_at_once():
    command = [sys.executable, "-c", SIGNALLED, "draft", "cpu", "1000", "1", str(os.getpid())]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        worker.stdout.readline()
        worker.terminate()
        assert worker.wait(timeout=PATIENCE) == 0


def test_a_full_disk_is_the_servers_trouble(monkeypatch, tmp_path):
    full = MediaError(tmp_path / "result.mp4", "can't be written: No space left on device")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")

    def animate(*_):
        raise full

    monkeypatch.setattr(worker_process, "_animate", animate)
    order = {"source": "a", "driving": "b", "output": "c", "settings": {}}
    with pytest.raises(worker_process._Failed) as caught:
        worker_process._run(order, None, 1, None, lambda done, total: None)
    assert caught.value.again
    full.__cause__ = OSError(errno.EFBIG, "File too large")
    with pytest.raises(worker_process._Failed) as caught:
        worker_process._run(order, None, 1, None, lambda done, total: None)
    assert not caught.value.again


def test_after_an_unexpected_error_the_next_job_gets_a_new_process(clips, tmp_path):
    async def scenario():
        worker = new_worker()
        await worker.start()
        first = worker._process.pid
        with pytest.raises(JobFailed, match=r"^internal error \(TypeError\)"):
            await worker.run(Task(clips["obama"], clips["obama"], tmp_path / "a.mp4", settings=None))
        await worker.run(task(clips, tmp_path))
        assert worker._process.pid != first
        await worker.close()

    run(scenario())


def test_a_job_that_takes_too_long_is_ended_without_a_file(clips, tmp_path):
    async def scenario():
        worker = new_worker(job_seconds=0.1)
        await worker.start()
        with pytest.raises(JobFailed, match="longer than the limit"):
            await worker.run(Task(clips["jwp_intro"], clips["jwp_intro"], tmp_path / "a.mp4", {}))
        await worker.close()

    run(scenario())
    assert not list(tmp_path.iterdir())


def test_a_cancelled_job_leaves_no_file(clips, tmp_path):
    async def scenario():
        worker = new_worker()
        await worker.start()
        job = asyncio.ensure_future(
            worker.run(Task(clips["jwp_intro"], clips["jwp_intro"], tmp_path / "a.mp4", {}))
        )
        while not list(tmp_path.glob(".*.part")):
            await asyncio.sleep(0.02)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        await worker.close()

    run(scenario())
    assert not list(tmp_path.iterdir())


def test_a_file_above_the_limit_fails_the_job_as_a_full_disk_does(clips, tmp_path):
    small = tmp_path / "small.mp4"
    with VideoWriter(small, Fraction(12), crf=40) as writer:
        for chunk in Clip(clips["obama"]).chunks(cap=16):
            writer.write(chunk.frames)

    async def scenario():
        worker = new_worker(max_bytes=small.stat().st_size)
        await worker.start()
        with pytest.raises(JobFailed, match=r"^the result: "):
            await worker.run(Task(small, small, tmp_path / "large.mp4", {"dsize": 128}))
        with pytest.raises(JobFailed, match=r"^input_video: .*larger than the limit"):
            await worker.run(task(clips, tmp_path))
        await worker.close()

    run(scenario())
    assert list(tmp_path.iterdir()) == [small]


@pytest.mark.parametrize(
    ("engine", "device", "message"),
    [("segmind", "cpu", "engine"), ("draft", "gpu", "gpu")],
)
def test_an_unknown_engine_or_device_is_reported_at_the_start(engine, device, message):
    async def scenario():
        with pytest.raises(SettingsError, match=message):
            await new_worker(engine, device).start()

    run(scenario())
