"""How fast are F, M, W and G: in each form, in batches, beside the reference and the floor."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from . import forms
from .clock import Clock, MemoryPeaks
from .floor import floors, measured_rates
from .options import Options
from .report import Report
from .subjects import NAMES, Calls, Given, our_calls, reference_calls, reference_networks

PART = "stages"
BATCHES = (1, 2, 4, 8, 16)
GAIN = 0.99
"""A word stays in the form if it takes the frame's time below this share of what it was: repeated figures differ by
less than a hundredth."""
FOR_THE_REST, FOR_A_COMPILER = 110, 90
"""Seconds that the runs and the profile take, and the compiler at most for W and G."""


def stages(options: Options, report: Report) -> None:
    """Measure the floor, the reference, the forms one on top of the other, and the winner in batches."""
    batch = 1 if options.tiny else options.batch
    with report.attempt(PART, what="floor"):
        rates = measured_rates(options)
        report.note(PART, rates=asdict(rates))
        for row in floors(rates, options.precision, batch):
            report.add(PART, **row)
    for half, count in ((False, batch), (True, 1), (True, batch)) if options.on_gpu else ((False, batch),):
        form = f"reference, {'autocast fp16' if half else 'fp32'}"
        with report.attempt(PART, form=form, batch=count):
            _measure_reference(options, report, form, count, half)
    winner = _search(options, report, batch)
    for form in dict.fromkeys(("", winner)):
        for count in () if options.tiny else BATCHES:
            if count != batch:
                with report.attempt(PART, form=form or "eager", batch=count), forms.usual_backends():
                    _measure_ours(options, report, form, count)
    if options.on_gpu:
        mode = "max-autotune" if options.max_autotune else "default"
        for count in (1, batch):
            form = f"reference, autocast fp16, compiled ({mode})"
            needs = FOR_THE_REST + FOR_A_COMPILER
            with report.attempt(PART, needs=needs, form=form, batch=count):
                _measure_reference(options, report, form, count, half=True, compiled=mode)


def _search(options: Options, report: Report, batch: int) -> str:
    """Add words to the form one by one, keep those that pay, and return the winner."""
    best = ""
    ms = _tried(options, report, best, batch)
    words = () if options.tiny else (*forms.SEARCHED, *forms.LAST)
    for word in words:
        form = forms.joined(best, word)
        found = _tried(
            options, report, form, batch, FOR_THE_REST + FOR_A_COMPILER if word == "compiled" else 0
        )
        if found is not None and (ms is None or found < GAIN * ms):
            best, ms = form, found
        report.note(PART, winner=best or "none", winner_batch=batch, winner_ms=ms)
    report.note(PART, winner=best or "none", winner_batch=batch, winner_ms=ms)
    return best


def _names(options: Options) -> tuple[str, ...]:
    """Return the networks to measure, the whole frame last."""
    return ("M",) if options.tiny else NAMES


def _tried(options: Options, report: Report, form: str, batch: int, needs: float = 0) -> float | None:
    """Measure a form and return a frame's milliseconds; None where it fails or no time is left."""
    ms = None
    with report.attempt(PART, needs=needs, form=form or "eager", batch=batch), forms.usual_backends():
        ms = _measure_ours(options, report, form, batch)
    return ms


def _measure_ours(options: Options, report: Report, form: str, batch: int) -> float:
    networks = forms.networks(form, options.device, options.precision)
    calls = our_calls(networks, Given.random(batch, options.device), _names(options))
    return _measure(options, report, form or "eager", batch, calls)


def _measure_reference(
    options: Options, report: Report, form: str, batch: int, half: bool, compiled: str | None = None
) -> None:
    given = Given.random(batch, options.device)
    calls = reference_calls(reference_networks(options.device), given, half, compiled, _names(options))
    _measure(options, report, form, batch, calls)


def _measure(options: Options, report: Report, form: str, batch: int, calls: Calls) -> float:
    """Add a row of milliseconds a frame, and return those of the last call, the whole frame.

    "launch ms" are the host's for the whole frame: if they are more than the GPU's, the host binds. "first seconds"
    are those of the first call, in which torch compiles, captures or chooses kernels.
    """
    clock = Clock(options.device, warm=0 if options.tiny else 3)
    whole = list(calls.values())[-1]
    with MemoryPeaks(options.device) as peaks:
        start = time.perf_counter()
        whole()
        clock.wait()
        first = time.perf_counter() - start
        ms = {name: clock.ms(run) / batch for name, run in calls.items()}
        launch = clock.launch_ms(whole)
    row: dict[str, Any] = {"form": form, "batch": batch, "ms": ms}
    row["launch ms"] = None if launch is None else launch / batch
    report.add(PART, **row, **{"first seconds": first, "GPU MB": peaks.gpu_mb})
    return ms[list(calls)[-1]]
