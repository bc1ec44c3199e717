"""The flow of a run: clips, their pairing and sound, then what an engine makes of them, into the sinks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch

from ..concurrency import Behind, Stopwatch
from ..engines.base import Engine, HostedEngine, MotionTemplate, RunPlan
from ..errors import Cancelled
from ..media import Clip, VideoWriter
from ..plan.pairing import pair
from ..plan.soundtrack import sound_of
from ..settings import AnimationSettings, MotionOptions
from .hosted import HostedRun
from .result import Progress, Result
from .streaming import StreamingRun

__all__ = ["Progress", "Result", "animate"]


def animate(
    source: Clip | str | os.PathLike,
    driving: Clip | MotionTemplate | str | os.PathLike,
    *,
    engine: Engine | HostedEngine,
    output: str | os.PathLike | None = None,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    sink: Callable[[torch.Tensor], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 8,
    crf: int | None = None,
) -> Result:
    """Animates the source clip's face by the driving clip's.

    Memory depends on the chunk and the frame size, not on the clips' length.

    Args:
        source: clip or still with the face to animate; for the Segmind engine also a public URL.
        driving: clip or still with the motion; as `source`, or a recording of it, for the engine that made it.
        output: video file to write, replaced when the new one is whole; None writes none.
        sink: called with each chunk of the result, uint8 [N, H, W, 3], in order, in a thread of its own.
        on_progress: called after each chunk, those that an engine looks at before the run too.
        cancelled: asked before each chunk, and several times a second while an engine has whole clips; True ends
            the run with Cancelled.
        chunk: frames at a time.
        crf: quality of the video file, as `VideoWriter` has it; lower is better and larger.

    Raises:
        MediaError: a clip can't be read, or the output not written.
        SettingsError: a setting doesn't fit the driving clip, or a recording not the engine.
        FaceNotFoundError: a chosen face is in no frame of its clip.
        Cancelled: `cancelled` said so.
        LivePortraitError: whatever else an engine that takes whole clips raises.
        Whatever happens, no half-written file is left.
    """
    settings, options = settings or AnimationSettings(), options or MotionOptions()
    kind = HostedRun if isinstance(engine, HostedEngine) else StreamingRun
    run = kind(engine, on_progress, cancelled)
    clock, start = Stopwatch(), time.perf_counter()
    source, driving = run.clips(source, driving)
    pairing = pair(source.info, driving.info, settings, options)
    sound, whose = sound_of(source, driving, pairing, settings)
    take = RunPlan(source, driving, settings, options, pairing, sound, whose, chunk)
    done = 0

    with ExitStack() as stack:
        sinks = [] if sink is None else [sink]
        if output is not None:
            # Before the engine starts: a place that can't be written to is no reason to compute, or to pay.
            writer = stack.enter_context(VideoWriter(output, pairing.rate, audio=sound, crf=crf))
            sinks.append(writer.write)
        behind = stack.enter_context(Behind(lambda frames: _feed(sinks, frames, clock)))
        for frames in _unless(cancelled, run.frames(take, clock, stack), pairing.frames):
            behind.put(frames)
            done += len(frames)
            if on_progress is not None:
                on_progress(run.progress(done, pairing.frames, time.perf_counter() - start))

    return Result(
        frames=done,
        frames_without_source_face=run.lost_source,
        frames_without_driving_face=run.lost_driving,
        source_rate=source.info.rate,
        driving_rate=driving.info.rate,
        rate=pairing.rate,
        size=source.output_size(),
        duration=done / pairing.rate,
        audio=whose,
        seconds={**clock.seconds(), "total": time.perf_counter() - start},
        output=None if output is None else Path(output),
        sound=sound,
        notes=run.notes,
        job=run.job,
    )


def _unless(
    cancelled: Callable[[], bool] | None, frames: Iterator[torch.Tensor], total: int
) -> Iterator[torch.Tensor]:
    """The chunks, each of them made only if the caller does not want to stop.

    Raises:
        Cancelled: it does.
    """
    done = 0
    while True:
        if cancelled is not None and cancelled():
            raise Cancelled(f"stopped after {done} of {total} frames")
        chunk = next(frames, None)
        if chunk is None:
            return
        yield chunk
        done += len(chunk)


def _feed(sinks: list[Callable[[torch.Tensor], object]], frames: torch.Tensor, clock: Stopwatch) -> None:
    with clock("write"):
        for sink in sinks:
            sink(frames)
