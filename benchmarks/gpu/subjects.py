"""What is measured: our networks and the reference's, as calls on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from liveportrait_v2v.engines.liveportrait.networks import Networks

from .forms import weights

FRAME = "F+2M+W+G"
"""What one frame of video to video takes."""
NAMES = ("F", "M", "W", "G", "W+G", FRAME)
Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Given:
    """Inputs of N frames.

    Attributes:
        crop, driving: float32 [N, 3, 256, 256] in 0..1, noise.
        kp_source, kp_driving: float32 [N, 21, 3], as far from each other as keypoints of neighbouring expressions.
    """

    crop: Tensor
    driving: Tensor
    kp_source: Tensor
    kp_driving: Tensor

    @classmethod
    def random(cls, count: int, device: str, seed: int = 0) -> Given:
        """Return inputs that depend on the seed alone, whatever the device."""
        make = torch.Generator().manual_seed(seed)
        crop, driving = torch.rand(2, count, 3, 256, 256, generator=make).to(device)
        kp = 0.3 * torch.randn(count, 21, 3, generator=make)
        moved = kp + 0.05 * torch.randn(count, 21, 3, generator=make)
        return cls(crop, driving, kp.to(device), moved.to(device))

    def tiled(self, count: int, device: str) -> Given:
        """Return `count` frames, these over and over, on a device."""
        parts = (self.crop, self.driving, self.kp_source, self.kp_driving)
        return Given(*(tiled(part, count).to(device) for part in parts))


def tiled(x: Tensor, count: int) -> Tensor:
    """Return `count` items of x [N, ...], these over and over."""
    return x.repeat(-(-count // len(x)), *[1] * (x.dim() - 1))[:count]


def dtype_of(networks: Networks) -> torch.dtype:
    """Return the dtype in which W and G compute."""
    return next(networks.module["spade_generator"].parameters()).dtype


def our_calls(networks: Networks, given: Given, names: Sequence[str] = NAMES) -> Calls:
    """Return calls of F, M, W, G, W and G together, and of a whole frame; or of some of these.

    The inputs of W and G are computed here.
    """
    warping, generator = networks.module["warping_module"], networks.module["spade_generator"]
    dtype = dtype_of(networks)
    keypoints = given.kp_source, given.kp_driving
    volume = features = given.crop
    if {"W", "G", "W+G"} & set(names):
        volume = networks.appearance(given.crop).clone()
        features = warping(volume, *keypoints, dtype)

    def frame() -> Tensor:
        networks.motion(given.crop)
        networks.motion(given.driving)
        return networks.render(networks.appearance(given.crop), *keypoints)

    calls: Calls = {
        "F": lambda: networks.appearance(given.crop),
        "M": lambda: networks.motion(given.crop),
        "W": lambda: warping(volume, *keypoints, dtype),
        "G": lambda: generator(features),
        "W+G": lambda: networks.render(volume, *keypoints),
        FRAME: frame,
    }
    return {name: calls[name] for name in names}


@lru_cache(maxsize=2)
def reference_networks(device: str) -> dict[str, nn.Module]:
    """Return the reference's F, M, W and G (mimic-head) with the same random weights, by the names of their files.

    Raises:
        ImportError: mimic-head is not there.
    """
    from mimic_head.modules.appearance_feature_extractor import AppearanceFeatureExtractor
    from mimic_head.modules.motion_extractor import MotionExtractor
    from mimic_head.modules.spade_generator import SPADEDecoder
    from mimic_head.modules.warping_network import WarpingNetwork

    dense = {
        "block_expansion": 32,
        "max_features": 1024,
        "num_blocks": 5,
        "reshape_depth": 16,
        "compress": 4,
    }
    networks = {
        "appearance_feature_extractor": AppearanceFeatureExtractor(3, 64, 2, 512, 32, 16, 6),
        "motion_extractor": MotionExtractor(num_kp=21, backbone="convnextv2_tiny"),
        "warping_module": WarpingNetwork(
            21, 64, 512, 2, 32, estimate_occlusion_map=True, dense_motion_params=dense
        ),
        "spade_generator": SPADEDecoder(2, 512, 64, 64, 2),
    }
    for name, network in networks.items():
        if device != "meta":
            network.load_state_dict(weights(0, name))
        network.eval().requires_grad_(False).to(device)
    return networks


def reference_calls(
    networks: dict[str, nn.Module],
    given: Given,
    half: bool = False,
    compiled: str | None = None,
    names: Sequence[str] = NAMES,
) -> Calls:
    """Return the reference's calls, as `our_calls`.

    Args:
        half: under autocast to float16, as upstream runs it on CUDA, M included.
        compiled: mode in which torch.compile takes W and G, one by one as upstream does; None: as they are.
    """
    f, m, w, g = networks.values()
    if compiled is not None:
        w, g = (torch.compile(network, mode=compiled, dynamic=False) for network in (w, g))
    keypoints = {"kp_source": given.kp_source, "kp_driving": given.kp_driving}

    def cast(run: Callable[[], Any]) -> Callable[[], Any]:
        def under_autocast() -> Any:
            with torch.autocast(given.crop.device.type, torch.float16):
                return run()

        return under_autocast if half else run

    volume = features = given.crop
    if {"W", "G", "W+G"} & set(names):
        volume = cast(lambda: f(given.crop))().float()
        features = cast(lambda: w(volume, **keypoints)["out"])()

    def frame() -> Tensor:
        m(given.crop), m(given.driving)
        return g(w(f(given.crop).float(), **keypoints)["out"])

    calls: Calls = {
        "F": lambda: f(given.crop),
        "M": lambda: m(given.crop),
        "W": lambda: w(volume, **keypoints)["out"],
        "G": lambda: g(features),
        "W+G": lambda: g(w(volume, **keypoints)["out"]),
        FRAME: frame,
    }
    return {name: cast(calls[name]) for name in names}
