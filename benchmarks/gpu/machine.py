"""What a measurement was made on."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent.parent


def machine(device: str) -> dict[str, Any]:
    """Return card, driver, versions, cores, commit and sources as JSON values; None for what isn't there."""
    on_gpu = torch.device(device).type == "cuda"
    card = torch.cuda.get_device_properties(device) if on_gpu else None
    return {
        "card": card.name if card else None,
        "card_memory_mb": card.total_memory // 2**20 if card else None,
        "multiprocessors": card.multi_processor_count if card else None,
        "driver": _printed("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        if on_gpu
        else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "commit": _printed("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"),
        "sources": sources_digest(),
    }


def sources_digest() -> str:
    """Return the first digits of a SHA-256 of the library's modules, for copies that git doesn't know."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "liveportrait_v2v").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _printed(*command: str) -> str | None:
    """Return the first line that a command prints, None where it fails or there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.split("\n")
    return lines[0].strip() or None if done.returncode == 0 else None
