"""Edited expressions: what the channels of an `Expression` add to a face's motion.

The steps of keypoints are those of the sliders that users of the field know: of the expression editor for ComfyUI, and
of the published application where the former has none. Which of the two eyes keypoints 11 and 15 are is inferred: the
editor tilts the head to the picture's left with the eye that it winks, which is 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import torch

from ...geometry import euler_angles
from ..base import Edits
from .keypoints import rotation_matrix
from .motion import USUAL_EYES, Motion

Step = Mapping[str, float]
"""What a unit adds: by keypoint and axis, such as "19.y"."""

WHOLE = 5
"""Keypoint whose expression stays whole where the source's own is taken back: it places the head."""
STEPS: Mapping[str, tuple[Step, Step]] = {
    "lids_left": ({"11.y": -0.001, "13.y": 0.0003},) * 2,
    "lids_right": ({"15.y": -0.001, "16.y": 0.0003},) * 2,
    "blink": ({"1.y": -0.00025, "2.y": 0.00025},) * 2,
    "wink_left": ({"11.y": 0.001, "13.y": -0.0003, "17.x": 0.0003, "17.y": 0.0003, "3.y": -0.0003},) * 2,
    "wink_right": ({"15.y": 0.001, "16.y": -0.0003, "17.x": -0.0003, "17.y": 0.0003, "7.y": -0.0003},) * 2,
    "eyebrow": (
        {"1.y": 0.001, "2.y": -0.001},
        {"1.x": -0.001, "2.x": 0.001, "1.y": 0.0003, "2.y": -0.0003},
    ),
    "gaze_x_left": ({"11.x": 0.0007}, {"11.x": 0.001}),
    "gaze_x_right": ({"15.x": 0.001}, {"15.x": 0.0007}),
    "gaze_y_left": ({"11.y": -0.001},) * 2,
    "gaze_y_right": ({"15.y": -0.001},) * 2,
    "aaa": ({"19.y": 0.001, "19.z": 0.0001, "17.y": -0.0001},) * 2,
    "eee": ({"20.z": -0.001, "20.y": -0.001, "14.y": -0.001},) * 2,
    "woo": ({"14.y": 0.001, "3.y": -0.0005, "7.y": -0.0005, "17.z": -0.0005},) * 2,
    "smile": (
        {
            **{"20.y": -0.01, "14.y": -0.02, "17.y": 0.0065, "17.z": 0.003},
            **{"13.y": -0.00275, "16.y": -0.00275, "3.y": -0.0035, "7.y": -0.0035},
        },
    )
    * 2,
    "pouting": ({"19.x": 1.0},) * 2,
    "move_x": ({"5.x": -1.0},) * 2,
    "move_y": ({"5.y": 1.0},) * 2,
}
"""Steps of a channel above 0 and below 0. Lids and gaze are of each eye, put together from the channels of both."""


def kept(motion: Motion, edits: Edits) -> Motion:
    """Return the share of a source's own expression that stays; where all of it does, the motion is unchanged."""
    share = 1 + edits("source")
    exp = motion.exp * share.view(-1, 1, 1)
    exp[:, WHOLE] = motion.exp[:, WHOLE]
    eyes = torch.lerp(motion.eyes, torch.full_like(motion.eyes, USUAL_EYES), 1 - share.unsqueeze(1))
    return replace(motion, exp=exp, eyes=eyes, lips=motion.lips * share.unsqueeze(1))


def edited(motion: Motion, edits: Edits) -> Motion:
    """Return a motion with what the channels add to it; where they are neutral, it is unchanged.

    The openings of eyes and lips stay as they were measured: keypoints alone don't say how far they go.
    """
    turn = torch.stack((edits("rotate_pitch"), -edits("rotate_yaw"), edits("rotate_roll")), dim=1)
    angles = euler_angles(motion.rotation) + turn
    turned = (turn != 0).any(1).view(-1, 1, 1)
    return replace(
        motion,
        rotation=torch.where(turned, rotation_matrix(*angles.unbind(1)), motion.rotation),
        exp=motion.exp + deltas(edits),
        scale=motion.scale * (1 + edits("zoom")).unsqueeze(1),
    )


def deltas(edits: Edits) -> torch.Tensor:
    """Return what the channels add to the keypoints' expression, float32 [N, 21, 3]."""
    across, up = edits.gaze("x"), edits.gaze("y")
    # Lids follow a gaze that goes up or down.
    lids = edits("blink").unsqueeze(1) - up / 2
    of_eyes = {
        f"{name}_{eye}": values[:, side]
        for name, values in (("lids", lids), ("gaze_x", across), ("gaze_y", up))
        for side, eye in enumerate(("left", "right"))
    }
    values = torch.stack([of_eyes[name] if name in of_eyes else edits(name) for name in STEPS], dim=1)
    above, below = (part.to(values.device) for part in _matrices())
    return (values.clamp_min(0) @ above + values.clamp_max(0) @ below).unflatten(1, (21, 3))


@lru_cache(maxsize=1)
def _matrices() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the steps above 0 and below 0, float32 [steps, 63]."""
    parts = []
    for side in (0, 1):
        matrix = torch.zeros(len(STEPS), 21, 3)
        for row, steps in enumerate(STEPS.values()):
            for place, step in steps[side].items():
                keypoint, axis = place.split(".")
                matrix[row, int(keypoint), "xyz".index(axis)] = step
        parts.append(matrix.flatten(1))
    return parts[0], parts[1]
