"""Whole runs, file to file: frames a second, what binds, memory, and what happens when it runs out or is stopped."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import resolve_precision
from liveportrait_v2v.errors import Cancelled
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.run import Result, animate
from liveportrait_v2v.settings import AnimationSettings

from . import forms
from .check import bound
from .clips import carried, long_clip, write_clip
from .clock import MemoryPeaks
from .options import Options
from .report import Report
from .timeline import busy_share, record

PART = "run"
GOALS = {"square": 100, "16:9": 60}
"""Frames a second at 720p on an H100: the least that counts."""
FLAT = 1.05
"""The most that memory may grow from 100 frames to 1,000: torch's allocator and glibc's keep what is freed."""
INTERRUPT_SECONDS = 1.0
"""From the wish to stop to the end of a run: the chunk at hand, and the threads' items."""
ENOUGH = 0.45
"""Share of what a batch needs that is left to it: too little for the batch, enough for half of it or a quarter."""
DRIVING = {"square": "driving_square", "16:9": "driving_wide"}


class Runs:
    """Runs of one engine over long clips, which are made in a folder when first needed.

    Attributes:
        engine: on the form that was chosen, or that won the search.
        folder: of the clips and outputs.
        form: words of the form.
    """

    def __init__(self, options: Options, report: Report, folder: Path):
        self._options = options
        self.folder = folder
        won = report.results["parts"].get("stages", {}).get("winner")
        self.form: str = options.forms or won or forms.usual(options.device, options.precision)
        self.engine = self.another_engine()
        self.frames = 8 if options.tiny else 1000

    def another_engine(self) -> LivePortraitEngine:
        """Return an engine of the same form."""
        return forms.engine(self.form, self._options.device, self._options.precision, self._options.batch)

    def clip(self, name: str, size: str = "720p") -> Path:
        """Return the path of a long clip.

        Raises:
            FileNotFoundError: the clips were not gathered.
        """
        path = self.folder / f"{name}_{size}_long.mp4"
        if not path.exists():
            short = carried(self._options, name)
            if size == "1080p":
                clip = Clip(short)
                duration = clip.info.duration
                assert duration is not None
                short = write_clip(
                    self.folder / f"{name}_{size}.mp4", clip, (1920, 1080), clip.audio(duration)
                )
            long_clip(path, short, self.frames)
        return path

    def go(
        self, size: str, driving: str, frames: int, engine: LivePortraitEngine | None = None, **more: Any
    ) -> Result:
        """Animate so many frames; more arguments are those of `animate`."""
        output = self.folder / f"result_{threading.get_ident()}.mp4"
        settings = AnimationSettings(video_frame_load_cap=frames)
        # Batches are never larger than chunks.
        chunk = 4 if self._options.tiny else max(8, self._options.batch)
        return animate(
            self.clip("source", size),
            self.clip(DRIVING[driving]),
            engine=engine or self.engine,
            **{"output": output, "settings": settings, "chunk": chunk, **more},
        )


def run(options: Options, report: Report) -> None:
    """Measure runs with drivers of both shapes at both sizes, then memory, trouble and company."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(options, report, Path(folder))
        report.note(PART, form=runs.form)
        few = 4 if options.tiny else 100
        peaks: dict[int, MemoryPeaks | None] = {}
        for word, frames in (("cold", few), ("warm", few), ("warm", runs.frames))[options.tiny :]:
            peaks[frames] = _try(options, report, runs, word, "720p", "square", frames)
        _try(options, report, runs, "warm", "720p", "16:9", runs.frames)
        if not options.tiny:
            _judge_memory(report, peaks[few], peaks[runs.frames])
        for what, measure in (
            ("GPU busy", _busy),
            ("out of memory", _out_of_memory),
            ("two at once", _two_at_once),
            ("interrupt", _interrupt),
            ("writing", _writing),
        ):
            report.attempt(PART, partial(measure, options, report, runs), what=what)
        for driving in () if options.tiny else DRIVING:
            _try(options, report, runs, "warm", "1080p", driving, runs.frames)


def _try(options: Options, report: Report, runs: Runs, *case: Any) -> MemoryPeaks | None:
    """Measure a run; None where it fails or no time is left."""
    word, size, driving, frames = case
    measure = partial(_measure, options, report, runs, *case)
    return report.attempt(PART, measure, case=f"{size}, {driving}, {word}", frames=frames)


def _measure(
    options: Options, report: Report, runs: Runs, word: str, size: str, driving: str, frames: int
) -> MemoryPeaks:
    """Add the row of one run.

    Stages are milliseconds a frame, summed over their threads; "outside render" is the rest of the renderer's time. The
    longest stage that works, rather than waits, is named: unless it has several threads, it binds.
    """
    runs.clip("source", size), runs.clip(DRIVING[driving])
    with MemoryPeaks(options.device) as peaks:
        result = runs.go(size, driving, frames)
    stages = {stage: seconds / result.frames * 1e3 for stage, seconds in result.seconds.items()}
    working = [stage for stage in stages if stage not in ("total", "copy") and not stage.startswith("wait")]
    longest = max(working, key=lambda stage: stages[stage])
    stages["outside render"] = stages["total"] - stages["render"]
    fps = result.frames / result.seconds["total"]
    report.add(
        PART,
        case=f"{size}, {driving}, {word}",
        frames=result.frames,
        fps=fps,
        longest=longest,
        sound=result.audio is not None,
        **{"ms a frame": stages, "GPU MB": peaks.gpu_mb, "GPU held MB": peaks.gpu_reserved_mb},
        **{"host MB": peaks.host_mb},
    )
    if options.on_gpu and size == "720p" and frames == runs.frames:
        goal = GOALS[driving]
        report.judge(PART, f"{size}, {driving}: ms a frame", 1e3 / fps, 1e3 / goal)
    return peaks


def _judge_memory(report: Report, few: MemoryPeaks | None, many: MemoryPeaks | None) -> None:
    """Judge the growth of memory from a short run to a long one, where both went through."""
    if few is None or many is None:
        return
    for what, before, after in (
        ("GPU memory, long by short run", few.gpu_mb, many.gpu_mb),
        ("host memory, long by short run", few.host_mb, many.host_mb),
    ):
        if before and after:
            report.judge(PART, what, after / before, FLAT)


def _busy(options: Options, report: Report, runs: Runs) -> None:
    """Add the share of the time in which the GPU computes, in the middle of a run; nothing without a GPU."""
    for driving in DRIVING if options.on_gpu else ():
        timeline = record(lambda driving=driving: runs.go("720p", driving, 96), operations=False)
        middle = timeline.window(0.4, 0.95)
        report.add(PART, what=f"GPU busy, 720p, {driving}", share=busy_share(middle.kernels))


def _out_of_memory(options: Options, report: Report, runs: Runs) -> None:
    """Render with too little GPU memory for a batch: it is halved, and the result stays the same within rounding.

    Graphs hold memory of their own, so that what a batch needs is measured without them.
    """
    if not options.on_gpu:
        return
    plain = forms.without(runs.form, "graphs")
    engine = forms.engine(plain, options.device, options.precision, options.batch)
    loaded = _held()
    torch.cuda.reset_peak_memory_stats()
    wanted = _frames(runs, engine)
    need = torch.cuda.max_memory_reserved() - loaded
    for form in dict.fromkeys((plain, runs.form)):
        measure = partial(_run_short_of_memory, options, report, runs, form, need, wanted)
        report.attempt(PART, measure, what=f"out of memory, {form}")


def _run_short_of_memory(
    options: Options, report: Report, runs: Runs, form: str, need: int, wanted: torch.Tensor
) -> None:
    """Judge a run that has a share of the bytes that a batch needs."""
    engine = forms.engine(form, options.device, options.precision, options.batch)
    limit = _held() + ENOUGH * need
    total = torch.cuda.get_device_properties(options.device).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        found = _frames(runs, engine)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    size = float(engine.model.batches.size)
    report.judge(PART, f"out of memory, {form}: batch", size, options.batch / 2, limit_mb=limit / 2**20)
    _judge_same(options, report, f"out of memory, {form}: result", found, wanted)


def _held() -> int:
    """Return the bytes that torch holds on the GPU and can't give back."""
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved()


