"""Motion templates: a driving face's motion without its pictures, in safetensors; published pickles are read too.

A template file holds the tensors of `Motion` by name, `present` and `begins`, and in its metadata the format's name
and the frame rate as a fraction, or `STILL`.
"""

from __future__ import annotations

import codecs
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from ...errors import LivePortraitError
from ...files import atomic_write
from ...geometry import euler_angles
from ...media import ClipInfo
from .motion import BROWS, ROW, Motion

FORMAT = "liveportrait-v2v motion 1"
STILL = "still"
"""What stands in place of the rate in a still's file."""
BROW_UNIT = 0.01
"""Clear difference of the brows' keypoints in height."""
_ROTATION_TOLERANCE = 0.05  # of R @ R.T to the identity, per entry
_SHAPES = {"rotation": (3, 3), "exp": (21, 3), "scale": (1,), "t": (3,), "eyes": (2,), "lips": (1,)}


class TemplateError(LivePortraitError):
    """A file that is not a motion template, or holds something unexpected."""


@dataclass(frozen=True)
class LivePortraitTemplate:
    """The motion of a driving clip's face.

    Attributes:
        motion: of N frames; zeros where the face is not present. Openings of eyes and lips that a file lacks are NaN.
        present: bool [N], whether the frame shows the face.
        begins: bool [N], whether the face does not continue from the last frame that shows it; true where no face is.
            The smoother starts again there.
        rate: frames per second, None for a driving still, of one frame.
    """

    motion: Motion
    present: torch.Tensor
    begins: torch.Tensor
    rate: Fraction | None

    engine = "liveportrait"

    def __len__(self) -> int:
        return len(self.present)

    @property
    def info(self) -> ClipInfo:
        """Facts as of a clip, or a still, without pictures and audio."""
        duration = None if self.rate is None else len(self) / self.rate
        return ClipInfo(0, 0, self.rate, duration, len(self), self.rate is None, None)

    def measures(self) -> torch.Tensor:
        """Return what makes faces neutral, float32 [N, 8], as `neutral.measures` has it; NaN without a face."""
        brows = self.motion.exp[:, BROWS, 1] / BROW_UNIT
        angles = euler_angles(self.motion.rotation)
        found = torch.cat((self.motion.eyes, self.motion.lips, brows, angles), dim=1)
        return torch.where(self.present.unsqueeze(1), found, torch.nan)


def read_template(path: str | os.PathLike[str]) -> LivePortraitTemplate:
    """Read a template file of this project (.safetensors) or one that upstream published (.pkl).

    Pickles are loaded with an unpickler for numbers and numpy arrays only.

    Raises:
        TemplateError: the file can't be read, or is not a template.
    """
    path = Path(path)
    read = _read_published if path.suffix.lower() == ".pkl" else _read_ours
    try:
        template = read(path)
    except OSError as error:
        raise TemplateError(f"{path}: can't be read: {error.strerror or error}") from error
    # Damaged bytes lead the readers to whatever they happen to raise.
    except Exception as error:
        raise TemplateError(f"{path}: is no motion template: {type(error).__name__}: {error}") from error
    _check(path, template)
    return template


def write_template(path: str | os.PathLike[str], template: LivePortraitTemplate) -> None:
    """Write a template as safetensors; the file appears complete or not at all.

    Raises:
        OSError: the file can't be written.
    """
    tensors = {item.name: getattr(template.motion, item.name) for item in fields(Motion)}
    tensors |= {"present": template.present, "begins": template.begins}
    data = save(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        {"format": FORMAT, "rate": STILL if template.rate is None else str(template.rate)},
    )
    with atomic_write(path) as part:
        part.write_bytes(data)


def _check(path: Path, template: LivePortraitTemplate) -> None:
    seen = template.motion[template.present]
    if not len(template) or (template.rate is not None and template.rate <= 0):
        fault = f"it has {len(template)} frames at {template.rate} a second"
    elif template.rate is None and len(template) > 1:
        fault = f"it is a still, and has {len(template)} frames"
    elif not template.present.any():
        fault = "it shows no face"
    elif not seen.pack()[:, : ROW - 3].isfinite().all():
        fault = "a number in it is not finite"
    elif (seen.scale <= 0).any():
        fault = f"a scale in it is {seen.scale.min().item():g}, and must be above 0"
    elif (seen.rotation @ seen.rotation.mT - torch.eye(3)).abs().max() > _ROTATION_TOLERANCE:
        fault = "a rotation in it is none"
    else:
        return
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
    rate = None if about["rate"] == STILL else Fraction(about["rate"])
    return LivePortraitTemplate(_motion(tensors, count), rate=rate, **flags)


def _read_published(path: Path) -> LivePortraitTemplate:
    with open(path, "rb") as file:
        data = _NumbersOnly(file).load()
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
    # One frame is what the published code writes for a driving picture.
    rate = Fraction(float(data.get("output_fps", 25))).limit_denominator(1001) if count > 1 else None
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
    """Unpickler of numpy arrays and numbers; refuses whatever else a pickle asks for."""

    # Under numpy's old module names; the values are what numpy itself pickles by.
    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
        ("numpy.core.multiarray", "scalar"): np.float32(0).__reduce__()[0],
        ("numpy.core.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # Protocol 2 writes bytes this way.
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only numbers and numpy arrays are taken from a pickle"
            ) from None
