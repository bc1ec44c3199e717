"""Process of a worker: reads jobs as lines of JSON from stdin, answers each with a line on stdout.

An answer is {"error": what is wrong with the job, or null, "ends": whether the process ends after it}; the first one
is about the engine. The process also ends when stdin does or SIGTERM comes; a job that is running then stops and
leaves no file.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

from ..errors import Cancelled, LivePortraitError, MediaError

MAX_PIXELS = 4096 * 4096


def main(engine_name: str, device: str, max_bytes: int) -> None:
    # Keeps the output of libraries out of the answers.
    """Load the engine, then answer jobs until the end."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    ended = threading.Event()
    orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def end(*_: object) -> None:
        ended.set()
        orders.put(None)

    signal.signal(signal.SIGTERM, end)
    _limit_files(max_bytes)

    def answer(error: str | None, ends: bool = False) -> None:
        answers.write(json.dumps({"error": error, "ends": ends}) + "\n")

    def listen() -> None:
        # Unbuffered, as a buffer's lock held by this thread would keep the interpreter from ending.
        with open(0, "rb", buffering=0, closefd=False) as lines:
            for line in lines:
                orders.put(line)
        end()

    threading.Thread(target=listen, daemon=True).start()
    try:
        engine = _load(engine_name, device)
    # torch raises the latter two for a device that isn't there.
    except (LivePortraitError, ValueError, RuntimeError, AssertionError) as error:
        answer(str(error), ends=True)
        return
    answer(None)
    while (line := orders.get()) is not None and not ended.is_set():
        try:
            answer(_run(json.loads(line), engine, max_bytes, ended))
        except Cancelled:
            return
        except Exception as error:
            # After an error on a GPU all further calls fail in this process.
            traceback.print_exc()
            answer(f"internal error ({type(error).__name__}); the server's log has more", ends=True)
            return


def _run(order: dict[str, Any], engine: Any, max_bytes: int, ended: threading.Event) -> str | None:
    """Carry out a job, and return its error; files are named by their parameters."""
    try:
        _animate(order, engine, max_bytes, ended)
    except Cancelled:
        raise
    except MediaError as error:
        names = {order["driving"]: "driving_video", order["source"]: "input_video"}
        return f"{names.get(str(error.path), 'the result')}: {error.reason}"
    except LivePortraitError as error:
        return str(error)
    return None


def _load(name: str, device: str) -> Any:
    import torch

    from ..engines import HostedEngine, create_engine

    torch.zeros(1, device=device)
    engine = create_engine(name, device=device)
    if isinstance(engine, HostedEngine):
        raise ValueError(f"a server needs an engine that computes on this machine, got {name!r}")
    return engine


def _animate(order: dict[str, Any], engine: Any, max_bytes: int, ended: threading.Event) -> None:
    from ..media import Clip
    from ..plan import Role, make_plan
    from ..run import run_plan
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
    run_plan(plan, engine=engine, output=order["output"], cancelled=ended.is_set)


def _limit_files(max_bytes: int) -> None:
    """Limit the size of a result, where the system can do that."""
    with suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
