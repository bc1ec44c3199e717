"""One face's landmarks, split into head pose, shape in head coordinates, and openings of eyes and mouth.

Head coordinates are those of `faces.canonical` (centimetres, x right, y down, z away from the viewer), so that shapes
of different people, seen at any angle and distance, can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from ...faces import topology
from ...faces.canonical import canonical_face
from ...faces.history import MESH
from ...geometry import Pose, fit_pose
from ...tensors import put, taken
from .affine import Affine

EYES = (
    (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER, topology.LEFT_IRIS),
    (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, topology.RIGHT_IRIS),
)
UPPER, LOWER = list(topology.LIP_INNER_UPPER), list(topology.LIP_INNER_LOWER)
_MIDDLE = len(UPPER) // 2


def smoothstep(x: torch.Tensor) -> torch.Tensor:
    """Return 0 below 0, 1 above 1, and a smooth rise between."""
    return _smooth(x.clamp(0, 1))


def _smooth(x: torch.Tensor) -> torch.Tensor:
    """Return the rise at x in 0..1."""
    return torch.rsub(x, 3, alpha=2).mul_(x).mul_(x)


@dataclass(frozen=True)
class Ramp:
    """A smooth rise from 0 at `start` to 1 at `start + width`."""

    start: float
    width: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rise at x."""
        return _smooth((x - self.start).div_(self.width).clamp_(0, 1))

    def down(self, x: torch.Tensor) -> torch.Tensor:
        """Return the fall from 1 at `start - width` to 0 at `start`."""
        return _smooth((self.start - x).div_(self.width).clamp_(0, 1))


MIN_OPENING = 0.02
"""Opening (height / width) that stands in for smaller ones where one is divided by."""
MAX_LID_FACTOR = 3
"""Largest factor by which lids are moved apart at once."""
GAZE_WITH_OPENING = 0.3
"""Widths of the eye by which the landmark network sees an iris higher for each unit of an eye's opening: with lids that
part or shut it follows the middle between them, where the iris itself stays."""
EYE_IN_VIEW = Ramp(0.25, 0.25)
"""Width of an eye in the picture, over that of the wider eye, at which it comes into view."""
UNTOLD = -1.0
"""Share of teeth of which no driving face tells."""
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


@dataclass(frozen=True)
class LidParameters:
    """The motion of the skin above an upper lid that rises: moved alone, the lid would squeeze it to a light line.

    Attributes:
        reach: distance above the lid at which that motion ends, in centimetres of the canonical face.
        sides: distance from the middle of the eye at which it ends, in widths of the eye.
    """

    reach: Ramp = Ramp(1.6, 1.6)
    sides: Ramp = Ramp(0.75, 0.35)


JAW, REGIONS, LIDS = JawParameters(), RegionParameters(), LidParameters()
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
    ends = taken(points, (UPPER[_MIDDLE], LOWER[_MIDDLE], UPPER[0], UPPER[-1]))[..., :2]
    height, width = _lengths(ends).unbind(-1)
    return height / (width + 1e-6)


def mouth_width(points: torch.Tensor) -> torch.Tensor:
    """Return the mouth's inner width in the picture, [N], of points [N, >=468, >=2], in their unit."""
    return _lengths(taken(points, (UPPER[0], UPPER[-1]))[..., :2]).squeeze(-1)


