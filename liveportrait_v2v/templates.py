"""Motion templates: a driving clip's motion without its pictures, recorded, written and read.

A file is safetensors: what the engine's template has, and in its metadata the format's name, the engine's, and the
frame rate as a fraction, or `STILL`. Pickles of motion in LivePortrait's format are read too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from .concurrency import Ahead
from .engines.base import Engine, TemplateSession
from .engines.draft import template as draft
from .engines.liveportrait import template as liveportrait
from .errors import Cancelled, SettingsError, TemplateError
from .files import atomic_write
from .media import Clip
from .plan import MotionTemplate
from .plan.plan import chunk_size
from .settings import AnimationSettings, MotionOptions
from .tracking import TrackedChunk, TrackedClip

FORMAT = "liveportrait-v2v motion 1"
STILL = "still"
"""What stands in place of the rate in a still's file."""
MAX_RATE = 1000
"""Most frames per second."""
_Reader = Callable[[Mapping[str, torch.Tensor], Fraction | None], MotionTemplate]
_READERS: dict[str, _Reader] = {"draft": draft.template_of, "liveportrait": liveportrait.template_of}


def record_template(
    clip: Clip | str | os.PathLike[str],
    engine: Engine,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    *,
    on_frames: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> MotionTemplate:
    """Record the template of a driving clip or still: it leads a run with these settings as the clip itself does.

    Args:
        engine: that reads the motion, and that the template is for.
        settings: `drive_face_index` chooses the face, `video_frame_load_cap` how many frames are read;
            `crop_drive_face` is the LivePortrait engine's.
        options: `face_order` numbers the faces.
        on_frames: called with the number of frames recorded so far.
        cancelled: polled for each chunk; True ends the recording.

    Raises:
        MediaError: the clip can't be read.
        SettingsError: the engine has no motion templates.
        TemplateError: the clip shows no face.
        Cancelled: `cancelled` returned True.
    """
    settings, options = settings or AnimationSettings(), options or MotionOptions()
    clip = clip if isinstance(clip, Clip) else Clip(clip)
    info, number, cap = clip.info, settings.drive_face_index, settings.video_frame_load_cap
    # A template has every frame: a run that it leads chooses the reference.
    session = engine.session(settings, replace(options, reference_frame=0), info.rate, info.rate)
    if not isinstance(session, TemplateSession):
        raise SettingsError(f"the {engine.name} engine has no motion templates; give the driving clip")
    done = 0

    def watched(chunks: Iterable[tuple[TrackedChunk, ...]]) -> Iterator[TrackedChunk]:
        for (part,) in chunks:
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while reading the driving clip")
            yield part

    def counted(chunks: Iterator[TrackedChunk]) -> Iterator[TrackedChunk]:
        nonlocal done
        for part in chunks:
            yield part
            done += len(part)
            if on_frames is not None:
                on_frames(done)

    tracked = TrackedClip(
        clip,
        (number,),
        device=engine.device,
        order=options.face_order,
        chunk=chunk_size([info]),
        add_points=engine.add_points,
    )
    with tracked:
        with Ahead(tracked.chunks(cap, keep=True)) as chunks:
            session.survey(watched(chunks))
        with Ahead(tracked.chunks(cap)) as chunks:
            template = session.record(counted(watched(chunks)), info)
    if not template.present.any():
        raise TemplateError(
            f"face {number} is in none of the {len(template)} frames read; set drive_face_index"
        )
    return template


def note_of_length(clip: Clip, template: MotionTemplate) -> str | None:
    """Return a sentence where the template has fewer frames than the clip that it was recorded from."""
    count = clip.info.frame_count
    if len(template) >= count:
        return None
    return (
        f"the template has the first {len(template)} of the clip's {count} frames; raise video_frame_load_cap "
        "(0 = all) for more"
    )


def write_template(path: str | os.PathLike[str], template: MotionTemplate) -> None:
    """Write a template as safetensors; the file appears complete or not at all.

    Raises:
        OSError: the file can't be written.
    """
    data = template_bytes(template)
    with atomic_write(path) as part:
        part.write_bytes(data)


def template_bytes(template: MotionTemplate) -> bytes:
    """Return what a template's file holds."""
    rate = template.info.rate
    about = {"format": FORMAT, "engine": template.engine, "rate": STILL if rate is None else str(rate)}
    return save({name: tensor.cpu().contiguous() for name, tensor in template.tensors().items()}, about)


def read_template(path: str | os.PathLike[str]) -> MotionTemplate:
    """Read a motion template: a file of this project (.safetensors), or motion in LivePortrait's format (.pkl).

    Pickles are loaded with an unpickler for numbers and numpy arrays only.

    Raises:
        TemplateError: the file can't be read, or is not a template.
    """
    path = Path(path)
    read: Callable[[Path], MotionTemplate] = (
        liveportrait.read_pickle if path.suffix.lower() == ".pkl" else _read
    )
    try:
        template = read(path)
        _check(template)
    except OSError as error:
        raise TemplateError(f"{path}: can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise TemplateError(f"{path}: is no motion template: {error}") from error
    # Damaged bytes lead the readers to whatever they happen to raise.
    except Exception as error:
        raise TemplateError(f"{path}: is no motion template: {type(error).__name__}: {error}") from error
    return template


def _read(path: Path) -> MotionTemplate:
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is {about.get('format')!r}, not {FORMAT!r}")
        # Version 0.1.0 wrote no engine: it had templates of one.
        engine = about.get("engine", "liveportrait")
        if engine not in _READERS:
            raise ValueError(f"its engine is {engine!r}; known are {', '.join(_READERS)}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    return _READERS[engine](tensors, _rate(about["rate"]))


def _rate(text: str) -> Fraction | None:
    if text == STILL:
        return None
    if re.fullmatch(r"[0-9]{1,12}(/[0-9]{1,12})?", text) is None:
        raise ValueError(f"its rate is {text!r}, and must be a fraction of whole numbers")
    return Fraction(text)


def _check(template: MotionTemplate) -> None:
    rate = template.info.rate
    if not len(template):
        raise ValueError("it has no frames")
    if rate is None and len(template) > 1:
        raise ValueError(f"it is a still, and has {len(template)} frames")
    if rate is not None and not 0 < rate <= MAX_RATE:
        raise ValueError(
            f"its rate is {float(rate):g} frames a second, and must be above 0 and at most {MAX_RATE}"
        )
    if not template.present.any():
        raise ValueError("it shows no face")
