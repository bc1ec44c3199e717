"""Networks under ComfyUI's model management."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine

_log = logging.getLogger(__name__)
# Memory of a batch of eight frames besides the weights, in half precision; with less, batches get smaller.
_RUN_BYTES = 3 << 30


class Model:
    """A LPV2V_MODEL: networks that ComfyUI's model management moves to the GPU and back."""

    def __init__(
        self,
        folders: Sequence[str | Path],
        precision: str,
        compile: bool,  # noqa: A002
        model: str,
    ):
        """Load the networks.

        Args:
            folders: where to look for the weights.
            model: "humans" or "animals".

        Raises:
            WeightsError: they are missing, damaged or not those of the networks.
        """
        from comfy import model_management
        from comfy.model_patcher import ModelPatcher

        from ...liveportrait_v2v.engines.liveportrait.landmarks203 import Landmarks203
        from ...liveportrait_v2v.engines.liveportrait.networks import Forms, resolve_precision
        from ...liveportrait_v2v.engines.liveportrait.weights import load_networks

        device, rest = model_management.get_torch_device(), model_management.unet_offload_device()
        precision = resolve_precision(precision, device)
        forms = Forms.usual(device, precision, compile)
        self._networks = load_networks(folders, rest, precision, compile, forms, model)
        self._precision, self._animals = precision, model == "animals"
        self._landmarks = Landmarks203.find(folders)
        self._patcher = ModelPatcher(self._networks.module, load_device=device, offload_device=rest)

    def describe(self) -> str:
        """Return precision and device in words."""
        return f"ready: {'animals, ' * self._animals}{self._precision} on {self._patcher.load_device}"

    def engine(self) -> LivePortraitEngine:
        """Return the engine, with the networks on the device that computes."""
        from comfy.model_management import load_models_gpu

        from ...liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine

        load_models_gpu([self._patcher], memory_required=_RUN_BYTES, force_full_load=True)
        device = self._patcher.load_device
        if self._networks.device.type != device.type:
            # With --novram ComfyUI leaves modules where they are that don't cast weights layer by layer.
            _log.warning(
                "LivePortrait's networks don't compute in parts: moving them to %s as a whole", device
            )
            self._networks.to(device)
        return LivePortraitEngine(self._networks, self._landmarks, animals=self._animals)

    def release(self) -> None:
        """Let go of what a run keeps on the GPU beside the weights, which ComfyUI knows nothing of."""
        self._networks.release()
