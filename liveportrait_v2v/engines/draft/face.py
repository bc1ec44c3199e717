"""One face's landmarks, split into head pose, shape in head coordinates, and openings of eyes and mouth.

Head coordinates are those of `faces.canonical` (centimetres, x right, y down, z away from the viewer), so that shapes
of different people, seen at any angle and distance, can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ...faces import topology
from ...faces.canonical import canonical_face
from ...geometry import Pose, fit_pose

EYES = (
    (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, topology.LEFT_IRIS),
    (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, topology.RIGHT_IRIS),
)
UPPER, LOWER = list(topology.LIP_INNER_UPPER), list(topology.LIP_INNER_LOWER)
_MIDDLE = len(UPPER) // 2


def smoothstep(x: torch.Tensor) -> torch.Tensor:
    """Return 0 below 0, 1 above 1, and a smooth rise between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class Ramp:
    """A smooth rise from 0 at `start` to 1 at `start + width`."""

    start: float
    width: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rise at x."""
        return smoothstep((x - self.start) / self.width)

    def down(self, x: torch.Tensor) -> torch.Tensor:
        """Return the fall from 1 at `start - width` to 0 at `start`."""
        return smoothstep((self.start - x) / self.width)


MIN_OPENING = 0.02
"""Opening (height / width) that stands in for smaller ones where one is divided by."""
MAX_LID_FACTOR = 3
"""Largest factor by which lids are moved apart at once."""
EYE_IN_VIEW = Ramp(0.25, 0.25)
"""Width of an eye in the picture, over that of the wider eye, at which it comes into view."""
LIP_PROFILE = (0, 0.4, 0.7, 0.9, 1, 1, 1, 0.9, 0.7, 0.4, 0)
"""Drop of the lower lip's 11 places as the mouth opens, in shares of its middle's."""


@dataclass(frozen=True)
class JawParameters:
    """The motion of chin and jaw with the lower lip. Distances are in centimetres of the canonical face.

    Attributes:
        seam: distance below the line between the lips from which skin moves.
        chin: distance below the lower lip over which the lip's own motion turns into its middle's.
        share: share of the middle's motion that the jaw follows: lips also part by smiling, with a still jaw.
        side_loss: part of that share which the sides of the jaw lack.
        sides: distance from the middle of the face at which the sides begin.
    """

    seam: float = 0.02
    chin: Ramp = Ramp(0, 2.0)
    share: float = 0.5
    side_loss: float = 0.3
    sides: Ramp = Ramp(2.5, 4)


@dataclass(frozen=True)
class RegionParameters:
    """The parts of the face that move. Distances are in centimetres of the canonical face.

    Attributes:
        forehead: distance below the topmost vertex at which expression sets in.
        outline: the same for the outline, below the outer corner of the left eye.
        lips: distance below the tip of the nose at which the region "lip" sets in.
        eyes: half axes of the ellipse around each eye in which the region "eyes" fades out.
    """

    forehead: Ramp = Ramp(0, 3.5)
    outline: Ramp = Ramp(0, 4)
    lips: Ramp = Ramp(0, 1.0)
    eyes: tuple[float, float] = (3.0, 1.8)


JAW, REGIONS = JawParameters(), RegionParameters()
"""Read once a process: the weights by them are cached."""


def first_pose(landmarks: torch.Tensor) -> Pose:
    """Return the pose of landmarks [N, 478, 3] by the canonical face, without the person's own shape."""
    rigid = list(topology.RIGID)
    return fit_pose(landmarks[:, rigid], canonical_face().vertices[rigid].to(landmarks.device))


def pose_of(landmarks: torch.Tensor, shape: torch.Tensor) -> Pose:
    """Return the pose of landmarks [N, 478, 3] by the same person's shape [478, 3] in head coordinates."""
    rigid = list(topology.RIGID)
    return fit_pose(landmarks[:, rigid], shape[rigid])


def mouth_opening(points: torch.Tensor) -> torch.Tensor:
    """Return the mouth's inner height / width, [N], of points [N, >=468, >=2] (LivePortrait's lip ratio)."""
    height = (points[:, UPPER[_MIDDLE], :2] - points[:, LOWER[_MIDDLE], :2]).norm(dim=-1)
    return height / (mouth_width(points) + 1e-6)


def mouth_width(points: torch.Tensor) -> torch.Tensor:
    """Return the mouth's inner width in the picture, [N], of points [N, >=468, >=2], in their unit."""
    return (points[:, UPPER[0], :2] - points[:, UPPER[-1], :2]).norm(dim=-1)


