"""Runs: a plan is made by an engine, and its frames go to a video file and to sinks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ..concurrency import Behind, HostCopies, Stopwatch
from ..engines.base import Engine, HostedEngine, RenderedFrames
from ..engines.checks import check_plan
from ..errors import Cancelled, SettingsError
from ..media import Clip, VideoWriter
from ..plan import MotionTemplate, Role, RunPlan, make_plan
from ..settings import AnimationSettings, MotionOptions
from ..tracking import TrackMemory
from .beside import AlphaTrack, DepthTrack, with_alpha, with_depth
from .hosted import HostedRun
from .look import first_look
from .result import Progress, Result, TakenFace
from .streaming import StreamingRun

__all__ = ["Progress", "RenderedFrames", "Result", "Run", "TakenFace", "animate", "first_look", "run_plan"]

MASK_CRF = 12
"""Quality of a file of masks."""


class Run(AbstractContextManager[Any], Protocol):
    """A plan that an engine carries out; leaving the block ends its threads."""

    @property
    def frames_without_source_face(self) -> int | None:
        """As in `Result`, so far."""

    @property
    def frames_without_driving_face(self) -> int | None:
        """As in `Result`, so far."""

    @property
    def notes(self) -> tuple[str, ...]:
        """As in `Result`, so far."""

    @property
    def job(self) -> dict[str, Any] | None:
        """As in `Result`."""

    @property
    def faces(self) -> tuple[TakenFace, ...]:
        """As in `Result`, so far."""

    def frames(self) -> Iterator[RenderedFrames]:
        """Yield the result in chunks."""

    def progress(self, done: int, seconds: float) -> Progress:
        """Return the progress after this many frames and seconds."""


def animate(
    source: Clip | str | os.PathLike[str],
    driving: Clip | MotionTemplate | str | os.PathLike[str] | None = None,
    *,
    engine: Engine | HostedEngine,
    roles: Sequence[Role] | None = None,
    output: str | os.PathLike[str] | None = None,
    mask_output: str | os.PathLike[str] | None = None,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    sink: Callable[[RenderedFrames], None] | None = None,
    masks: bool = False,
    crops: bool = False,
    alpha: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 8,
    crf: int | None = None,
    encoder: str = "software",
    depth: int = 8,
) -> Result:
    """Animate one face of the source clip by the driving clip's, or several by a role each: a plan, carried out.

    Args:
        source: clip or still with the faces to animate; for the Segmind engine also a public URL.
        driving: clip or still with the motion, as `source`; or a motion template of the engine. Short for one role.
        roles: the faces to animate and what leads each, instead of `driving`; as in `make_plan`.
        settings, options: of the one role that `driving` stands for; defaults where left out.
        chunk: frames at a time. Memory depends on it and on the frame size, not on the length of the clips, but for
            6 KB a frame and face of a clip that is read more than once.

    Raises:
        SettingsError: both `driving` and `roles` are given, or neither; or what `make_plan` raises.

    Everything else, errors included, is as in `run_plan`. For example:

        >>> result = animate("source.mp4", "driving.mp4", engine=create_engine("draft"), output="out.mp4")
        >>> result.frames, result.rate
        (97, Fraction(24000, 1001))
        >>> roles = [Role(Clip("a.mp4"), source_face=0), Role(Clip("b.mp4"), source_face=1, drive_face=1)]
        >>> result = animate("two_people.mp4", roles=roles, engine=create_engine("draft"), output="out.mp4")
    """

    def opened(clip: Clip | str | os.PathLike[str]) -> Clip:
        if isinstance(clip, Clip):
            return clip
        return engine.clip(clip, cancelled) if isinstance(engine, HostedEngine) else Clip(clip)

    if (driving is None) == (roles is None):
        got = "neither" if roles is None else "both"
        raise SettingsError(
            f"animate takes a driving clip, or roles with a driving clip each, got {got}; give one of them"
        )
    if roles is not None and not (settings is None and options is None):
        raise SettingsError(
            "settings and options belong to each role, got them beside roles; give them to Role"
        )
    source = opened(source)
    if driving is not None:
        driving = driving if isinstance(driving, MotionTemplate) else opened(driving)
        roles = [Role(driving, settings or AnimationSettings(), options or MotionOptions())]
    assert roles is not None  # one of the two is given
    return run_plan(
        make_plan(source, roles, chunk=chunk),
        engine=engine,
        output=output,
        mask_output=mask_output,
        sink=sink,
        masks=masks,
        crops=crops,
        alpha=alpha,
        on_progress=on_progress,
        cancelled=cancelled,
        crf=crf,
        encoder=encoder,
        depth=depth,
    )


def run_plan(
    plan: RunPlan,
    *,
    engine: Engine | HostedEngine,
    output: str | os.PathLike[str] | None = None,
    mask_output: str | os.PathLike[str] | None = None,
    sink: Callable[[RenderedFrames], None] | None = None,
    masks: bool = False,
    crops: bool = False,
    alpha: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    crf: int | None = None,
    encoder: str = "software",
    tracks: TrackMemory | None = None,
    depth: int = 8,
) -> Result:
    """Carry out a plan.

    Args:
        output: video file to write, replaced once the new one is complete; None writes none.
        mask_output: video file of the mask of what was pasted, in grey levels.
        sink: called with each chunk of the result, in order, in a thread of its own; frames and masks are on the CPU.
        masks: give the sink the mask of what was pasted as well, 4 bytes a pixel; a hosted engine has none.
        crops: give the sink each face's picture before it was pasted as well; only the LivePortrait engine has any.
        alpha: give the sink RGBA where the source has an alpha channel, with straight colours. A file keeps that of
            itself where its kind can (`media.keeps_alpha`). Elsewhere, and from a hosted engine, it is put over black.
        on_progress: called after each chunk, and during an engine's survey of the driving clip.
        cancelled: asked before each chunk, and several times a second while a hosted engine works; True ends the run.
        crf, encoder: quality and encoder of the video file, as in `VideoWriter`; a lower crf is better and larger.
        tracks: what earlier runs kept of their clips' faces, and what this one keeps for the next: 6 KB a frame and
            face. A hosted engine has no use for it.
        depth: bits a colour of the video file, 8 or 10 as in `VideoWriter`. Of 10, the source's colours keep their bits
            where nothing is pasted over them; faces have 8. Needs a local engine, and keeps no alpha.

    Raises:
        MediaError: a clip can't be read, or the output not written.
        SettingsError: a setting doesn't fit the driving clip, or the engine does not support an option or template, or
            has no mask.
        FaceNotFoundError: a chosen face is in no frame of its clip.
        Cancelled: `cancelled` returned True.
        LivePortraitError: whatever else a hosted engine raises.
        In every case, no unfinished file is left.
    """
    check_plan(plan, engine)
    if mask_output is not None and isinstance(engine, HostedEngine):
        raise SettingsError(f"the {engine.name} engine gives no mask; take a local engine for a mask file")
    if depth != 8 and isinstance(engine, HostedEngine):
        raise SettingsError(
            f"depth must be 8 with the {engine.name} engine, whose clips have no more bits a colour, got {depth}; "
            "take a local engine for more"
        )
    if depth != 8 and alpha and plan.source.info.has_alpha:
        raise SettingsError(f"depth must be 8 to keep the source's alpha, got {depth} and alpha=True")
    plan, alpha_track, over_black = with_alpha(plan, engine, output, alpha, depth)
    plan, depth_track = with_depth(plan, depth if output is not None else 8)
    clock, start = Stopwatch(), time.perf_counter()
    run: Run
    if isinstance(engine, HostedEngine):
        run = HostedRun(plan, engine, clock, on_progress=on_progress, cancelled=cancelled)
    else:
        run = StreamingRun(
            plan,
            engine,
            clock,
            masks=masks or mask_output is not None or depth_track is not None,
            crops=crops,
            on_progress=on_progress,
            cancelled=cancelled,
            tracks=tracks,
        )
    done, copies, notes = 0, HostCopies(), plan.notes + over_black

    with ExitStack() as stack:
        sinks = [] if sink is None else [sink]
        if output is not None:
            # Opened before the engine starts: nothing is computed or paid for an output that can't be written.
            writer = stack.enter_context(
                VideoWriter(output, plan.rate, audio=plan.audio, crf=crf, encoder=encoder, depth=depth)
            )
            notes += writer.changes(plan.size)
            sinks.append(lambda rendered: writer.write(_for_file(rendered, depth_track)))
        if mask_output is not None:
            mask_writer = stack.enter_context(VideoWriter(mask_output, plan.rate, crf=MASK_CRF))
            sinks.append(lambda rendered: mask_writer.write(_grey(rendered)))
        behind = stack.enter_context(
            Behind[_OnItsWay](lambda leaving: _feed(sinks, leaving.get(clock), alpha_track, clock))
        )
        stack.enter_context(run)
        for rendered in _until_cancelled(run.frames(), cancelled, plan.frame_count):
            leaving = _OnItsWay(rendered, copies)
            with clock("wait sink"):
                behind.put(leaving)
            done += len(rendered)
            if on_progress is not None:
                on_progress(run.progress(done, time.perf_counter() - start))

    return Result(
        frames=done,
        frames_without_source_face=run.frames_without_source_face,
        frames_without_driving_face=run.frames_without_driving_face,
        source_rate=plan.source.info.rate,
        driving_rate=plan.roles[0].driving_rate,
        rate=plan.rate,
        size=plan.size,
        duration=done / plan.rate,
        audio_source=plan.audio_source,
        seconds={**clock.seconds(), "total": time.perf_counter() - start},
        output=None if output is None else Path(output),
        audio=plan.audio,
        notes=notes + tuple(f"the source clip {note}" for note in plan.source.damage) + run.notes,
        job=run.job,
        faces=run.faces,
    )


def _for_file(rendered: RenderedFrames, depth_track: DepthTrack | None) -> torch.Tensor:
    return rendered.frames if depth_track is None else depth_track.under(rendered)


def _until_cancelled(
    frames: Iterator[RenderedFrames], cancelled: Callable[[], bool] | None, total: int
) -> Iterator[RenderedFrames]:
    """Pass chunks on; before each one is made, ask whether the caller wants to stop.

    Raises:
        Cancelled: the caller does.
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


