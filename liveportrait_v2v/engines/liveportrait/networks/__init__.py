"""The LivePortrait networks.

Guo et al., "LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control", 2024.
"""

from .bundle import PRECISIONS, CompileWarning, Networks, PrecisionWarning, resolve_precision
from .gpu.forms import Forms
from .gpu.memory import is_out_of_memory
from .motion import KEYPOINTS, MotionOutput
from .published import MAIN_NETWORKS, NETWORKS, blank_network
from .random_weights import random_weights

__all__ = [
    "KEYPOINTS",
    "MAIN_NETWORKS",
    "NETWORKS",
    "PRECISIONS",
    "CompileWarning",
    "Forms",
    "MotionOutput",
    "Networks",
    "PrecisionWarning",
    "blank_network",
    "is_out_of_memory",
    "random_weights",
    "resolve_precision",
]
