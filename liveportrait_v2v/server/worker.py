"""Workers, which compute jobs. `ProcessWorker` uses a separate process."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import LivePortraitError, SettingsError

_ANSWER_BYTES = 1 << 20


class JobFailed(LivePortraitError):
    """A job failed; the message is for the client."""


@dataclass(frozen=True)
class Task:
    """Job as given to a worker.

    Attributes:
        source, driving: files of the clips.
        output: file to write; atomic.
        settings: values for AnimationSettings.
    """

    source: Path
    driving: Path
    output: Path
    settings: dict[str, Any]


class Worker(Protocol):
    """Computation of one job at a time."""

    async def run(self, task: Task) -> None:
        """Compute a job, and stop soon when cancelled. Raises JobFailed."""

    async def close(self) -> None:
        """Release the worker's resources."""


class ProcessWorker:
    """Worker in a separate process, which keeps the engine loaded between jobs.

    The event loop stays responsive, a job can be stopped at any point, and a file that crashes the decoder fails one
    job instead of the server. The process ends when the server does.
    """

    def __init__(self, engine: str, device: str, *, job_seconds: float, grace_seconds: float, max_bytes: int):
        """Configure the process; `start` starts it.

        Args:
            job_seconds: time limit of a job.
            grace_seconds: time in which the process has to stop before it is killed.
            max_bytes: maximum size of a file that is read or written.
        """
        self._arguments = ("-m", f"{__package__}.worker_process", engine, device, str(max_bytes))
        self._job_seconds, self._grace_seconds = job_seconds, grace_seconds
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and load the engine.

        Raises:
            SettingsError: the engine can't be loaded on this device.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_ANSWER_BYTES,
            # Keeps Ctrl-C in a terminal from the worker: the server ends it.
            start_new_session=True,
        )
        try:
            await self._answer()
        except JobFailed as error:
            raise SettingsError(str(error)) from None
        except BaseException:
            await self._end()
            raise

    async def run(self, task: Task) -> None:
        if self._process is None or self._process.returncode is not None:
            await self.start()
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
            await asyncio.wait_for(self._answer(), self._job_seconds)
        except JobFailed:
            raise
        except asyncio.TimeoutError:
            await self._end()
            raise JobFailed(f"the job took longer than the limit of {self._job_seconds:g} seconds") from None
        except BaseException:
            await self._end()
            raise

    async def close(self) -> None:
        if self._process is not None:
            await self._end()

    async def _answer(self) -> None:
        """Wait for the answer of the process; raise JobFailed with its error."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            code = await process.wait()
            self._process = None
            raise JobFailed(f"the worker process ended in the middle of the job, with exit code {code}")
        answer = json.loads(line)
        if answer["ends"]:
            await self._end()
        if answer["error"] is not None:
            raise JobFailed(answer["error"])

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._grace_seconds)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()
