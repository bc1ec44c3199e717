"""Expressions: named channels of a face that are edited, constant or over time. No engine in it.

An `Expression` is a sum of layers. At each moment a layer gives each of its channels a value; what that value adds to
the neutral one counts by the layer's strength and by its blending in and out. The layers' parts are added in order,
and the sum is limited to the channel's range. Where every channel is neutral, an engine changes nothing.
"""

from .channels import ALL_CHANNELS, CHANNELS, COLUMNS, TARGETS, Channel
from .form import MAX_JSON_BYTES, VERSION
from .layers import EASES, MAX_KEYFRAMES, MAX_LAYERS, MAX_SECONDS, MAX_STRENGTH, Keyframe, Layer
from .old_editor import OTHER_SLIDERS, SLIDERS
from .value import Expression

__all__ = [
    "ALL_CHANNELS",
    "CHANNELS",
    "COLUMNS",
    "EASES",
    "MAX_JSON_BYTES",
    "MAX_KEYFRAMES",
    "MAX_LAYERS",
    "MAX_SECONDS",
    "MAX_STRENGTH",
    "OTHER_SLIDERS",
    "SLIDERS",
    "TARGETS",
    "VERSION",
    "Channel",
    "Expression",
    "Keyframe",
    "Layer",
]
