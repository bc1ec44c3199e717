"""Networks of the same shape as LivePortrait's that compute next to nothing, for tests of what is around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from liveportrait_v2v.engines.liveportrait.networks import Forms, MotionOutput


class MadeNetworks:
    """Keypoints and motion are fixed mixtures of a crop's colours; the rendered picture is the source's crop.

    The corrections do nothing, unless a step is given, which they add.

    Attributes:
        calls: (name, arguments) of each call, in order.
        precise: whether all is to be computed in float32.
        most: the most frames that memory is enough for, in the networks that take much of it.
    """

    device = torch.device("cpu")
    precision = "fp16"
    precise = False
    forms = Forms()

    def __init__(self, stitch: float = 0.0, lip: float = 0.0, eye: float = 0.0, most: int = 10**6):
        self.calls: list[tuple] = []
        self.most = most
        self._steps = {"stitch": stitch, "lip_delta": lip, "eye_delta": eye}
        make = torch.Generator().manual_seed(3)
        self._mix = torch.randn(3 * 64, 3 + 3 + 63 + 1 + 63, generator=make) / 14
        self._kp = torch.rand(1, 21, 3, generator=make) - 0.5

    def appearance(self, crops: torch.Tensor) -> torch.Tensor:
        self._called("appearance", crops)
        return crops.clone()

    def motion(self, crops: torch.Tensor) -> MotionOutput:
        self._called("motion", crops)
        codes = (F.adaptive_avg_pool2d(crops, 8).flatten(1) - 0.5) @ self._mix
        pose, t, exp, scale, kp = codes.split((3, 3, 63, 1, 63), dim=1)
        pitch, yaw, roll = (pose * 20).unbind(1)
        exp, kp = exp.unflatten(1, (21, 3)) * 0.05, self._kp + kp.unflatten(1, (21, 3)) * 0.02
        return MotionOutput(pitch, yaw, roll, t * 0.1, exp, 1 + scale * 0.1, kp)

    def render(self, volume: torch.Tensor, kp_source: torch.Tensor, kp_driving: torch.Tensor) -> torch.Tensor:
        self._called("render", volume, kp_source, kp_driving)
        return F.interpolate(volume, size=(512, 512), mode="bilinear", align_corners=False)

    def spare_memory(self) -> None:
        """There is nothing to let go of."""

    def finite(self, pictures: torch.Tensor) -> Callable[[], bool]:
        return lambda: bool(pictures.isfinite().all())

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        self.precise = True
        yield
        self.precise = False

    def stitch(self, kp_source: torch.Tensor, kp_driving: torch.Tensor) -> torch.Tensor:
        self._called("stitch", kp_source, kp_driving)
        return kp_driving + self._steps["stitch"]

    def lip_delta(self, kp_source: torch.Tensor, ratios: torch.Tensor) -> torch.Tensor:
        self._called("lip_delta", kp_source, ratios)
        return torch.full_like(kp_source, self._steps["lip_delta"])

    def eye_delta(self, kp_source: torch.Tensor, ratios: torch.Tensor) -> torch.Tensor:
        self._called("eye_delta", kp_source, ratios)
        return torch.full_like(kp_source, self._steps["eye_delta"])

    def calls_of(self, name: str) -> list[tuple]:
        return [arguments for called, *arguments in self.calls if called == name]

    def _called(self, name: str, *arguments: torch.Tensor) -> None:
        if len(arguments[0]) > self.most and name in ("appearance", "motion", "render"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.calls.append((name, *(argument.clone() for argument in arguments)))
