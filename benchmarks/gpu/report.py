"""Results as they come: a JSON file and a table, written again after each row.

A run that is killed keeps what it measured, and a part that fails leaves its error and lets the others go on.
"""

from __future__ import annotations

import gc
import json
import math
import os
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from .options import Options
from .table import markdown

T = TypeVar("T")
JSON_NAME, TABLE_NAME = "gpu.json", "gpu.md"


class Report:
    """The results of one call, in a folder.

    Attributes:
        results: JSON values: "machine", "options" and "parts", where each part has "rows", "seconds", "error" and
            values of its own.
    """

    def __init__(
        self, folder: Path, machine: dict[str, Any], options: Options, parts: dict[str, Any] | None = None
    ):
        """Begin with the parts of an earlier call, if there are any."""
        self._folder = folder
        self._options = options
        self.results: dict[str, Any] = {
            "machine": machine,
            "options": {
                "device": options.device,
                "precision": options.precision,
                "batch": options.batch,
                "forms": options.forms,
                "tiny": options.tiny,
                "seconds_limit": options.seconds_limit,
            },
            "parts": parts or {},
        }
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, part: Callable[[Options, Report], None]) -> None:
        """Run a part; what it raises is recorded as the part's error."""
        begun = time.monotonic()
        self._begin(name)
        try:
            part(self._options, self)
        except Exception as error:
            self.results["parts"][name]["error"] = described(error)
        self.results["parts"][name]["seconds"] = round(time.monotonic() - begun, 1)
        self.write()

    def lost(self, name: str, error: str) -> None:
        """Record the error of a part that couldn't record it itself."""
        self.results["parts"].setdefault(name, {"rows": [], "seconds": None, "error": None})["error"] = error
        self.write()

    def add(self, part: str, **row: Any) -> None:
        """Add a row to a part."""
        self.results["parts"][part]["rows"].append(_plain(row))
        self.write()
        print(f"{part}: " + ", ".join(f"{name} {_short(value)}" for name, value in row.items()), flush=True)

    def note(self, part: str, **values: Any) -> None:
        """Set values of a part as a whole."""
        self.results["parts"][part].update(_plain(values))
        self.write()

    def judge(self, part: str, what: str, value: float | None, bound: float | None, **more: Any) -> None:
        """Add a row whose value must not be above its bound.

        Args:
            value: None and NaN are never in order.
            bound: None: the value is for comparison, and the row's "ok" null.
        """
        ok = None if bound is None else value is not None and value <= bound  # False for NaN
        self.add(part, what=what, value=value, bound=bound, ok=ok, **more)

    def attempt(self, part: str, measure: Callable[[], T], needs: float = 0, **what: Any) -> T | None:
        """Return what a measurement returns; what it raises becomes a row with `what` and the error, and None.

        The library's own warnings become rows as well: it goes on with another form, batch or precision then, and what
        was measured is not what was asked for.

        Args:
            needs: seconds that must be left, or the measurement is left out and a row says so.
        """
        try:
            left = self._options.seconds_left()
            if left < needs:
                raise OutOfTimeError(f"left out: {left:.0f} s are left, {needs:g} s are needed")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    return measure()
                finally:
                    for text in _own(caught):
                        self.add(part, **what, warning=text)
        except Exception as error:
            self.add(part, **what, error=described(error))
            return None
        finally:
            # Networks are in circles of references, and a form's graphs hold gigabytes.
            gc.collect()
            torch.cuda.empty_cache()

    def write(self) -> None:
        """Write both files, each in one step."""
        texts = {
            JSON_NAME: json.dumps(self.results, indent=1, allow_nan=False),
            TABLE_NAME: markdown(self.results),
        }
        for name, text in texts.items():
            part = self._folder / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            os.replace(part, self._folder / name)

    def _begin(self, name: str) -> None:
        self.results["parts"][name] = {"rows": [], "seconds": None, "error": None}


def earlier_parts(folder: Path) -> dict[str, Any]:
    """Return the parts that a folder has results of."""
    path = folder / JSON_NAME
    return json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}


class OutOfTimeError(Exception):
    """Too little time is left for a measurement."""


def _own(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return the library's warnings, each once."""
    ours = [item for item in caught if item.category.__module__.startswith("liveportrait_v2v")]
    return list(dict.fromkeys(f"{item.category.__name__}: {item.message}" for item in ours))


def described(error: Exception) -> str:
    """Return an error's kind, first line and place."""
    lines = str(error).strip().splitlines() or [""]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {lines[0][:300]} ({Path(place.filename).name}:{place.lineno})"


def _plain(value: Any) -> Any:
    """Return JSON values: floats that JSON lacks become None, others have five digits."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
