"""Process of a worker: reads jobs as lines of JSON from stdin, answers each with a line on stdout.

An answer is {"error": what is wrong with the job, or null, "again": whether another try may succeed, "ends": whether
the process ends after it}; the first one is about the engine, and each job has two: one before it begins. Between
these, lines {"progress": [frames done, frames in all]} come at most once a second. The process also ends when stdin
does or SIGTERM comes; a job that is running then stops and leaves no file. A process that hangs ends nevertheless: on
Linux with its parent, elsewhere some seconds after stdin.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import Cancelled, LivePortraitError, MediaError
from ..files import is_disk_full

MAX_PIXELS = 4096 * 4096
_PR_SET_PDEATHSIG = 1
_PROGRESS_SECONDS = 1.0


def main(engine_name: str, device: str, max_bytes: int, grace_seconds: float, parent: int) -> None:
    """Load the engine, then answer jobs until the end.

    Args:
        max_bytes: maximum size of a file that is read or written.
        grace_seconds: time to stop in after the end of stdin.
        parent: id of the process that ends this one with itself.
    """
    die_with(parent)
    # Keeps the output of libraries out of the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    ended = False
    orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def end(*_: object) -> None:
        # Without a lock: a second signal may come while the first is handled, and would wait for its own thread.
        nonlocal ended
        ended = True
        orders.put(None)

    signal.signal(signal.SIGTERM, end)
    _limit_files(max_bytes)

    def answer(error: str | None = None, *, again: bool = False, ends: bool = False) -> None:
        answers.write(json.dumps({"error": error, "again": again, "ends": ends}) + "\n")

    def tell(done: int, total: int) -> None:
        answers.write(json.dumps({"progress": [done, total]}) + "\n")

    def listen() -> None:
        # Unbuffered, as a buffer's lock held by this thread would keep the interpreter from ending.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                orders.put(line)
        end()
        time.sleep(grace_seconds)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    try:
        engine = _load(engine_name, device)
    # torch raises the latter two for a device that isn't there.
    except (LivePortraitError, ValueError, RuntimeError, AssertionError) as error:
        answer(str(error), ends=True)
        return
    answer()
    while (line := orders.get()) is not None and not ended:
        answer()
        try:
            _run(json.loads(line), engine, max_bytes, lambda: ended, tell)
            answer()
        except _Failed as error:
            answer(str(error), again=error.again)
        except Cancelled:
            return
        except Exception as error:
            # After an error on a GPU all further calls fail in this process.
            traceback.print_exc()
            answer(f"internal error ({type(error).__name__}); the server's log has more", ends=True)
            return


class _Failed(Exception):
    """A job failed.

    Attributes:
        again: whether another try may succeed.
    """

    def __init__(self, message: str, again: bool = False):
        super().__init__(message)
        self.again = again


Tell = Callable[[int, int], None]
Cancelling = Callable[[], bool]


def _run(order: dict[str, Any], engine: Any, max_bytes: int, cancelled: Cancelling, tell: Tell) -> None:
    """Carry out a job, and tell how many frames of all are done.

    Raises:
        _Failed: with a message in which files are named by their parameters.
        Cancelled: the process is to end.
    """
    try:
        _animate(order, engine, max_bytes, cancelled, tell)
    except Cancelled:
        raise
    except MediaError as error:
        names = {order["driving"]: "driving_video", order["source"]: "input_video"}
        message = f"{names.get(str(error.path), 'the result')}: {error.reason}"
        raise _Failed(message, again=is_disk_full(error.__cause__)) from error
    except LivePortraitError as error:
        raise _Failed(str(error)) from error


def _load(name: str, device: str) -> Any:
    import torch

    from ..engines import HostedEngine, create_engine

    torch.zeros(1, device=device)
    engine = create_engine(name, device=device)
    if isinstance(engine, HostedEngine):
        raise ValueError(f"a server needs an engine that computes on this machine, got {name!r}")
    return engine


def _animate(order: dict[str, Any], engine: Any, max_bytes: int, cancelled: Cancelling, tell: Tell) -> None:
    from ..media import Clip
    from ..plan import Role, make_plan
    from ..run import Progress, run_plan
    from ..settings import AnimationSettings

    clips = [Clip(order[name], max_bytes=max_bytes) for name in ("source", "driving")]
    for clip, name in zip(clips, ("source", "driving"), strict=True):
        width, height = clip.info.width, clip.info.height
        if width * height > MAX_PIXELS:
            raise MediaError(
                order[name],
                f"frames of {width}x{height} are too large for this server, which takes {MAX_PIXELS} pixels",
            )
    source, driving = clips
    plan = make_plan(source, Role(driving, AnimationSettings.from_dict(order["settings"])))
    told = time.monotonic()

    def on_progress(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            tell(progress.frames, progress.total)

    run_plan(plan, engine=engine, output=order["output"], cancelled=cancelled, on_progress=on_progress)


def die_with(parent: int) -> None:
    """Have the system kill this process when its parent ends, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:
        sys.exit("the server has ended")


def _limit_files(max_bytes: int) -> None:
    """Limit the size of a result, where the system can do that."""
    with suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