def _grey(rendered: RenderedFrames) -> torch.Tensor:
    """Return the mask as pictures, uint8 [N, H, W, 3]."""
    assert rendered.mask is not None  # the run was asked for it
    return rendered.mask.mul(255).round().to(torch.uint8).unsqueeze(-1).expand(-1, -1, -1, 3)


class _OnItsWay:
    """A chunk of the result whose frames, mask and crops are being copied to the host."""

    def __init__(self, rendered: RenderedFrames, copies: HostCopies):
        masks = () if rendered.mask is None else (rendered.mask,)
        self._copy = copies.start(rendered.frames, *masks, *rendered.crops)
        self._rendered = rendered

    def get(self, clock: Stopwatch) -> RenderedFrames:
        """Return the chunk on the host once it is there."""
        with clock("copy"):
            frames, *rest = self._copy.get()
            settled = self._rendered.settled()
            if settled.frames is not self._rendered.frames:
                frames = settled.frames.cpu()  # what was copied has been computed again
        mask = None if settled.mask is None else rest.pop(0)
        return replace(settled, frames=frames, mask=mask, crops=tuple(rest))


def _feed(
    sinks: Iterable[Callable[[RenderedFrames], object]],
    rendered: RenderedFrames,
    alpha: AlphaTrack | None,
    clock: Stopwatch,
) -> None:
    with clock("write"):
        if alpha is not None:
            rendered = alpha.added_to(rendered)
        for sink in sinks:
            sink(rendered)
