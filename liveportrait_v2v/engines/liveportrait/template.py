"""Motion templates: what a driving face does, without its pictures. Published pickles are read, ours are safetensors.

A template of ours holds the tensors of `Motion` by name, `present` and `begins`, and in its metadata the format's name
and the frame rate as a fraction.
"""

from __future__ import annotations

import codecs
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ...errors import Cancelled, LivePortraitError
from ...faces import FaceTracker
from ...files import atomic_write
from ...media import Clip, ClipInfo
from ...settings import AnimationSettings, MotionOptions
from ..base import TrackedChunk
from .engine import LivePortraitEngine
from .motion import ROW, Motion

FORMAT = "liveportrait-v2v motion 1"
_SHAPES = {"rotation": (3, 3), "exp": (21, 3), "scale": (1,), "t": (3,), "eyes": (2,), "lips": (1,)}


class TemplateError(LivePortraitError):
    """A file is no motion template, or holds something that none has."""


@dataclass(frozen=True)
class LivePortraitTemplate:
    """The motion of a driving clip's face.

    Attributes:
        motion: of N frames. Openings of eyes and lips that a file doesn't have are not a number; zeros where the face
            is not present.
        present: bool [N], whether the frame shows the face.
        begins: bool [N], whether the face does not go on from the frame before, so that smoothing starts anew.
        rate: frames per second.
    """

    motion: Motion
    present: torch.Tensor
    begins: torch.Tensor
    rate: Fraction

    engine = "liveportrait"

    def __len__(self) -> int:
        return len(self.present)

    @property
    def info(self) -> ClipInfo:
        """As a clip's, of pictures without size and sound."""
        return ClipInfo(0, 0, self.rate, len(self) / self.rate, len(self), False, None)


def read_template(path: str | os.PathLike) -> LivePortraitTemplate:
    """Reads a template of ours or one that upstream published.

    Of a pickle nothing is made but numbers and numpy arrays of them.

    Raises:
        TemplateError: the file can't be read, or is no template.
    """
    path = Path(path)
    read = _read_published if path.suffix.lower() == ".pkl" else _read_ours
    try:
        template = read(path)
    except OSError as error:
        raise TemplateError(f"{path}: can't be read: {error.strerror or error}") from error
    except (KeyError, ValueError, TypeError, IndexError, EOFError, SafetensorError, RuntimeError) as error:
        raise TemplateError(f"{path}: is no motion template: {type(error).__name__}: {error}") from error
    _check(path, template)
    return template


def write_template(path: str | os.PathLike, template: LivePortraitTemplate) -> None:
    """Writes a template as safetensors, whole or not at all.

    Raises:
        OSError: it can't be written.
    """
    tensors = {item.name: getattr(template.motion, item.name) for item in fields(Motion)}
    tensors |= {"present": template.present, "begins": template.begins}
    data = save(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        {"format": FORMAT, "rate": str(template.rate)},
    )
    with atomic_write(path) as part:
        part.write_bytes(data)


def record_template(
    clip: Clip | str | os.PathLike,
    engine: LivePortraitEngine,
    settings: AnimationSettings | None = None,
    options: MotionOptions | None = None,
    *,
    on_frames: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 8,
) -> LivePortraitTemplate:
    """The template of a driving clip, read as a run with these settings reads it: face, crop, frames, no smoothing.

    Args:
        on_frames: called with the number of frames recorded so far.
        cancelled: asked before each chunk; True ends it with Cancelled.
        chunk: frames at a time.

    Raises:
        MediaError: the clip can't be read.
        TemplateError: it is a still, or shows no face.
        Cancelled: `cancelled` said so.
    """
    settings, options = settings or AnimationSettings(), options or MotionOptions()
    clip = clip if isinstance(clip, Clip) else Clip(clip)
    rate = clip.info.rate
    if rate is None:
        raise TemplateError("a template is made of a clip, and this is a still; animate by the still itself")
    number, cap = settings.drive_face_index, settings.video_frame_load_cap

    def shots():
        tracker = FaceTracker(device=engine.device, order=options.face_order, only=number)
        for part in clip.chunks(chunk, cap=cap):
            if cancelled is not None and cancelled():
                raise Cancelled("stopped while reading the driving clip")
            frames = part.frames.to(engine.device)
            yield TrackedChunk(frames, *tracker.track(frames).face(number))

    session = engine.session(settings, options, rate, rate)
    session.survey(shots())
    rows, begins = [], []
    for row, begin in session.read(shots()):
        rows.append(row)
        begins.append(begin)
        if on_frames is not None:
            on_frames(len(rows))
    present = torch.tensor([row is not None for row in rows])
    if not present.any():
        raise TemplateError(f"face {number} is in none of the {len(rows)} frames read; set drive_face_index")
    motion = torch.stack([torch.zeros(ROW) if row is None else row.cpu() for row in rows])
    return LivePortraitTemplate(Motion.unpack(motion), present, torch.tensor(begins), rate)


