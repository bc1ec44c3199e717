"""The networks as the published files hold them."""

from __future__ import annotations

import torch
from torch import nn

from .appearance import AppearanceFeatureExtractor
from .generator import SpadeGenerator
from .motion import MotionExtractor
from .retargeting import Retargeting
from .warping import WarpingModule

# By the names of their files.
NETWORKS: dict[str, type[nn.Module]] = {
    "appearance_feature_extractor": AppearanceFeatureExtractor,
    "motion_extractor": MotionExtractor,
    "warping_module": WarpingModule,
    "spade_generator": SpadeGenerator,
    "stitching_retargeting_module": Retargeting,
}


MAIN_NETWORKS = tuple(name for name in NETWORKS if name != "stitching_retargeting_module")
"""All but the small ones that correct keypoints."""


def blank_network(name: str) -> nn.Module:
    """One of NETWORKS with the parameters that its file holds: not folded, and without memory behind them."""
    with torch.device("meta"):
        return NETWORKS[name]()
