"""Tracking of the camera's face in a process of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from live_session import Engine, jpeg
from PIL import Image
from processes import children, linux, wait_until_ended

import live_browser
from liveportrait_v2v.live.camera import Picture, PictureError
from liveportrait_v2v.live.tracking import LocalTracker, ProcessTracker, TrackerError, tracker_for

PATIENCE = 60  # seconds
PICTURE = live_browser.ROOT / "examples" / "example_picture.jpg"


def picture(data: bytes | None = None, index: int = 1) -> Picture:
    return Picture(PICTURE.read_bytes() if data is None else data, index, 0.0)


def mirrored() -> bytes:
    file = io.BytesIO()
    Image.open(PICTURE).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def tracker() -> Iterator[ProcessTracker]:
    tracker = ProcessTracker()
    yield tracker
    tracker.close()


def test_only_beside_an_engine_on_the_cpu_the_tracker_has_a_process_of_its_own():
    engine = Engine()
    engine.device = "cpu"
    on_cpu = tracker_for(engine)
    on_cpu.close()
    engine.device = "cuda"
    assert (type(on_cpu), type(tracker_for(engine))) == (ProcessTracker, LocalTracker)


def test_a_process_finds_the_same_face_in_the_same_frame_as_a_thread(tracker):
    local = LocalTracker("cpu")
    for one in (local, tracker):
        one.begin()
    for index, data in enumerate((PICTURE.read_bytes(), jpeg(0, (320, 240)), mirrored())):
        near, far = local.track(picture(data, index)), tracker.track(picture(data, index))
        assert bool(near.present[0]) is (index != 1)
        assert (far.index, far.held) == (index, False)
        for name in ("frames", "present", "scenes"):
            assert torch.equal(getattr(near, name), getattr(far, name))
        torch.testing.assert_close(near.landmarks, far.landmarks, atol=0.01, rtol=0)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8garbage", bytes(100_000)])
def test_a_damaged_picture_is_refused_and_the_next_one_is_tracked(tracker, data):
    tracker.begin()
    with pytest.raises(PictureError):
        tracker.track(picture(data))
    assert tracker.track(picture()).present[0]


def test_another_camera_begins_with_scene_0(tracker):
    def scenes() -> list[int]:
        tracker.begin()
        return [int(tracker.track(picture(data)).scenes[0]) for data in (PICTURE.read_bytes(), mirrored())]

    assert scenes() == scenes()


def test_a_process_that_ends_by_itself_is_started_again_once_for_each_camera(caplog):
    tracker = ProcessTracker()
    tracker.begin()
    tracker._process.kill()
    with pytest.raises(PictureError, match="lost with the process"):
        tracker.track(picture())
    assert "ended with exit code -9; it is started again" in caplog.text
    tracker._process.kill()
    with pytest.raises(TrackerError, match="ended again, with exit code -9"):
        tracker.track(picture())
    tracker.begin()
    assert tracker.track(picture()).present[0]
    tracker.close()


def test_closing_ends_the_process_and_whoever_waits_for_it():
    tracker, errors = ProcessTracker(), []

    def wait() -> None:
        with pytest.raises(TrackerError) as caught:
            tracker.track(picture())
        errors.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.1)
    tracker.close()
    waiting.join(PATIENCE)
    assert len(errors) == 1
    assert tracker._process.returncode is not None
    with pytest.raises(TrackerError):
        tracker.begin()
    tracker.close()


PARENT = """
import sys, time
from liveportrait_v2v.live.tracking import ProcessTracker
tracker = ProcessTracker()
print(tracker._process.pid, flush=True)
time.sleep(1000)
"""


@linux
def test_the_process_ends_with_one_that_is_killed():
    environment = {**os.environ, "PYTHONPATH": str(live_browser.ROOT)}
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_until_ended(pid)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 4])
def test_ctrl_c_ends_the_command_and_its_tracker_without_a_word(seconds):
    words = [sys.executable, "-m", "liveportrait_v2v.cli", "live", str(PICTURE), "--port", "0"]
    with subprocess.Popen(
        words,
        cwd=live_browser.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        while not children(command.pid):
            time.sleep(0.01)
        (pid,) = children(command.pid)
        if seconds:
            command.stdout.readline()
            time.sleep(seconds)
        os.killpg(command.pid, signal.SIGINT)
        error = command.communicate(timeout=PATIENCE)[1]
    assert (command.returncode, error) == (0, "")
    assert not Path(f"/proc/{pid}").exists()