def _two_at_once(options: Options, report: Report, runs: Runs) -> None:
    """Run twice at the same time in one process: both give what one alone gives."""
    wanted = _frames(runs, runs.engine)
    engines = runs.engine, runs.another_engine()
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda engine: _frames(runs, engine), engines))
    seconds = time.perf_counter() - start
    report.add(PART, what="two at once", fps=2 * len(wanted) / seconds)
    for found in both:
        _judge_same(options, report, "two at once: result", found, wanted)


def _interrupt(options: Options, report: Report, runs: Runs) -> None:
    """Ask a run to stop while the networks work on its second chunk."""
    model, asked = runs.engine.model, threading.Event()
    rendered: list[float] = []
    render = model.render

    def asking(*arguments: Any, **named: Any) -> Any:
        rendered.append(time.perf_counter())
        if len(rendered) == 2:
            asked.set()
        return render(*arguments, **named)

    before = set(runs.folder.iterdir())
    model.render = asking  # type: ignore[method-assign]
    try:
        with suppress(Cancelled):
            runs.go("720p", "square", runs.frames, output=runs.folder / "stopped.mp4", cancelled=asked.is_set)
        stopped = time.perf_counter()
    finally:
        model.render = render  # type: ignore[method-assign]
    most = INTERRUPT_SECONDS if options.on_gpu else None
    report.judge(PART, "interrupt: seconds", stopped - rendered[1], most)
    report.judge(PART, "interrupt: chunks begun", float(len(rendered)), 2.0)
    report.judge(PART, "interrupt: files left", float(len(set(runs.folder.iterdir()) - before)), 0.0)


def _writing(options: Options, report: Report, runs: Runs) -> None:
    """Time the writer alone with the source's own frames: random weights paint noise, which is dear to encode."""
    for size in ("720p",) if options.tiny else ("720p", "1080p"):
        clip = Clip(runs.clip("source", size))
        chunks = [chunk.frames for chunk in clip.chunks(8, cap=8 if options.tiny else 240)]
        start = time.perf_counter()
        with VideoWriter(runs.folder / "written.mp4", clip.info.rate) as writer:
            for frames in chunks:
                writer.write(frames)
        seconds = time.perf_counter() - start
        report.add(PART, what=f"writing real frames, {size}", fps=writer.frame_count / seconds)


def _frames(runs: Runs, engine: LivePortraitEngine) -> torch.Tensor:
    """Return the frames of a short run, uint8 [N, H, W, 3] on the CPU."""
    parts: list[torch.Tensor] = []
    sink: Callable[[Any], None] = lambda rendered: parts.append(rendered.settled().frames.cpu())  # noqa: E731
    runs.go("720p", "square", min(24, runs.frames), engine, output=None, sink=sink)
    return torch.cat(parts)


def _judge_same(
    options: Options, report: Report, what: str, found: torch.Tensor, wanted: torch.Tensor
) -> None:
    """Judge the relative difference of frames: that of the networks, and half a level for the rounding."""
    spread = wanted.float().std().item()
    difference = (found.float() - wanted.float()).square().mean().sqrt().item() / spread
    precision = resolve_precision(options.precision, options.device)
    report.judge(PART, what, difference, bound("chain", precision, options.on_gpu) + 0.5 / spread)
