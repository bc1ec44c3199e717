"""Processes that a test starts, and whether they live."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen]:
    """Process that is killed where the test fails meanwhile; `Popen` alone would wait for its end for ever."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def wait_until_ended(pid: int) -> None:
    wait_for(lambda: not is_alive(pid), f"the end of process {pid}")


def children(pid: int) -> list[int]:
    """The processes that the threads of a process started."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
