"""The dense warp of a chunk of frames, from landmarks before and after."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...faces import topology
from ...geometry import CropTransform
from . import face
from .mesh import LEFT_EYE, MOUTH, RING_PLACES, RIGHT_EYE, warp_mesh
from .motion import Target
from .raster import interpolate, rasterize

OVAL = list(topology.OVAL)
# The outline keeps this distance from the rings' outer border, as a share of the way from the face's centre.
LEAST_ROOM = 1.25


@dataclass(frozen=True)
class Warp:
    """Where each place of the crop square shows the source from, and what is to be painted there.

    Attributes:
        shift: float32 [N, 2, S, S], in sides of the square: place + shift is the place in the source.
        mouth: float32 [N, 3, S, S]: 1 inside the lips, place along the mouth -1..1, from the upper lip 0 to the lower 1.
        eyes: float32 [N, 1, S, S]: 1 between the lids.
    """

    shift: torch.Tensor
    mouth: torch.Tensor
    eyes: torch.Tensor


def make_warp(target: Target, square: CropTransform, size: int, stitching: bool) -> Warp:
    """The warp on a grid of `size` nodes a side.

    Args:
        target: landmarks before and after, N frames.
        square: the N crop squares.
        stitching: the border of the square stays where it is.
    """
    mesh = warp_mesh()
    triangles, tags = mesh.triangles.to(target.source.device), mesh.tags.to(target.source.device)
    before, after, depth = _vertices(target, square, stitching)

    pixels = after * size
    front = rasterize(pixels, depth, triangles, size)
    uv = torch.cat((mesh.mouth_uv.to(after.device), torch.zeros(after.shape[1] - 468, 2, device=after.device)))
    values = torch.cat((before - after, uv.expand(len(after), -1, -1)), dim=-1)
    maps = interpolate(pixels, values, triangles, front)
    tag = torch.where(front >= 0, tags[front.clamp_min(0)], 0).unsqueeze(1)

    shift, mouth = maps[:, :2], (tag == MOUTH).float()
    for eye, name in enumerate((LEFT_EYE, RIGHT_EYE)):
        shift = torch.where(tag == name, _eye_shift(target, square, eye, size), shift)
    eyes = ((tag == LEFT_EYE) | (tag == RIGHT_EYE)).float()
    return Warp(shift, torch.cat((mouth, maps[:, 2:] * mouth), dim=1), eyes)


def eye_frame(points: torch.Tensor, eye: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre [N, 2] and axes [N, 2, 2] (rows: corner to corner, and at right angles downwards) of an eye."""
    upper = face.EYES[eye][0]
    corners = points[:, [upper[0], upper[-1]]]
    along = corners[:, 1] - corners[:, 0]
    along = along * along[:, :1].sign()
    return corners.mean(1), torch.stack((along, torch.stack((-along[:, 1], along[:, 0]), dim=-1)), dim=1)


def _eye_shift(target: Target, square: CropTransform, eye: int, size: int) -> torch.Tensor:
    """Between the lids the eyeball is shown as it is, turned by the gaze; the lids only cover it: [N, 2, S, S]."""
    before = square.to_crop(target.source[..., :2])
    after = square.to_crop(target.moved[..., :2])
    from_center, from_axes = eye_frame(before, eye)
    to_center, to_axes = eye_frame(after, eye)
    look = target.look[:, eye].clone()
    look[:, 0] *= _outward(eye)
    stretch = (face.eye_openings(target.moved)[:, eye] / target.eyes[:, eye].clamp_min(0.02)).clamp(1, 4)

    scale = torch.stack((torch.ones_like(stretch), 1 / stretch), dim=-1)
    inverse = torch.linalg.inv(to_axes) * scale.unsqueeze(1)
    linear = inverse @ from_axes  # row vectors: place - to_center -> place in the source - from_center
    constant = from_center - (look.unsqueeze(1) @ from_axes).squeeze(1) - (to_center.unsqueeze(1) @ linear).squeeze(1)
    linear = linear - torch.eye(2, device=linear.device)
    axis = (torch.arange(size, device=linear.device) + 0.5) / size
    x, y = axis.view(1, 1, 1, -1), axis.view(1, 1, -1, 1)
    return linear[:, 0].view(-1, 2, 1, 1) * x + linear[:, 1].view(-1, 2, 1, 1) * y + constant.view(-1, 2, 1, 1)


def _outward(eye: int) -> float:
    """+1: gaze is measured with x to the right in head coordinates, as the eye's frame is."""
    return 1.0


def _vertices(target: Target, square: CropTransform, stitching: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mesh vertices in the square before and after [N, V, 2], and their depth after [N, V]."""
    before = square.to_crop(target.source[:, :468, :2])
    after = square.to_crop(target.moved[:, :468, :2])
    outline = before[:, OVAL]
    center = outline.mean(1, keepdim=True)
    ray = outline - center
    reach = _to_border(center, ray).clamp_min(LEAST_ROOM)
    border = center + ray * reach

    # Vertices of a ring go with the skull, less and less towards the border; near the jaw also with the jaw.
    depth = target.source[:, OVAL, 2]
    unit = torch.nn.functional.normalize(ray, dim=-1)
    down = unit[..., 1]
    calm = torch.where(down < 0, 0.25 - 0.25 * down, 0.25 - 0.25 * down)  # how far the head reaches beyond its outline
    rings, moved, depths = [], [], []
    outline_skull = _with_skull(target, square, outline, depth)
    extra = after[:, OVAL] - outline_skull
    for place in RING_PLACES:
        ring = torch.lerp(outline, border, place)
        ring_depth = depth + place * 0.2 * square.side.unsqueeze(-1)
        shift = _with_skull(target, square, ring, ring_depth) - ring
        if stitching:
            fade = 1 - face.smoothstep((place - calm) / (1 - calm))
            shift = shift * fade.unsqueeze(-1)
        shift = shift + extra * (1 - face.smoothstep(torch.tensor(place / 0.5))) 
        rings.append(ring)
        moved.append(ring + shift)
        depths.append(ring_depth + square.side.unsqueeze(-1))
    return (
        torch.cat((before, *rings), dim=1),
        torch.cat((after, *moved), dim=1),
        torch.cat((target.moved[:, :468, 2], *depths), dim=1),
    )


def _with_skull(target: Target, square: CropTransform, places: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Where places of the square [N, K, 2] with a depth in pixels [N, K] go when they move with the skull."""
    points = torch.cat((square.to_frame(places), depth.unsqueeze(-1)), dim=-1)
    return square.to_crop(target.moved_pose.apply(target.pose.undo(points))[..., :2])


def _to_border(center: torch.Tensor, ray: torch.Tensor) -> torch.Tensor:
    """How many rays it is from the centre to the unit square's border: [N, K, 1]."""
    ray = torch.where(ray.abs() < 1e-6, torch.full_like(ray, 1e-6), ray)
    return torch.where(ray > 0, (1 - center) / ray, -center / ray).amin(-1, keepdim=True)