def with_teeth(landmarks: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return landmarks [N, 478, 3] with one more at which the teeth end: what is done to landmarks, is done to it.

    Args:
        share: float32 [N], its place from the upper lip's middle, 0, to the lower one's, 1.
    """
    upper, lower = taken(landmarks, (UPPER[_MIDDLE], LOWER[_MIDDLE])).unbind(1)
    return torch.cat((landmarks, torch.lerp(upper, lower, share.unsqueeze(1)).unsqueeze(1)), dim=1)


def teeth_share(landmarks: torch.Tensor) -> torch.Tensor:
    """Return the shares [N] that landmarks [N, 479, 3] tell of; UNTOLD for those [N, 478, 3] that tell of none."""
    if landmarks.shape[1] == MESH:
        return landmarks.new_full((len(landmarks),), UNTOLD)
    upper, lower = taken(landmarks, (UPPER[_MIDDLE], LOWER[_MIDDLE])).unbind(1)
    gap, way = lower - upper, landmarks[:, MESH] - upper
    least = (MIN_OPENING * mouth_width(landmarks)).square().clamp_min(1e-6)
    return ((way * gap).sum(1) / gap.square().sum(1).maximum(least)).clamp(0, 1)


def eye_openings(points: torch.Tensor) -> torch.Tensor:
    """Return height / width of the left and the right eye in the picture, [N, 2], of points [N, >=468, >=2]."""
    ends = [number for upper, lower, _ in EYES for number in (upper[4], lower[4], upper[0], upper[-1])]
    height, width = _lengths(taken(points, ends)[..., :2]).unflatten(1, (2, 2)).unbind(-1)
    return height / (width + 1e-6)


def _lengths(ends: torch.Tensor) -> torch.Tensor:
    """Return the distances [N, K] of points [N, 2 K, 2], the first from the second and so on."""
    first, second = ends.unflatten(1, (-1, 2)).unbind(2)
    return torch.linalg.vector_norm(first - second, dim=-1)


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
    numbers = [number for upper, _, iris in EYES for number in (upper[0], upper[-1], iris[0])]
    first, second, iris = taken(shape, numbers)[..., :2].unflatten(1, (2, 3)).unbind(2)
    width = torch.linalg.vector_norm(second - first, dim=-1, keepdim=True).clamp_min(1e-6)
    return (iris - (first + second) / 2) / width


def level_gaze(shape: torch.Tensor) -> torch.Tensor:
    """Return `gaze`, less what the eyes' opening makes of its height."""
    places = gaze(shape)
    places[..., 1] += GAZE_WITH_OPENING * eye_openings(shape)
    return places


class Frame(Affine):
    """Frames of coordinates at N eyes or mouths, as maps into the picture. Their unit is the width of each.

    The axes run from corner to corner to the right, and downwards.
    """

    def __getitem__(self, index: slice | torch.Tensor) -> Frame:
        """Return some of them."""
        return Frame(self.center[index], self.axes[index])

    @cached_property
    def pixel(self) -> torch.Tensor:
        """Size of the picture's pixels in the frame's unit, [N, 1, 1]."""
        return 1 / torch.linalg.vector_norm(self.axes[:, 0], dim=-1).clamp_min(1e-3).view(-1, 1, 1)

    def local(self, places: torch.Tensor) -> torch.Tensor:
        """Turn places [N, K, 2] of the picture into the frame's."""
        return (places - self.center.unsqueeze(1)) @ self.inverse.axes


def eye_frames(points: torch.Tensor) -> Frame:
    """Return the frames of N left eyes, then of N right ones, by their corners, of points [N, >=468, 2]."""
    left, right = (upper for upper, _, _ in EYES)
    corners = taken(points, (left[0], left[-1], right[-1], right[0]))
    return _frame_between(corners.unflatten(1, (2, 2)).transpose(0, 1).flatten(0, 1))


def mouth_frame(points: torch.Tensor) -> Frame:
    """Return the mouth's frame by the inner lips' corners, of points [N, >=468, 2]."""
    return _frame_between(taken(points, (UPPER[0], UPPER[-1])))


def mouth_place(points: torch.Tensor) -> torch.Tensor:
    """Return the mouth's centre and the ends of its axes at the depth of the lips, [N, 3, 3], of [N, >=468, 3]."""
    frame = mouth_frame(points[..., :2])
    depth = taken(points, (UPPER[_MIDDLE], LOWER[_MIDDLE]))[..., 2:].mean(1, keepdim=True)
    center = frame.center.unsqueeze(1)
    return torch.cat((torch.cat((center, center + frame.axes), dim=1), depth.expand(-1, 3, 1)), dim=-1)


def _frame_between(corners: torch.Tensor) -> Frame:
    """Return the frame between corners [N, 2, 2], the left and the right one."""
    along = corners[:, 1] - corners[:, 0]
    return Frame(corners.mean(1), (along @ _with_downwards(along.device)).unflatten(-1, (2, 2)))


@lru_cache
def _with_downwards(device: torch.device) -> torch.Tensor:
    """Return the matrix [2, 4] that turns a vector x, y into itself and the one at right angles: x, y, -y, x."""
    return torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, -1.0, 0.0]], device=device)


def eyes_in_view(eyes: Frame) -> torch.Tensor:
    """Return the visible share of each eye, [N, 2]: 1, down to 0 for one that the turned head hides.

    Args:
        eyes: as `eye_frames` has them.
    """
    along = eyes.axes[:, 0].unflatten(0, (2, -1)).transpose(0, 1)
    width = (along * torch.nn.functional.normalize(along.sum(1, keepdim=True), dim=-1)).sum(-1)
    return EYE_IN_VIEW(width / width.amax(1, keepdim=True).clamp_min(1e-6))


def lip_gaps(shape: torch.Tensor) -> torch.Tensor:
    """Return the lower inner lip's distance below the upper one, [N, 11] along the mouth, in the shape's unit."""
    return (taken(shape, LOWER) - taken(shape, UPPER))[..., 1]


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
    if overlap.any():
        shape[:, LOWER, 1] += overlap / 2
        shape[:, UPPER, 1] -= overlap / 2
    return shape


