"""Workers, which compute jobs. `ProcessWorker` uses a separate process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..deadlines import Deadline, OutOfTime, to_the_end
from ..errors import LivePortraitError, SettingsError

_log = logging.getLogger(__name__)
_ANSWER_BYTES = 1 << 20


class JobFailed(LivePortraitError):
    """A job failed; the message is for the client."""


class WorkerDied(JobFailed):
    """The worker's process ended in the middle of a job: a clip may have crashed it."""


class WorkerTrouble(LivePortraitError):
    """The server's own trouble ended a job: another try may succeed."""


@dataclass(frozen=True)
class Task:
    """Job as given to a worker.

    Attributes:
        source, driving: files of the clips.
        output: file to write; atomic.
        settings: values for AnimationSettings.
        report: called with the frames that are done and those in all, at most once a second.
    """

    source: Path
    driving: Path
    output: Path
    settings: dict[str, Any]
    report: Callable[[int, int], None] = lambda done, total: None


class Worker(Protocol):
    """Computation of one job at a time."""

    async def run(self, task: Task) -> None:
        """Compute a job, and stop soon when cancelled. Raises JobFailed, or WorkerTrouble."""

    async def close(self) -> None:
        """Release the worker's resources."""


class ProcessWorker:
    """Worker in a separate process, which keeps the engine loaded between jobs.

    The event loop stays responsive, a job can be stopped at any point, and a file that crashes the decoder fails one
    job instead of the server. The process ends when the server does, however that ends, and even if it hangs in a
    driver: every wait for it has a limit, after which it is killed.
    """

    def __init__(
        self,
        engine: str,
        device: str,
        *,
        start_seconds: float,
        job_seconds: float,
        grace_seconds: float,
        max_bytes: int,
    ):
        """Configure the process; `start` starts it.

        Args:
            start_seconds: time limit of the start.
            job_seconds: time limit of a job.
            grace_seconds: time in which the process has to stop before it is killed.
            max_bytes: maximum size of a file that is read or written.
        """
        module = f"{__package__}.worker_process"
        self._arguments = ("-m", module, engine, device, str(max_bytes), str(grace_seconds), str(os.getpid()))
        self._device, self._start_seconds = device, start_seconds
        self._job_seconds, self._grace_seconds = job_seconds, grace_seconds
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and load the engine.

        Raises:
            SettingsError: the engine can't be loaded on this device, or not in time.
        """
        try:
            await to_the_end(self._spawn())
            await Deadline(self._start_seconds).wait(self._answer("while it started"))
        except OutOfTime:
            await self._end()
            raise SettingsError(
                f"the worker for {self._device} did not start within {self._start_seconds:g} seconds; its driver may "
                "hang: try the device with another program, or restart the machine"
            ) from None
        except (JobFailed, WorkerTrouble) as error:
            raise SettingsError(str(error)) from None
        except BaseException:
            await self._end()
            raise

    async def run(self, task: Task) -> None:
        if self._process is None or self._process.returncode is not None:
            try:
                await self.start()
            except SettingsError as error:
                raise WorkerTrouble(str(error)) from None
        order = {
            "source": str(task.source),
            "driving": str(task.driving),
            "output": str(task.output),
            "settings": task.settings,
        }
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await Deadline(self._job_seconds).wait(self._work(task.report))
        except (JobFailed, WorkerTrouble):
            raise
        except OutOfTime:
            await self._end()
            raise JobFailed(f"the job took longer than the limit of {self._job_seconds:g} seconds") from None
        except BaseException:
            await self._end()
            raise

    async def close(self) -> None:
        await self._end()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_ANSWER_BYTES,
            # Keeps Ctrl-C in a terminal from the worker: the server ends it.
            start_new_session=True,
        )

    async def _work(self, report: Callable[[int, int], None]) -> None:
        await self._answer("before the job began")
        try:
            while (progress := await self._answer("in the middle of the job")) is not None:
                report(*progress)
        except _Ended as error:
            raise WorkerDied(str(error)) from None

    async def _answer(self, when: str) -> list[int] | None:
        """Return the progress in the next line of the process, None for an answer.

        Raises:
            JobFailed, WorkerTrouble: the answer has an error.
        """
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            await self._end()
            raise _Ended(f"the worker process ended {when}, with exit code {process.returncode}")
        answer = json.loads(line)
        if "progress" in answer:
            return answer["progress"]
        if answer["ends"]:
            await self._end()
        if answer["error"] is not None:
            raise (WorkerTrouble if answer["again"] else JobFailed)(answer["error"])
        return None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await to_the_end(_stop(process, self._grace_seconds))


class _Ended(WorkerTrouble):
    """The process has ended."""


async def _stop(process: asyncio.subprocess.Process, grace_seconds: float) -> None:
    for end in (process.terminate, process.kill):
        with suppress(ProcessLookupError):
            end()
        with suppress(OutOfTime):
            await Deadline(grace_seconds).wait(process.wait())
            return
    _log.error("worker process %d can't be killed: it hangs in the system; restart the machine", process.pid)
