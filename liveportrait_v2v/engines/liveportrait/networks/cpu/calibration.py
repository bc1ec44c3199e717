"""Which of several forms of a computation is quickest on this machine: measured once, and kept in a file.

No rule is right for all CPUs: the libraries that torch computes with use AVX-512 on some of them only.
"""

from __future__ import annotations

import json
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from .....files import atomic_write

FILE = Path(os.path.expanduser("~")) / ".cache" / "liveportrait-v2v" / "convolutions.json"
GAIN = 0.9  # of the usual form's time, that another one must not exceed: repeated measurements differ by less
RUNS = 3

T = TypeVar("T", bound=Callable[..., object])

_lock = threading.RLock()  # a form may itself ask for the quickest of others
_chosen: dict[str, str] = {}


def quickest(question: str, forms: Mapping[str, T], arguments: Callable[[], tuple[Any, ...]]) -> T:
    """Return the quickest of several forms: the first one, unless another is a tenth quicker.

    Args:
        question: what they compute; with the machine, torch's version and threads it names the answer in FILE.
        forms: functions of the same arguments, by name.
        arguments: makes those that they are measured with; some milliseconds of work are enough.
    """
    key = f"{question}, {torch.get_num_threads()} threads"
    with _lock:
        if key not in _chosen:
            known = str(_read().get(_machine(), {}).get(key, {}).get("chosen"))
            _chosen[key] = known if known in forms else _measured(key, forms, arguments())
        return forms[_chosen[key]]


def _measured(key: str, forms: Mapping[str, Callable[..., object]], arguments: tuple[Any, ...]) -> str:
    """Measure the forms in turn, and keep the answer."""
    usual = next(iter(forms))
    seconds = dict.fromkeys(forms, float("inf"))
    with torch.no_grad():
        for run in range(RUNS + 1):
            for name, form in forms.items():
                began = time.perf_counter()
                form(*arguments)
                if run:  # libraries choose their kernels at the first call
                    seconds[name] = min(seconds[name], time.perf_counter() - began)
    best = min(seconds, key=lambda name: seconds[name])
    chosen = best if seconds[best] < GAIN * seconds[usual] else usual
    milliseconds = {name: round(1e3 * value, 1) for name, value in seconds.items()}
    _keep(key, {"chosen": chosen, "milliseconds": milliseconds})
    return chosen


def _keep(key: str, answer: dict[str, object]) -> None:
    """Write an answer into FILE; where that can't be, the next process measures again."""
    known = _read()
    known.setdefault(_machine(), {})[key] = answer
    try:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(FILE) as part:
            part.write_text(json.dumps(known, indent=1), encoding="utf-8")
    except OSError:
        pass


def _read() -> dict[str, dict[str, dict[str, object]]]:
    """Return all answers by machine and question; none where the file is missing or damaged."""
    try:
        known = json.loads(FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    well_formed = isinstance(known, dict) and all(
        isinstance(answers, dict) and all(isinstance(answer, dict) for answer in answers.values())
        for answers in known.values()
    )
    return known if well_formed else {}


def _machine() -> str:
    """Return what tells this CPU and torch from others."""
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def processor() -> str:
    """Return the CPU's name; on Linux with its model, as virtual machines share names."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^(model name|cpu family|model|CPU part)\s*: (.*)$", text, re.MULTILINE))
    return " ".join(found.values()) or platform.machine()