def move_lids(shape: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Change the eyes' openings of shapes [N, 478, 3] by `change` [N, 2]; the upper lids move."""
    base, shape, now = shape, shape.clone(), eye_openings(shape)
    factor = (1 + change / now.clamp_min(MIN_OPENING)).clamp(0, MAX_LID_FACTOR)
    for eye, (upper_lid, lower_lid, _) in enumerate(EYES):
        lower = taken(shape, lower_lid[1:-1])
        gap = lower - taken(shape, upper_lid[1:-1])
        put_upper_lid(shape, base, eye, lower - factor[:, eye].view(-1, 1, 1) * gap)
    return shape


def put_upper_lid(shape: torch.Tensor, base: torch.Tensor, eye: int, places: torch.Tensor) -> None:
    """Put an upper lid between its corners to places [N, 7, 3]; where it rises, the skin above goes with it.

    Args:
        shape: float [N, 478, 3] in head coordinates; modified.
        base: float [N, 478, 3], from which it rises.
    """
    lid = EYES[eye][0][1:-1]
    rise = (places - taken(base, lid))[..., 1].clamp_max(0)
    if rise.any():
        weights = lid_weights()[eye].to(shape.device)
        skin = weights.any(1).nonzero().flatten()
        shape[:, skin, 1] = shape[:, skin, 1].minimum(base[:, skin, 1] + rise @ weights[skin].mT)
    put(shape, lid, places)


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
    along = _along(x, line_x)
    line = along @ line_y

    is_lip = torch.zeros(len(x), dtype=torch.bool)
    is_lip[list(topology.LIP_INNER_LOWER + topology.LIP_OUTER_LOWER)] = True
    below = torch.where(is_lip, torch.ones_like(y), (y - line > JAW.seam).float())
    lip_end = along @ y[list(topology.LIP_OUTER_LOWER)]
    chin = JAW.chin(y - lip_end).unsqueeze(1)
    middle = torch.zeros_like(along)
    middle[:, _MIDDLE] = JAW.share - JAW.side_loss * JAW.sides(x.abs())
    weights = torch.lerp(along, middle, chin) * below.unsqueeze(1)
    weights[UPPER] = 0
    return weights


@lru_cache(maxsize=1)
def lid_weights() -> torch.Tensor:
    """Return the share of the rise of each place of both upper lids that each vertex follows, float32 [2, 468, 7].

    Places are those between a lid's corners. Only the skin above the lid follows, the less the further from it.
    """
    x, y, _ = canonical_face().vertices.unbind(-1)
    weights = torch.zeros(2, len(x), len(EYES[0][0]) - 2)
    for eye, (upper, lower, _) in enumerate(EYES):
        lid, corners = list(upper[1:-1]), x[[upper[0], upper[-1]]]
        along = _along(x, x[lid])
        above = along @ y[lid] - y
        beside = (x - corners.mean()).abs() / corners.diff().abs()
        share = (above > 0) * LIDS.reach.down(above) * LIDS.sides.down(beside)
        share[list(upper + lower)] = 0
        weights[eye] = share.unsqueeze(1) * along
    return weights


def _along(x: torch.Tensor, line: torch.Tensor) -> torch.Tensor:
    """Return the shares [V, K] of K places on a line that x [V] lies between; beyond its ends, those ends.

    Args:
        line: float32 [K], rising or falling.
    """
    line, order = line.sort()
    last = torch.bucketize(x.contiguous(), line).clamp(1, len(line) - 1)
    part = ((x - line[last - 1]) / (line[last] - line[last - 1])).clamp(0, 1)
    shares = torch.zeros(len(x), len(line))
    shares.scatter_(1, order[last].unsqueeze(1), part.unsqueeze(1))
    return shares.scatter_add_(1, order[last - 1].unsqueeze(1), (1 - part).unsqueeze(1))


@lru_cache(maxsize=1)
def expression_weights() -> torch.Tensor:
    """Return the share of each vertex's motion that is expression, float32 [468]: nothing at the hairline."""
    y = canonical_face().vertices[:, 1]
    weights = REGIONS.forehead(y - y.min())
    weights[list(topology.OVAL)] *= REGIONS.outline(y[list(topology.OVAL)] - y[33])
    return weights


@lru_cache
def brow_weights(above: float, below: float) -> torch.Tensor:
    """Return how near each vertex is to a brow, float32 [468]: 1 on it, 0 on lids, and 1/e at these distances in cm."""
    vertices = canonical_face().vertices
    weights = torch.zeros(468)
    for brow in (topology.LEFT_BROW, topology.RIGHT_BROW):
        way = vertices[:, None, :2] - vertices[list(brow), :2]
        reach = torch.where(way[..., 1] < 0, above, below).square()
        near = torch.exp(-(way[..., 0].square() / below**2 + way[..., 1].square() / reach))
        weights = torch.maximum(weights, near.amax(1))
    weights[[index for upper, lower, _ in EYES for index in (*upper, *lower)]] = 0
    return weights * expression_weights()


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
