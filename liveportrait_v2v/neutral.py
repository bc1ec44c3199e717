"""How far faces are from neutral and frontal, for the choice of the frame that relative motion starts from."""

from __future__ import annotations

import torch

from .faces import topology
from .faces.canonical import canonical_face
from .geometry import euler_angles, fit_pose

EYES, MOUTH, BROWS, ANGLES = slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 8)
"""Columns of `measures`."""
OPENING_UNIT, BROW_UNIT_CM, ANGLE_UNIT_DEGREES = 0.1, 0.3, 10.0
"""Clear differences of an opening, of a brow's height on the canonical face and of an angle: each counts 1."""
FAR_FROM_NEUTRAL = 2.0
"""Deviation of a face that is far from neutral: shut eyes, a mouth open by a fifth of its width, a turn of 20°."""

MIN_USUAL_OPENING = 0.2
"""Least opening that counts as an eye's usual one, so that a clip of shut eyes does not make them neutral."""

_EYES = (
    (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
    (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
)
_LIPS = (topology.LIP_INNER_UPPER, topology.LIP_INNER_LOWER)
_BROW_MIDDLES = (105, 334)
"""The vertex in the middle of the left and the right brow's upper edge."""


def measures(landmarks: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Measure what makes faces neutral and frontal.

    Args:
        landmarks: float32 [N, 478 or more, 3] in pixels.
        present: bool [N].

    Returns:
        float32 [N, 8]: openings of both eyes and of the mouth (height / width), heights of both brows above the
        eyes' corners (BROW_UNIT_CM), pitch, yaw and roll (degrees); NaN without a face.
    """
    rigid = list(topology.RIGID)
    canonical = canonical_face().vertices
    found = torch.full((len(landmarks), 8), torch.nan)
    points = landmarks[present, :478].cpu()
    if len(points):
        pose = fit_pose(points[:, rigid], canonical[rigid])
        shape = pose.undo(points)
        openings = [_opening(shape, upper, lower) for upper, lower in (*_EYES, _LIPS)]
        brows = [
            (shape[:, [upper[0], upper[-1]], 1].mean(1) - shape[:, brow, 1]) / BROW_UNIT_CM
            for (upper, _), brow in zip(_EYES, _BROW_MIDDLES, strict=True)
        ]
        found[present] = torch.cat((torch.stack(openings + brows, dim=1), euler_angles(pose.rotation)), dim=1)
    return found


def deviations(found: torch.Tensor) -> torch.Tensor:
    """Return how far each face of a clip is from neutral and frontal, in units: float32 [N], inf without a face.

    Neutral is a shut mouth, and eyes and brows as they are in the middle of the clip's frames: how wide eyes open and
    how high brows sit at rest differs from person to person.

    Args:
        found: float32 [N, 8] as `measures` has it; columns that are NaN throughout don't count.
    """
    seen = ~found[:, ANGLES].isnan().any(1)
    if not seen.any():
        return torch.full((len(found),), torch.inf)
    usual = torch.zeros(8)
    usual[EYES] = found[seen, EYES].nanmedian(0).values.clamp_min(MIN_USUAL_OPENING)
    usual[BROWS] = found[seen, BROWS].nanmedian(0).values
    unit = torch.ones(8)
    unit[EYES], unit[MOUTH], unit[ANGLES] = OPENING_UNIT, OPENING_UNIT, ANGLE_UNIT_DEGREES
    away = ((found - usual) / unit).nan_to_num(0).square()
    # Both eyes count as one, and both brows.
    total = away[:, EYES].mean(1) + away[:, MOUTH].sum(1) + away[:, BROWS].mean(1) + away[:, ANGLES].sum(1)
    return torch.where(seen, total.sqrt(), torch.inf)


def _opening(shape: torch.Tensor, upper: tuple[int, ...], lower: tuple[int, ...]) -> torch.Tensor:
    """Return height / width, [N], between two rows of points that share their ends."""
    middle = len(upper) // 2
    height = (shape[:, upper[middle], :2] - shape[:, lower[middle], :2]).norm(dim=-1)
    return height / (shape[:, upper[0], :2] - shape[:, upper[-1], :2]).norm(dim=-1).clamp_min(1e-6)