def eye_openings(points: torch.Tensor) -> torch.Tensor:
    """Return height / width of the left and the right eye in the picture, [N, 2], of points [N, >=468, >=2]."""
    ratios = []
    for upper, lower, _ in EYES:
        height = (points[:, upper[4], :2] - points[:, lower[4], :2]).norm(dim=-1)
        width = (points[:, upper[0], :2] - points[:, upper[-1], :2]).norm(dim=-1)
        ratios.append(height / (width + 1e-6))
    return torch.stack(ratios, dim=-1)


def open_eyes(shape: torch.Tensor, openings: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Open some eyes of shapes [N, 478, 3] in head coordinates, in the canonical face's way.

    Args:
        openings: float [2], height / width that they are to have.
        which: bool [2].
    """
    shape, canonical = shape.clone(), canonical_face().vertices.to(shape.device)
    usual = eye_openings(canonical.unsqueeze(0))[0]
    for eye, (upper, lower, _) in enumerate(EYES):
        if which[eye]:
            corners = [upper[0], upper[-1]]
            scale = shape[:, corners].diff(dim=1).norm() / canonical[corners].diff(dim=0).norm()
            gap = (
                (canonical[list(lower[1:-1])] - canonical[list(upper[1:-1])])
                * scale
                * openings[eye]
                / usual[eye]
            )
            shape[:, list(upper[1:-1])] = shape[:, list(lower[1:-1])] - gap
    return shape


def gaze(shape: torch.Tensor) -> torch.Tensor:
    """Return each iris's place between its eye's corners, [N, 2, 2], in widths of the eye, of [N, 478, 3]."""
    places = []
    for upper, _, iris in EYES:
        corners = shape[:, [upper[0], upper[-1]], :2]
        width = (corners[:, 1] - corners[:, 0]).norm(dim=-1, keepdim=True).clamp_min(1e-6)
        places.append((shape[:, iris[0], :2] - corners.mean(1)) / width)
    return torch.stack(places, dim=1)


def eye_frame(points: torch.Tensor, eye: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an eye's centre [N, 2] and axes [N, 2, 2].

    Rows of the axes: corner to corner to the right, and at right angles downwards.

    Args:
        points: float [N, >=468, 2].
        eye: 0 for the left one, 1 for the right one.
    """
    upper = EYES[eye][0]
    corners = (upper[0], upper[-1]) if eye == 0 else (upper[-1], upper[0])
    return _frame_between(points[:, list(corners)])


def mouth_frame(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mouth's centre and axes by the inner lips' corners, as `eye_frame` an eye's."""
    return _frame_between(points[:, [UPPER[0], UPPER[-1]]])


def mouth_place(points: torch.Tensor) -> torch.Tensor:
    """Return the mouth's centre and the ends of its axes at the depth of the lips, [N, 3, 3], of [N, >=468, 3]."""
    center, axes = mouth_frame(points[..., :2])
    depth = points[:, [UPPER[_MIDDLE], LOWER[_MIDDLE]], 2].mean(1)
    places = torch.cat((center.unsqueeze(1), center.unsqueeze(1) + axes), dim=1)
    return torch.cat((places, depth.view(-1, 1, 1).expand(-1, 3, 1)), dim=-1)


def _frame_between(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    along = corners[:, 1] - corners[:, 0]
    return corners.mean(1), torch.stack((along, torch.stack((-along[:, 1], along[:, 0]), dim=-1)), dim=1)


def eyes_in_view(points: torch.Tensor) -> torch.Tensor:
    """Return the visible share of each eye, [N, 2]: 1, down to 0 for one that the turned head hides.

    Args:
        points: float [N, >=468, 2].
    """
    along = torch.stack([eye_frame(points, eye)[1][:, 0] for eye in (0, 1)], dim=1)
    width = (along * torch.nn.functional.normalize(along.sum(1, keepdim=True), dim=-1)).sum(-1)
    return EYE_IN_VIEW(width / width.amax(1, keepdim=True).clamp_min(1e-6))


def lip_gaps(shape: torch.Tensor) -> torch.Tensor:
    """Return the lower inner lip's distance below the upper one, [N, 11] along the mouth, in the shape's unit."""
    return shape[:, LOWER, 1] - shape[:, UPPER, 1]


def move_lips(shape: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
    """Lower the lower lip by `drop` [N, 11] along the mouth (negative: raise it), and the jaw with its middle.

    Args:
        shape: float [N, 478, 3] in head coordinates; not modified.
    """
    moved = shape.clone()
    moved[:, :468, 1] += drop @ jaw_weights().to(shape.device).mT
    return moved


def open_mouth(shape: torch.Tensor, opening: torch.Tensor) -> torch.Tensor:
    """Give mouths of shapes [N, 478, 3] in head coordinates an opening [N]; the lips never cross."""
    now = mouth_opening(shape) * lip_gaps(shape)[:, _MIDDLE].sign()
    profile = torch.tensor(LIP_PROFILE, device=shape.device)
    shape = move_lips(shape, ((opening - now) * mouth_width(shape)).unsqueeze(-1) * profile)
    overlap = (-lip_gaps(shape)).clamp_min(0)
    shape[:, LOWER, 1] += overlap / 2
    shape[:, UPPER, 1] -= overlap / 2
    return shape


def move_lids(shape: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Change the eyes' openings of shapes [N, 478, 3] by `change` [N, 2]; the upper lids move."""
    shape, now = shape.clone(), eye_openings(shape)
    factor = (1 + change / now.clamp_min(MIN_OPENING)).clamp(0, MAX_LID_FACTOR)
    for eye, (upper_lid, lower_lid, _) in enumerate(EYES):
        upper, lower = list(upper_lid[1:-1]), list(lower_lid[1:-1])
        gap = shape[:, lower] - shape[:, upper]
        shape[:, upper] = shape[:, lower] - factor[:, eye].view(-1, 1, 1) * gap
    return shape


def close_lips(shape: torch.Tensor, threshold: float) -> torch.Tensor:
    """Bring lips of shapes [N, 478, 3] together where they are open by at least the threshold."""
    is_open = (mouth_opening(shape) >= threshold).unsqueeze(-1)
    return move_lips(shape, torch.where(is_open, -lip_gaps(shape), 0.0))


@lru_cache(maxsize=1)
def jaw_weights() -> torch.Tensor:
    """Return the share of each lower-lip place's drop that each vertex follows, float32 [468, 11].

    The lower lip follows the place it belongs to; further down the chin and the jaw follow the lip's middle, less to
    the sides; vertices above the line between the lips stay.
    """
    vertices = canonical_face().vertices
    x, y = vertices[:, 0], vertices[:, 1]
    line_x, line_y = x[LOWER], (y[LOWER] + y[UPPER]) / 2
    place = torch.bucketize(x.contiguous(), line_x.contiguous()).clamp(1, len(LOWER) - 1)
    part = ((x - line_x[place - 1]) / (line_x[place] - line_x[place - 1])).clamp(0, 1)
    along = torch.zeros(len(x), len(LOWER))
    along.scatter_(1, place.unsqueeze(1), part.unsqueeze(1))
    along.scatter_add_(1, (place - 1).unsqueeze(1), (1 - part).unsqueeze(1))
    line = (along * line_y).sum(1)

    is_lip = torch.zeros(len(x), dtype=torch.bool)
    is_lip[list(topology.LIP_INNER_LOWER + topology.LIP_OUTER_LOWER)] = True
    below = torch.where(is_lip, torch.ones_like(y), (y - line > JAW.seam).float())
    lip_end = (along * y[list(topology.LIP_OUTER_LOWER)]).sum(1)
    chin = JAW.chin(y - lip_end).unsqueeze(1)
    middle = torch.zeros_like(along)
    middle[:, _MIDDLE] = JAW.share - JAW.side_loss * JAW.sides(x.abs())
    weights = torch.lerp(along, middle, chin) * below.unsqueeze(1)
    weights[UPPER] = 0
    return weights


@lru_cache(maxsize=1)
def expression_weights() -> torch.Tensor:
    """Return the share of each vertex's motion that is expression, float32 [468]: nothing at the hairline."""
    y = canonical_face().vertices[:, 1]
    weights = REGIONS.forehead(y - y.min())
    weights[list(topology.OVAL)] *= REGIONS.outline(y[list(topology.OVAL)] - y[33])
    return weights


@lru_cache
def region_weights(region: str) -> torch.Tensor:
    """Return the share of the expression that a motion region moves, float32 [468] in 0..1."""
    x, y, _ = canonical_face().vertices.unbind(-1)
    if region == "pose":
        return torch.zeros(468)
    if region == "lip":
        nose = y[2]
        weights = REGIONS.lips(y - nose)
        weights[list(topology.LIP_OUTER_UPPER + topology.LIP_INNER_UPPER)] = 1
        return weights
    if region == "eyes":
        weights = torch.zeros(468)
        for upper, _, _ in EYES:
            corners = canonical_face().vertices[[upper[0], upper[-1]], :2].mean(0)
            away = torch.stack((x, y), dim=-1) - corners
            weights = torch.maximum(
                weights, 1 - smoothstep((away / torch.tensor(REGIONS.eyes)).norm(dim=-1) * 2 - 1)
            )
        return weights
    return torch.ones(468)
