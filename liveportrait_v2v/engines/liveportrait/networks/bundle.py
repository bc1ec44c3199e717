"""The five networks together, as the engine and other callers use them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ....cuda_graphs import Graphed
from ....errors import SettingsError
from .gpu.forms import TRITON, Forms
from .gpu.memory import is_out_of_memory
from .layers import arrange, convolutions_to, fold
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
    """torch.compile, Triton or the capture of a CUDA graph failed; the networks run as they are."""


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

    Only the convolutions of F, W and G compute in half precision, where that was chosen. `finite` looks whether what
    came of it can be used; if not, `in_float32` is for computing it again. A volume that isn't finite makes pictures
    that aren't, so that looking at these is enough.

    Attributes:
        module: one module that holds all parameters, for whoever moves or counts them.
        precision: "fp16", "bf16-convs" or "fp32".
        forms: how they compute.
    """

    def __init__(
        self,
        weights: Callable[[str], Mapping[str, Tensor]],
        device: str | torch.device = "cpu",
        precision: str = "auto",
        compile: bool = False,  # noqa: A002 - the field's word
        forms: Forms | None = None,
        names: Iterable[str] = NETWORKS,
    ):
        """Load the networks.

        Args:
            weights: gives the tensors of each of NETWORKS, float32 under their published names.
            compile: compile W and G at their first use, whatever the forms.
            forms: how to compute; None for what is usual on the device.
            names: which of NETWORKS; without the small ones nothing can be stitched or retargeted.

        Raises:
            RuntimeError: the tensors are not those of the networks.
        """
        self.precision = resolve_precision(precision, device)
        forms = forms or Forms.usual(device, self.precision, compile)
        forms = replace(forms, compiled=True) if compile else forms
        without: dict[str, Any] = dict.fromkeys(self._failing(forms, device), False)
        self.forms = replace(forms, **without)
        self._dtype = _DTYPES[self.precision]
        self._thread = threading.local()
        self._warned = False
        self.module = nn.ModuleDict()
        for name in names:
            network = blank_network(name)
            network.load_state_dict(weights(name), strict=True, assign=True)
            fold(network)
            if name in IN_HALF:
                arrange(network, self.forms)
                convolutions_to(network, self._dtype)
            self.module[name] = network.to(device)
        self._compiled = torch.compile(self._decode, dynamic=False) if self.forms.compiled else None
        self._functions: dict[str, Callable[..., Any]] = {
            "appearance": lambda crops: self.module["appearance_feature_extractor"](crops, self._dtype),
            "motion": lambda crops: self.module["motion_extractor"](crops),
            "render": self._decode_usual,
        }
        self._graphs = {name: Graphed(function) for name, function in self._functions.items()}
        self._parameters = list(self.module.parameters())
        self._addresses: list[int] = []

    def _failing(self, forms: Forms, device: str | torch.device) -> list[str]:
        """Return the forms asked for that need Triton, if it is missing or any of them fails; otherwise none.

        Where Triton is there, a CompileWarning says what fails.
        """
        asked = [name for name in TRITON if getattr(forms, name)]
        if not asked or find_spec("triton") is None:
            return asked
        try:
            for name in asked:
                import_module(f".gpu.{name}", __package__).trial(torch.device(device)).sum().item()
        except Exception as error:  # of whatever kind Triton, its compiler or the driver has
            self._go_on_without("a kernel of Triton's", error)
            return asked
        return []

    @classmethod
    def random(
        cls,
        seed: int,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        forms: Forms | None = None,
    ) -> Networks:
        """Return networks with random weights: noise that follows the input. For tests and timing."""
        return cls(partial(random_weights, seed), device, precision, forms=forms)

    def release(self) -> None:
        """Let go of the memory in which captured graphs compute; they are captured anew when they are needed."""
        for graph in self._graphs.values():
            graph.clear()

    def spare_memory(self) -> str | None:
        """Give up the graphs, which compute in memory of their own; return what is gone, None where there were none."""
        if not self.forms.graphs:
            return None
        self._give_up_graphs()
        return "CUDA graphs"

    def _give_up_graphs(self) -> None:
        self.forms = replace(self.forms, graphs=False)
        self.release()

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
        if self._precise:
            return self.module["appearance_feature_extractor"](crops, torch.float32)
        return self._run("appearance", crops)

    @torch.no_grad()
    def motion(self, crops: Tensor) -> MotionOutput:
        """Return pose, expression and canonical keypoints of faces."""
        return self._run("motion", crops)

    @torch.no_grad()
    def render(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Return the source's face in the driving keypoints' motion.

        Compiled and captured, this is meant for batches of one size; each other size takes a compilation of its own.

        Args:
            volume: float32 [N or 1, 32, 16, 64, 64], by `appearance`.
            kp_source, kp_driving: [N, 21, 3]; the source's may be [1, 21, 3].

        Returns:
            float32 [N, 3, 512, 512], RGB in 0..1.
        """
        if self._precise:
            return self._decode(volume, kp_source, kp_driving, torch.float32).sigmoid()
        if self.forms.compiled or self.forms.graphs:
            # A still's volume has strides of its own, for which the compiler would begin anew.
            count = len(kp_driving)
            volume, kp_source = (x.expand(count, *x.shape[1:]).contiguous() for x in (volume, kp_source))
            kp_driving = kp_driving.contiguous()
        return self._run("render", volume, kp_source, kp_driving).sigmoid()

    def finite(self, pictures: Tensor) -> Callable[[], bool]:
        """Look whether pictures can be used, without waiting for the device.

        Returns:
            what waits for the answer and gives it, in whatever thread.
        """
        flag = pictures.isfinite().all()
        if flag.device.type != "cuda":
            return lambda: bool(flag)
        answer = torch.empty((), dtype=torch.bool, pin_memory=True)
        answer.copy_(flag, non_blocking=True)
        there = torch.cuda.Event()
        there.record(torch.cuda.current_stream(flag.device))

        def wait() -> bool:
            there.synchronize()
            return bool(answer)

        return wait

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Context manager in which everything in this thread computes in float32, after half precision failed.

        A PrecisionWarning is given once.

        The weights stay as half precision has them.
        """
        if not self._warned:
            text = f"{self.precision} gives values that aren't finite on {self.device}: computing in fp32 instead"
            warnings.warn(f"{text}; choose precision fp32", PrecisionWarning, stacklevel=3)
            self._warned = True
        self._thread.precise = True
        try:
            yield
        finally:
            self._thread.precise = False

    @property
    def _precise(self) -> bool:
        return getattr(self._thread, "precise", False)

    def _run(self, name: str, *inputs: Tensor) -> Any:
        """Run one of the functions, as a graph where there is one."""
        with self.forms.switches(self.device):
            if not self.forms.graphs or self.device.type != "cuda":
                return self._functions[name](*inputs)
            # Whoever moves the module need not say so.
            addresses = [parameter.data_ptr() for parameter in self._parameters]
            if addresses != self._addresses:
                self._addresses = addresses
                self.release()
            try:
                return self._graphs[name](*inputs)
            except Exception as error:  # of whatever kind
                if is_out_of_memory(error):
                    raise
                self._go_on_without("the capture of a CUDA graph", error)
                self._give_up_graphs()
                return self._functions[name](*inputs)

    def _decode_usual(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Run W and G, compiled where that was chosen and works."""
        if self._compiled is not None:
            try:
                return self._compiled(volume, kp_source, kp_driving, self._dtype)
            except Exception as error:  # of whatever kind the compiler or its backend has
                if is_out_of_memory(error):
                    raise
                self._go_on_without("torch.compile", error)
                self._compiled = None
        return self._decode(volume, kp_source, kp_driving, self._dtype)

    def _go_on_without(self, what: str, error: Exception) -> None:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"{what} failed, going on without it: {first}", CompileWarning, stacklevel=5)

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
