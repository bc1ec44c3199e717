"""How fast are F, M, W and G: in each form, in batches, beside the reference and the floor."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from liveportrait_v2v.faces.nets import NETS, load_net

from . import forms
from .clock import Clock, MemoryPeaks
from .floor import floors, measured_rates
from .options import Options
from .report import Report
from .subjects import NAMES, Calls, Given, our_calls, reference_calls, reference_networks

PART = "stages"
BATCHES = (1, 2, 4, 8, 16)
GAIN, COMPILER_GAIN = 0.99, 0.85
"""A word stays in the form if it takes the frame's time below this share of what it was: repeated figures differ by
less than a hundredth, and users wait a minute for the compiler."""
FOR_THE_REST, FOR_A_COMPILER = 110, 90
"""Seconds that the runs and the profile take, and the compiler at most for W and G."""


def stages(options: Options, report: Report) -> None:
    """Measure the floor, the reference, and forms in batches: `none`, the usual one, and that asked for or found.

    Without a form asked for, the search tries them one on top of the other.
    """
    batch = 1 if options.tiny else options.batch
    report.attempt(PART, partial(_measure_floor, options, report, batch), what="floor")
    for half, count in ((False, batch), (True, 1), (True, batch)) if options.on_gpu else ((False, batch),):
        _try_reference(options, report, count, half)
    usual = forms.usual(options.device, options.precision)
    if options.forms:
        winner = options.forms
        _try_ours(options, report, winner, batch)
    else:
        winner = _search(options, report, batch)
    if usual != winner and not options.tiny:
        _try_ours(options, report, usual, batch)
    for form in dict.fromkeys((forms.NONE, usual, winner)):
        for count in () if options.tiny else BATCHES:
            if count != batch:
                _try_ours(options, report, form, count)
    for name in NETS:
        for count in sorted({1, batch}):
            report.attempt(
                PART, partial(_measure_faces, options, report, name, count), form=name, batch=count
            )
    if options.on_gpu:
        mode = "max-autotune" if options.max_autotune else "default"
        for count in (1, batch):
            _try_reference(options, report, count, half=True, compiled=mode)


def _measure_floor(options: Options, report: Report, batch: int) -> None:
    rates = measured_rates(options)
    report.note(PART, rates=asdict(rates))
    for row in floors(rates, options.precision, batch):
        report.add(PART, **row)


def _search(options: Options, report: Report, batch: int) -> str:
    """Add words to the form one by one, keep those that pay, and return the winner.

    Words that `check` found wrong in this precision, where its results are there, are not tried.
    """
    checked = report.results["parts"].get("check", {"rows": []})["rows"]
    wrong = [row["what"].split(":")[0] for row in checked if row.get("ok") is False]
    best = forms.NONE
    ms = _try_ours(options, report, best, batch)
    for word in () if options.tiny else (*forms.SEARCHED, "compiled"):
        if any(f"{options.precision}, {part}" in wrong for part in word.split(",")):
            continue
        form = forms.joined(best, word)
        if form == best:
            continue
        needs = FOR_THE_REST + FOR_A_COMPILER if word == "compiled" else 0
        found = _try_ours(options, report, form, batch, needs)
        gain = COMPILER_GAIN if word == "compiled" else GAIN
        if found is not None and (ms is None or found < gain * ms):
            best, ms = form, found
        report.note(PART, winner=best, winner_batch=batch, winner_ms=ms)
    report.note(PART, winner=best, winner_batch=batch, winner_ms=ms)
    return best


def _names(options: Options) -> tuple[str, ...]:
    """Return the networks to measure, the whole frame last."""
    return ("M",) if options.tiny else NAMES


def _try_ours(options: Options, report: Report, form: str, batch: int, needs: float = 0) -> float | None:
    """Measure a form and return a frame's milliseconds; None where it fails or too little time is left."""

    def measure() -> float:
        networks = forms.networks(form, options.device, options.precision)
        with forms.switched(form, options.device):
            calls = our_calls(networks, Given.random(batch, options.device), _names(options))
            return _measure(options, report, form, batch, calls)

    return report.attempt(PART, measure, needs, form=form, batch=batch)


def _try_reference(
    options: Options, report: Report, batch: int, half: bool, compiled: str | None = None
) -> None:
    """Measure the reference; `half` and `compiled` as in `reference_calls`."""
    form = "reference, autocast fp16" if half else "reference, fp32"
    form += f", compiled ({compiled})" if compiled else ""

    def measure() -> None:
        given, networks = Given.random(batch, options.device), reference_networks(options.device)
        calls = reference_calls(networks, given, half, compiled, _names(options))
        _measure(options, report, form, batch, calls)

    needs = FOR_THE_REST + FOR_A_COMPILER if compiled else 0
    report.attempt(PART, measure, needs, form=form, batch=batch)


def _measure_faces(options: Options, report: Report, name: str, count: int) -> None:
    """Add a row for one of the tracker's networks."""
    net = load_net(name, options.device)
    pictures = torch.rand(count, net.size, net.size, 3, device=options.device)
    _measure(options, report, name, count, {name: lambda: net(pictures)})


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
