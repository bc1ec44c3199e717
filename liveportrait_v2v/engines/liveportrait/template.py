"""Motion templates of the LivePortrait engine, and pickles of motion in LivePortrait's format.

A file of ours holds the tensors of `Motion` by name, `present` and `begins`. A pickle is what upstream publishes, or
what models write that make LivePortrait's motion of speech: the format is upstream's.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ...geometry import euler_angles
from ...media import ClipInfo
from ..base import RecordedMotion
from .keypoints import rotation_matrix
from .motion import BROWS, ROW, Motion

BROW_UNIT = 0.01
"""Clear difference of the brows' keypoints in height."""
MAX_FRAMES = 1_000_000
"""Frames of a pickle, at most: it can name one frame any number of times in two bytes each."""
USUAL_RATE = 25
"""Frames per second of a pickle that says none."""
_ROTATION_TOLERANCE = 0.05  # of R @ R.T to the identity, per entry
_SHAPES = {"rotation": (3, 3), "exp": (21, 3), "scale": (1,), "t": (3,), "eyes": (2,), "lips": (1,)}
_ANGLES = ("pitch", "yaw", "roll")
_FORM = (
    'motion in LivePortrait\'s format is a dict with a list "motion", of a dict for each frame with "exp", "scale", '
    '"t" and "R", "R_d", or "pitch", "yaw" and "roll" in degrees'
)


