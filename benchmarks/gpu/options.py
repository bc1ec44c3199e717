"""What a measurement is asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

CARRIED = Path(__file__).parent / "carried"
"""Wheels and clips that `gather` collects."""


@dataclass(frozen=True)
class Options:
    """Choices for all parts.

    Attributes:
        device: torch's name of the device that computes.
        precision: of the networks, where a part doesn't go through all of them.
        batch: frames at a time for the forms' search and for runs.
        forms: words of the form that `run` and `profile` take; None: the winner of `stages`.
        tiny: sizes that a CPU does in seconds, for tests.
        max_autotune: compile the reference's W and G as upstream does, which tunes for minutes.
        seconds_limit: seconds for all parts; what isn't begun by then is left out.
        carried: folder of clips, as `gather` leaves it.
        started: `time.monotonic()` at the beginning.
    """

    device: str = "cuda"
    precision: str = "fp16"
    batch: int = 8
    forms: str | None = None
    tiny: bool = False
    max_autotune: bool = False
    seconds_limit: float = 360.0
    carried: Path = CARRIED
    started: float = field(default_factory=time.monotonic)

    @property
    def on_gpu(self) -> bool:
        """Whether there are figures that only a GPU has."""
        return torch.device(self.device).type == "cuda"

    def seconds_left(self) -> float:
        """Return the seconds until the limit, negative after it."""
        return self.started + self.seconds_limit - time.monotonic()
