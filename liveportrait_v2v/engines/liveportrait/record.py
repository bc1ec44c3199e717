"""Recording of motion templates from driving clips."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import torch

from ...concurrency import Ahead
from ...errors import Cancelled
from ...media import Clip
from ...settings import AnimationSettings, MotionOptions
from ...tracking import TrackedChunk, TrackedClip
from .engine import LivePortraitEngine
from .motion import ROW, Motion
from .template import LivePortraitTemplate, TemplateError


def record_template(
    clip: Clip | str | os.PathLike[str],
    engine: LivePortraitEngine,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    *,
    on_frames: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 8,
) -> LivePortraitTemplate:
    """Record the template of a driving clip or still: the motion that a run with these settings reads, not smoothed.

    Args:
        on_frames: called with the number of frames recorded so far.
        cancelled: polled for each chunk; True ends the recording.
        chunk: frames at a time.

    Raises:
        MediaError: the clip can't be read.
        TemplateError: it shows no face.
        Cancelled: `cancelled` returned True.
    """
    settings, options = settings or AnimationSettings(), options or MotionOptions()
    clip = clip if isinstance(clip, Clip) else Clip(clip)
    rate, number = clip.info.rate, settings.drive_face_index
    session = engine.session(settings, options, rate, rate)
    rows, begins = [], []
    with TrackedClip(
        clip,
        (number,),
        device=engine.device,
        order=options.face_order,
        chunk=chunk,
        add_points=engine.add_points,
    ) as tracked:

        def watched(chunks: Iterable[tuple[TrackedChunk, ...]]) -> Iterator[TrackedChunk]:
            for (part,) in chunks:
                if cancelled is not None and cancelled():
                    raise Cancelled("stopped while reading the driving clip")
                yield part

        with Ahead(tracked.chunks(settings.video_frame_load_cap, keep=True)) as chunks:
            session.survey(watched(chunks))
        with Ahead(tracked.chunks(settings.video_frame_load_cap)) as chunks:
            for row, begin in session.unsmoothed_motions(watched(chunks)):
                rows.append(row)
                begins.append(begin)
                if on_frames is not None:
                    on_frames(len(rows))
    present = torch.tensor([row is not None for row in rows])
    if not present.any():
        raise TemplateError(f"face {number} is in none of the {len(rows)} frames read; set drive_face_index")
    motion = torch.stack([torch.zeros(ROW) if row is None else row.cpu() for row in rows])
    return LivePortraitTemplate(Motion.unpack(motion), present, torch.tensor(begins), rate)
