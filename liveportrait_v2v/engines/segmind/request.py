"""The request for a job, and its reported progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class JobState:
    """Progress of a job: an `EngineStatus`.

    Attributes:
        state: short text: uploading, QUEUED, PROCESSING, downloading, …
        elapsed: seconds since the run began.
        request_id: None until the job has one.
        cost, remaining: USD and credits as reported by the server, None if it reported none.
    """

    state: str
    elapsed: float
    request_id: str | None = None
    cost: float | None = None
    remaining: float | None = None

    @property
    def text(self) -> str:
        """Text of one line for a node or a terminal."""
        parts = [f"{self.state}, {self.elapsed:.0f} s"]
        if self.request_id:
            parts.append(f"job {self.request_id}")
        if self.cost is not None:
            parts.append(f"{self.cost:.4g} USD")
        if self.remaining is not None:
            parts.append(f"{self.remaining:.4g} credits left")
        return ", ".join(parts)


@dataclass(frozen=True)
class JobRequest:
    """A request for a job.

    Attributes:
        hash: hexadecimal, of the inputs' content and the settings; equal for the same job.
        label: the names of the clips, for users.
        payload: prepares and uploads the clips and returns the payload; called only if a job has to be ordered.
        version: "v2", or "v1" for the blocking API.
    """

    hash: str
    label: str
    payload: Callable[[], Awaitable[dict[str, Any]]]
    version: str = "v2"
