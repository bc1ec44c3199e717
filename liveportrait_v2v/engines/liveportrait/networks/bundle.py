"""The five networks together, as the engine and other callers use them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import SettingsError
from .layers import convolutions_to, fold
from .memory import is_out_of_memory
from .motion import MotionOutput
from .published import NETWORKS, blank_network
from .random_weights import random_weights
from .retargeting import Retargeting

PRECISIONS = ("auto", "fp16", "bf16-convs", "fp32")
IN_HALF = ("appearance_feature_extractor", "warping_module", "spade_generator")
_DTYPES = {"fp16": torch.float16, "bf16-convs": torch.bfloat16, "fp32": torch.float32}


class PrecisionWarning(UserWarning):
    """Half precision gave a picture that isn't finite; it was computed again in float32."""


class CompileWarning(UserWarning):
    """torch.compile failed; the networks run as they are."""


def resolve_precision(precision: str, device: str | torch.device) -> str:
    """Return the precision that "auto" stands for on a device: fp16 on CUDA from compute capability 7.0, else fp32.

    Older cards compute fp16 slowly or not at all; GeForce 16xx cards give NaN in it.

    Raises:
        SettingsError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise SettingsError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision != "auto":
        return precision
    device = torch.device(device)
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (7, 0):
        return "fp32"
    return "fp32" if "GTX 16" in torch.cuda.get_device_name(device) else "fp16"


class Networks:
    """F, M, W, G, S and R, folded and ready.

    Crops are float32 [N, 3, 256, 256], RGB in 0..1. Keypoints are float32 [N, 21, 3] in half crop sides from the crop's
    centre: x right, y down, z inward. Everything given must lie on `device`. N may be any number.

    Only the convolutions of F, W and G compute in half precision, where that was chosen. `finite` returns whether what
    came of it can be used; if not, `in_float32` is for computing it again. A volume that isn't finite makes pictures
    that aren't, so that looking at these is enough.

    Attributes:
        module: one module that holds all parameters, for whoever moves or counts them.
        precision: "fp16", "bf16-convs" or "fp32".
    """

    def __init__(
        self,
        weights: Callable[[str], Mapping[str, Tensor]],
        device: str | torch.device = "cpu",
        precision: str = "auto",
        compile: bool = False,  # noqa: A002 - the field's word
    ):
        """Load the networks.

        Args:
            weights: gives the tensors of each of NETWORKS, float32 under their published names.
            compile: compile W and G at their first use.

        Raises:
            RuntimeError: the tensors are not those of the networks.
        """
        self.precision = resolve_precision(precision, device)
        self._dtype = _DTYPES[self.precision]
        self.module = nn.ModuleDict()
        for name in NETWORKS:
            network = blank_network(name)
            network.load_state_dict(weights(name), strict=True, assign=True)
            fold(network)
            if name in IN_HALF:
                convolutions_to(network, self._dtype)
            self.module[name] = network.to(device)
        self._compiled = torch.compile(self._decode) if compile else None
        self._warned = False

    @classmethod
    def random(cls, seed: int, device: str | torch.device = "cpu", precision: str = "fp32") -> Networks:
        """Return networks with random weights: noise that follows the input. For tests and timing."""
        return cls(partial(random_weights, seed), device, precision)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.module.parameters()).device

    @property
    def memory_bytes(self) -> int:
        """Size of the parameters."""
        return sum(parameter.nbytes for parameter in self.module.parameters())

    def to(self, device: str | torch.device) -> Networks:
        """Move the networks; the precision stays."""
        self.module.to(device)
        return self

    @torch.no_grad()
    def appearance(self, crops: Tensor) -> Tensor:
        """Return the source's feature volume, float32 [N, 32, 16, 64, 64]."""
        return self.module["appearance_feature_extractor"](crops, self._dtype)

    @torch.no_grad()
    def motion(self, crops: Tensor) -> MotionOutput:
        """Return pose, expression and canonical keypoints of faces."""
        return self.module["motion_extractor"](crops)

    @torch.no_grad()
    def render(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Return the source's face in the driving keypoints' motion.

        Args:
            volume: float32 [N or 1, 32, 16, 64, 64], by `appearance`.
            kp_source, kp_driving: [N, 21, 3]; the source's may be [1, 21, 3].

        Returns:
            float32 [N, 3, 512, 512], RGB in 0..1.
        """
        run = self._decode if self._compiled is None else self._decode_compiled
        return run(volume, kp_source, kp_driving, self._dtype).sigmoid()

    def finite(self, pictures: Tensor) -> bool:
        """Return whether pictures can be used. In half precision this waits for the device; float32 is trusted."""
        return self._dtype is torch.float32 or bool(pictures.isfinite().all())

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Context manager in which everything computes in float32, after half precision failed.

        A PrecisionWarning is given once.

        The weights stay as half precision has them.
        """
        if not self._warned:
            text = f"{self.precision} gives values that aren't finite on {self.device}: computing in fp32 instead"
            warnings.warn(f"{text}; choose precision fp32", PrecisionWarning, stacklevel=3)
            self._warned = True
        usual, self._dtype = self._dtype, torch.float32
        try:
            yield
        finally:
            self._dtype = usual

    def _decode_compiled(self, *arguments: Any) -> Tensor:
        assert self._compiled is not None
        try:
            return self._compiled(*arguments)
        except Exception as error:  # of whatever kind the compiler or its backend has
            if is_out_of_memory(error):
                raise
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"torch.compile failed, going on without it: {first}", CompileWarning, stacklevel=4)
            self._compiled = None
            return self._decode(*arguments)

    def _decode(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype) -> Tensor:
        features = self.module["warping_module"](volume, kp_source, kp_driving, dtype)
        return self.module["spade_generator"](features).float()

    def _retargeting(self) -> Retargeting:
        module = self.module["stitching_retargeting_module"]
        assert isinstance(module, Retargeting)
        return module

    @torch.no_grad()
    def stitch(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Move the driving keypoints [N, 21, 3] so that shoulders and border stay where they are in the source."""
        return self._retargeting().stitch(kp_source, kp_driving)

    @torch.no_grad()
    def lip_delta(self, kp_source: Tensor, ratios: Tensor) -> Tensor:
        """Return the step of keypoints, [N, 21, 3], that opens the lips as wanted.

        Args:
            ratios: float32 [N, 2]: the source lips' opening by their width, and the one aimed at.
        """
        return self._retargeting().lip_delta(kp_source, ratios)

    @torch.no_grad()
    def eye_delta(self, kp_source: Tensor, ratios: Tensor) -> Tensor:
        """Return the step of keypoints, [N, 21, 3], that opens the eyes as wanted.

        Args:
            ratios: float32 [N, 3]: the source's left and right opening by width, and the one aimed at for both.
        """
        return self._retargeting().eye_delta(kp_source, ratios)
