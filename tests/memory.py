"""Memory of the test process."""

from __future__ import annotations

import ctypes
import os

_C = ctypes.CDLL(None) if os.name == "posix" else None


def trim() -> None:
    """Give freed memory back to the system, where the allocator would keep gigabytes of it."""
    if hasattr(_C, "malloc_trim"):
        _C.malloc_trim(0)
