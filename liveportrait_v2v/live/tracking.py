"""Tracking of the camera's face, picture by picture: in the calling thread, or in a process of its own."""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

import torch

from ..engines.base import Engine
from ..errors import LivePortraitError
from ..faces import FaceTracker
from ..tracking import TrackedChunk
from .camera import Picture, PictureError, decoded

_log = logging.getLogger(__name__)
REQUEST = struct.Struct("<?I")
"""Head of a request: whether a picture follows, else another camera begins; and the picture's bytes."""
ANSWER = struct.Struct("<BqII")
"""Head of an answer: what came of the picture, the face's scene, and the frame's height and width.

Unless the picture is damaged, landmarks and frame follow.
"""
DAMAGED, ABSENT, PRESENT = 0, 1, 2
LANDMARKS = 478, 3
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # on Windows


class TrackerError(LivePortraitError):
    """The process that tracks has ended."""


class CameraTracker(Protocol):
    """Decoding of a camera's pictures and tracking of the face in them, one camera at a time."""

    def begin(self) -> None:
        """Begin with another camera."""

    def track(self, picture: Picture) -> TrackedChunk:
        """Return a picture as a chunk of one frame, with the track of its largest face.

        Raises:
            PictureError: it can't be decoded.
            TrackerError: the tracker can't go on.
        """

    def close(self) -> None:
        """End the tracker, from any thread; whoever waits for it gets a TrackerError."""


def tracker_for(engine: Engine) -> CameraTracker:
    """Return the tracker that is quickest beside an engine.

    Drawing and tracking are thousands of small operations. On a CPU threads would do them in turn, as each operation
    needs the interpreter's lock; a process has a lock of its own. On a GPU what the tracker finds would have to be
    copied from one process to the other.
    """
    return ProcessTracker() if torch.device(engine.device).type == "cpu" else LocalTracker(engine.device)


class LocalTracker:
    """Tracker in the thread that calls it.

    Args:
        device: torch device string.
    """

    def __init__(self, device: str):
        self._device = device
        self._tracker: FaceTracker | None = None

    def begin(self) -> None:
        if self._tracker is None:
            self._tracker = FaceTracker(device=self._device, max_faces=1)
        self._tracker.reset()

    def track(self, picture: Picture) -> TrackedChunk:
        assert self._tracker is not None  # it began
        frames = decoded(picture.data).to(self._device)
        landmarks, present, scenes = self._tracker.track(frames).face(0)
        return TrackedChunk(frames, landmarks, present, picture.index, scenes=scenes)

    def close(self) -> None:
        pass


class ProcessTracker:
    """`LocalTracker` on the CPU, in a process that starts at once, and ends when this one does, however that ends.

    If it ends by itself, the picture that it had counts as damaged and it is started again, once for each camera.
    """

    def __init__(self) -> None:
        self._arguments = ("-m", f"{__package__}.tracker_process", str(os.getpid()))
        # Linux ends the process with the thread that started it.
        self._starter = ThreadPoolExecutor(1, "tracker")
        self._asking, self._changing = threading.Lock(), threading.Lock()
        self._closed = False
        self._process = self._start()
        self._may_start_again = True

    def begin(self) -> None:
        with self._asking:
            self._may_start_again = True
            try:
                self._send(REQUEST.pack(False, 0))
            except (OSError, EOFError):
                self._start_again()  # which begins with a camera

    def track(self, picture: Picture) -> TrackedChunk:
        with self._asking:
            try:
                self._send(REQUEST.pack(True, len(picture.data)), picture.data)
                return self._answer(picture.index)
            except (OSError, EOFError) as error:
                self._start_again()
                raise PictureError("a camera's picture was lost with the process that tracks") from error

    def close(self) -> None:
        with self._changing:
            self._closed = True
            self._process.kill()
        with self._asking:
            _close(self._process)
        self._starter.shutdown()

    def _start(self) -> subprocess.Popen[bytes]:
        return self._starter.submit(self._open).result()

    def _open(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Keep Ctrl-C in a terminal from the process: the server ends it.
            start_new_session=True,
            creationflags=_NEW_GROUP,
        )

    def _start_again(self) -> None:
        """Start another process in place of one that has ended.

        Raises:
            TrackerError: it was the second one, or the tracker is closed.
        """
        code = _close(self._process)
        with self._changing:
            if self._closed:
                raise TrackerError("the tracker is closed")
            if not self._may_start_again:
                raise TrackerError(
                    f"the process that tracks the face ended again, with exit code {code}; the server's log may have "
                    "more, and where memory is short, close other programs"
                )
            _log.warning(
                "the process that tracks the face ended with exit code %d; it is started again", code
            )
            self._may_start_again = False
            self._process = self._start()

    def _answer(self, index: int) -> TrackedChunk:
        head = self._receive(torch.empty(ANSWER.size, dtype=torch.uint8))
        kind, scene, height, width = ANSWER.unpack(head)
        if kind == DAMAGED:
            raise PictureError("a camera's picture can't be decoded")
        landmarks, frames = torch.empty(1, *LANDMARKS), torch.empty(1, height, width, 3, dtype=torch.uint8)
        self._receive(landmarks)
        self._receive(frames)
        present, scenes = torch.tensor([kind == PRESENT]), torch.tensor([scene])
        return TrackedChunk(frames, landmarks, present, index, scenes=scenes)

    def _send(self, *parts: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if self._process.poll() is not None:
            raise EOFError
        for part in parts:
            stdin.write(part)
        stdin.flush()

    def _receive(self, tensor: torch.Tensor) -> memoryview:
        """Fill a tensor, and return its bytes."""
        stdout, data = self._process.stdout, bytes_of(tensor)
        assert isinstance(stdout, io.BufferedReader)
        if stdout.readinto(data) < len(data):
            raise EOFError
        return data


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a tensor on the CPU as bytes."""
    return tensor.contiguous().numpy().data.cast("B")


def _close(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that ends, close its pipes, and return its exit code."""
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError):  # of what can't be sent any more
            pipe.close()
    return code
