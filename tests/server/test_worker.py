"""Worker processes with the draft engine: failures, limits and shutdown."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import pytest
from serving import PATIENCE

from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.server.worker import JobFailed, ProcessWorker, Task

pytestmark = pytest.mark.slow

QUICK = {"dsize": 128, "video_frame_load_cap": 3}


def new_worker(engine: str = "draft", device: str = "cpu", **limits) -> ProcessWorker:
    return ProcessWorker(
        engine, device, **{"job_seconds": PATIENCE, "grace_seconds": PATIENCE, "max_bytes": 1 << 24, **limits}
    )


def task(clips, folder: Path, **settings) -> Task:
    return Task(clips["obama"], clips["obama"], folder / "result.mp4", {**QUICK, **settings})


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario, 4 * PATIENCE))


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
        await asyncio.sleep(0.1)
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