def _check(path: Path, template: LivePortraitTemplate) -> None:
    motion = template.motion
    seen = motion[template.present]
    faults = {
        f"it has {len(template)} frames at {template.rate} a second": not len(template) or template.rate <= 0,
        "it shows no face": not template.present.any(),
        "a number in it is not finite": not seen.pack()[:, : ROW - 3].isfinite().all(),
        "a rotation in it is none": (seen.rotation @ seen.rotation.mT - torch.eye(3)).abs().max() > 0.05,
    }
    fault = next((fault for fault, holds in faults.items() if holds), None)
    if fault:
        raise TemplateError(f"{path}: is no motion template: {fault}")


def _read_ours(path: Path) -> LivePortraitTemplate:
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is {about.get('format')!r}, not {FORMAT!r}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    flags = {name: tensors.pop(name).bool() for name in ("present", "begins")}
    count = len(flags["present"])
    if flags["begins"].shape != (count,):
        raise ValueError(f"begins has the shape {tuple(flags['begins'].shape)} for {count} frames")
    return LivePortraitTemplate(_motion(tensors, count), rate=Fraction(about["rate"]), **flags)


def _read_published(path: Path) -> LivePortraitTemplate:
    with open(path, "rb") as file:
        try:
            data = _NumbersOnly(file).load()
        except (pickle.UnpicklingError, AttributeError) as error:
            raise ValueError(str(error)) from error
    if not isinstance(data, Mapping):
        raise ValueError(f"it holds a {type(data).__name__}, not a dict")
    items = data["motion"]
    count = len(items)
    tensors = {
        "rotation": _stacked(items, "R", "R_d"),
        "exp": _stacked(items, "exp"),
        "scale": _stacked(items, "scale"),
        "t": _stacked(items, "t"),
        "eyes": _listed(data, count, 2, "c_eyes_lst", "c_d_eyes_lst"),
        "lips": _listed(data, count, 1, "c_lip_lst", "c_d_lip_lst"),
    }
    begins = torch.zeros(count, dtype=torch.bool)
    rate = Fraction(float(data.get("output_fps", 25))).limit_denominator(1001)
    return LivePortraitTemplate(_motion(tensors, count), torch.ones(count, dtype=torch.bool), begins, rate)


def _motion(tensors: Mapping[str, Any], count: int) -> Motion:
    return Motion(
        **{
            name: torch.as_tensor(tensors[name], dtype=torch.float32).reshape(count, *shape)
            for name, shape in _SHAPES.items()
        }
    )


def _stacked(items: list[Mapping], *names: str) -> np.ndarray:
    name = next((name for name in names if name in items[0]), names[0])
    return np.stack([np.asarray(item[name], dtype=np.float32).ravel() for item in items])


def _listed(data: Mapping, count: int, width: int, *names: str) -> np.ndarray:
    values = next((data[name] for name in names if len(data.get(name, ()))), None)
    if values is None:
        return np.full((count, width), np.nan, dtype=np.float32)
    return np.stack([np.asarray(value, dtype=np.float32).ravel()[:width] for value in values])


class _NumbersOnly(pickle.Unpickler):
    """Makes numpy arrays and numbers, and refuses whatever else a pickle asks for."""

    # By old and new name of numpy's module; taken from what numpy itself pickles by.
    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
        ("numpy.core.multiarray", "scalar"): np.float32(0).__reduce__()[0],
        ("numpy.core.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # How protocol 2 writes bytes.
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only numbers and numpy arrays are taken from a pickle"
            ) from None
