"""The LivePortrait networks.

Guo et al., "LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control", 2024.
"""

from .bundle import PRECISIONS, Networks, PrecisionWarning, resolve_precision
from .motion import KEYPOINTS, MotionOutput
from .random_weights import random_weights

__all__ = [
    "KEYPOINTS",
    "PRECISIONS",
    "MotionOutput",
    "Networks",
    "PrecisionWarning",
    "random_weights",
    "resolve_precision",
]