@dataclass(frozen=True)
class LivePortraitTemplate(RecordedMotion):
    """The motion of a driving clip's face.

    Attributes:
        motion: of N frames; zeros where the face is not present. Openings of eyes and lips that a file lacks are NaN.
        present: bool [N], whether the frame shows the face.
        begins: bool [N], whether the face does not continue from the last frame that shows it; true where no face is.
            The smoother starts again there.
        rate: frames per second, None for a driving still: a template of one frame is one.
    """

    motion: Motion
    present: torch.Tensor
    begins: torch.Tensor
    rate: Fraction | None

    engine = "liveportrait"

    @property
    def info(self) -> ClipInfo:
        """Facts as of a clip, or a still, without pictures and audio."""
        return self.clip_info(0, 0)

    def measures(self) -> torch.Tensor:
        """Return what makes faces neutral, float32 [N, 8], as `neutral.measures` has it; NaN without a face."""
        brows = self.motion.exp[:, BROWS, 1] / BROW_UNIT
        angles = euler_angles(self.motion.rotation)
        found = torch.cat((self.motion.eyes, self.motion.lips, brows, angles), dim=1)
        return torch.where(self.present.unsqueeze(1), found, torch.nan)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what a file of it holds, by name."""
        motion = {item.name: getattr(self.motion, item.name) for item in fields(Motion)}
        return {**motion, "present": self.present, "begins": self.begins}


def template_of(tensors: Mapping[str, torch.Tensor], rate: Fraction | None) -> LivePortraitTemplate:
    """Return the template that a file of ours holds.

    Raises:
        ValueError: it holds something else; the message is a clause.
        Exception: whatever damaged tensors lead to.
    """
    present, begins = tensors["present"].bool(), tensors["begins"].bool()
    count = len(present)
    if begins.shape != (count,):
        raise ValueError(f"begins has the shape {tuple(begins.shape)} for {count} frames")
    return _checked(LivePortraitTemplate(_motion(tensors, count), present, begins, rate))


def read_pickle(path: Path) -> LivePortraitTemplate:
    """Read a pickle of motion in LivePortrait's format, of which nothing is made but numbers and numpy arrays.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds something else; the message is a clause.
        Exception: whatever damaged bytes lead to.
    """
    with open(path, "rb") as file:
        data = _NumbersOnly(file).load()
    items = data.get("motion") if isinstance(data, Mapping) else None
    if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError(f"it holds {_described(data)}; {_FORM}")
    count = len(items)
    if count > MAX_FRAMES:
        raise ValueError(f"it has {count} frames; at most {MAX_FRAMES} are read")
    tensors = {
        "rotation": _rotations(items),
        **{name: _stacked(items, name, math.prod(_SHAPES[name])) for name in ("exp", "scale", "t")},
        "eyes": _listed(data, count, 2, "c_eyes_lst", "c_d_eyes_lst"),
        "lips": _listed(data, count, 1, "c_lip_lst", "c_d_lip_lst"),
    }
    rate = Fraction(float(data.get("output_fps", USUAL_RATE))).limit_denominator(1001)
    begins = torch.zeros(count, dtype=torch.bool)
    present = torch.ones(count, dtype=torch.bool)
    return _checked(LivePortraitTemplate(_motion(tensors, count), present, begins, rate))


def _checked(template: LivePortraitTemplate) -> LivePortraitTemplate:
    seen = template.motion[template.present]
    if not seen.pack()[:, : ROW - 3].isfinite().all():
        raise ValueError("a number in it is not finite")
    if (seen.scale <= 0).any():
        raise ValueError(f"a scale in it is {seen.scale.min().item():g}, and must be above 0")
    if len(seen) and (seen.rotation @ seen.rotation.mT - torch.eye(3)).abs().max() > _ROTATION_TOLERANCE:
        raise ValueError("a rotation in it is none")
    return template


def _described(data: Any) -> str:
    """Describe what a pickle holds, in a few words."""
    if isinstance(data, Mapping):
        keys = ", ".join(map(repr, list(data)[:6]))
        return f"a dict with {keys or 'nothing'}"
    return f"an object of type {type(data).__name__}"


def _motion(tensors: Mapping[str, Any], count: int) -> Motion:
    return Motion(
        **{
            name: torch.as_tensor(tensors[name], dtype=torch.float32).reshape(count, *shape)
            for name, shape in _SHAPES.items()
        }
    )


def _rotations(items: Sequence[Mapping[str, Any]]) -> Any:
    name = next((name for name in ("R", "R_d") if items and name in items[0]), None)
    if name is not None:
        return _stacked(items, name, 9)
    return rotation_matrix(*(torch.from_numpy(_stacked(items, angle, 1)).reshape(-1) for angle in _ANGLES))


def _stacked(items: Sequence[Mapping[str, Any]], name: str, size: int) -> np.ndarray:
    """Return `size` numbers of each frame, float32 [N, size]."""
    found = np.empty((len(items), size), np.float32)
    for k, item in enumerate(items):
        if name not in item:
            raise ValueError(f"frame {k} has no {name!r}; {_FORM}")
        if np.size(item[name]) != size:
            raise ValueError(f"{name!r} of frame {k} has {np.size(item[name])} numbers, and must have {size}")
        found[k] = np.ravel(item[name])
    return found


def _listed(data: Mapping, count: int, width: int, *names: str) -> np.ndarray:
    """Return the first `width` numbers of each frame in one of these lists, float32 [N, width]; NaN without one."""
    values = next((data[name] for name in names if len(data.get(name, ()))), None)
    found = np.full((count, width), np.nan, np.float32)
    if values is not None:
        if len(values) != count:
            raise ValueError(f"its {names[0]} has {len(values)} of {count} frames")
        for k, value in enumerate(values):
            found[k] = np.ravel(value)[:width]
    return found


_ARRAY = object()
"""What stands for the class of arrays while a pickle is read: it can't be called."""


def _array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    """Return an empty array, which the pickle's own data then fill: a shape alone would take any amount of memory."""
    if kind is not _ARRAY:
        raise pickle.UnpicklingError("it makes an array of another class than numpy's own")
    return np.zeros(0)


def _dtype(*arguments: Any) -> np.dtype:
    dtype = np.dtype(*arguments)
    if dtype.hasobject:
        raise pickle.UnpicklingError(f"it has an array of {dtype.name}, not of numbers")
    return dtype


def _bytes_of(text: str, encoding: str) -> bytes:
    """Return bytes as protocol 2 writes them; other encodings could grow."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


class _NumbersOnly(pickle.Unpickler):
    """Unpickler of numpy arrays and numbers; refuses whatever else a pickle asks for."""

    # Under numpy's old module names; the values are what numpy itself pickles by.
    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _array,
        ("numpy.core.multiarray", "scalar"): np.float32(0).__reduce__()[0],
        ("numpy.core.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
        ("numpy", "ndarray"): _ARRAY,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _bytes_of,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only numbers and numpy arrays are taken from a pickle, so make arrays "
                "of tensors before it is written"
            ) from None
