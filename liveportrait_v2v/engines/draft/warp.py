"""The dense warp of a chunk of frames, from landmarks before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...faces import FaceSquare, topology
from . import face
from .mesh import FACE, LEFT_EYE, MOUTH, RIGHT_EYE, RING_PLACES, warp_mesh
from .motion import Target, angle_of
from .raster import cross, fill, planes, rasterize

OVAL = list(topology.OVAL)
MIN_BORDER_RAYS = 1.25
"""Least distance of the rings' outer border from the face's centre, in distances of the outline."""
BORDER_DEPTH_SIDES = 0.2
"""Depth of the border behind the outline, in sides of the square."""
JAW_REACH_SHARE = 0.9
"""Reach of the jaw's motion beyond the outline, as a share of the way to the border."""
FAR_TURN_RADIANS = face.Ramp(0.2, 0.35)
"""Turns of the head at which all of its surroundings bend with it."""
NEAR_ROOM_SHARE = 0.25
"""Share of the rings that moves rigidly with the head, at the sides; twice that above it, none below."""
MARGIN_OUTSIDE_LANDMARKS = 0.06
"""Distance of a lid's margin outside its landmarks, in widths of the eye; a lip's, in half widths of the mouth."""
MAX_EYEBALL_STRETCH = 4
"""Largest vertical stretch of an eyeball whose lids open further than the source's."""
SHUT_OPENING = 0.02
"""Opening that is added to both sides when openings are compared: below it, an eye or mouth is as good as shut."""
MIN_AREA_SHARE = 0.1
"""Least share of its area that a triangle around the face keeps."""
SQUEEZED_AREA_SHARE = 0.3
"""A triangle that the expression alone squeezes below this does not limit the head motion; if flipped it is culled."""


@dataclass(frozen=True)
class Warp:
    """For each place of the crop square, the place in the source that it shows, and the mouth's inside.

    Attributes:
        shift: float32 [N, 2, S, S], in sides of the square: place + shift is the place in the source.
        mouth: float32 [N, 4, S, S]: 1 inside the lips, place along the mouth -1..1, place from upper lip 0 to lower 1,
            and that place in the source's own mouth: 0 its upper lip, 1 its lower lip, above 1 beyond it.
    """

    shift: torch.Tensor
    mouth: torch.Tensor


def make_warp(target: Target, square: FaceSquare, size: int, stitching: bool) -> Warp:
    """Return the warp on a grid of `size` nodes a side.

    Args:
        target: landmarks before and after, N frames.
        square: the N crop squares.
        stitching: the border of the square stays where it is.
    """
    mesh = warp_mesh()
    device = target.source.device
    triangles, tags = mesh.triangles.to(device), mesh.tags.to(device)
    before, after, depth = mesh_vertices(target, square, stitching)

    before = _margins_outward(before, target)
    pixels = after * size
    front = rasterize(pixels, depth, triangles, size)
    shift = fill(front, planes(pixels, before - after, triangles)).contiguous()
    tag = torch.cat((tags, tags.new_tensor([FACE]))).index_select(0, front.view(-1)).view(front.shape)
    openings = (tag != FACE).nonzero(as_tuple=True)
    name = tag[openings]

    def within(opening: int) -> list[torch.Tensor]:
        """Frame, y and x of the nodes in an opening."""
        return [index[name == opening] for index in openings]

    for eye, opening in enumerate((LEFT_EYE, RIGHT_EYE)):
        frame, y, x = within(opening)
        shift[frame, :, y, x] = _eye_shift(target, square, eye, frame, (x + 0.5) / size, (y + 0.5) / size)

    mouth = torch.zeros(len(after), 4, size, size, device=device)
    frame, y, x = within(MOUTH)
    x_place, y_place = (x + 0.5).unsqueeze(1), (y + 0.5).unsqueeze(1)
    functions = planes(pixels, mesh.mouth_uv.to(device).expand(len(after), -1, -1), triangles)
    functions = functions[frame, front[frame, y, x]]
    uv = functions[:, 0] * x_place + functions[:, 1] * y_place + functions[:, 2]
    source, down = _in_mouth(before, after, frame, uv)
    shift[frame, :, y, x] = source - torch.cat((x_place, y_place), dim=1) / size
    mouth[frame, :, y, x] = torch.cat((torch.ones_like(down), uv, down), dim=1)
    return Warp(shift, mouth)


def _eye_shift(
    target: Target, square: FaceSquare, eye: int, frame: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Return the shift [P, 2] at places (x, y) of the square between the lids.

    The eyeball keeps its shape, turns with the gaze, and is only covered by the lids; where they open further than the
    source's, it is stretched.
    """
    from_center, from_axes = face.eye_frame(square.to_crop(target.source[..., :2]), eye)
    to_center, to_axes = face.eye_frame(square.to_crop(target.moved[..., :2]), eye)
    stretch = (
        face.eye_openings(target.moved)[:, eye] / target.eyes[:, eye].clamp_min(face.MIN_OPENING)
    ).clamp(1, MAX_EYEBALL_STRETCH)
    place = torch.stack((x, y), dim=-1)
    local = ((place - to_center[frame]).unsqueeze(1) @ torch.linalg.inv(to_axes)[frame]).squeeze(1)
    local -= (target.gaze - target.own_gaze)[frame, eye]
    local[:, 1] /= stretch[frame]
    return (local.unsqueeze(1) @ from_axes[frame]).squeeze(1) + from_center[frame] - place


def _in_mouth(
    before: torch.Tensor, after: torch.Tensor, frame: torch.Tensor, uv: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Map places between the lips to the source's mouth: teeth hang from the upper lip, in their own size.

    Args:
        before, after: float32 [N, V, 2], vertices in the square.
        frame: int64 [P], the frame of each place; uv: float32 [P, 2], as `Warp.mouth` has it.

    Returns:
        places in the source [P, 2], never below its lower lip, and their unclamped way down [P, 1].
    """
    position = (uv[:, 0] + 1) / 2 * (len(face.UPPER) - 1)
    left = position.floor().long().clamp(0, len(face.UPPER) - 2)
    part = (position - left).unsqueeze(1)

    def row(places: torch.Tensor, indices: list[int]) -> torch.Tensor:
        points = places[:, indices]
        return torch.lerp(points[frame, left], points[frame, left + 1], part)

    upper, lower = row(before, face.UPPER), row(before, face.LOWER)
    gap = (row(after, face.LOWER) - row(after, face.UPPER)).norm(dim=1, keepdim=True)
    scale = (face.mouth_width(before) / face.mouth_width(after).clamp_min(1e-6))[frame].unsqueeze(1)
    down = uv[:, 1:] * gap * scale / (lower - upper).norm(dim=1, keepdim=True).clamp_min(1e-6)
    return torch.lerp(upper, lower, down.clamp(0, 1)), down.clamp(0, 3)


def _margins_outward(places: torch.Tensor, target: Target) -> torch.Tensor:
    """Move the source's margins of lids and lips [N, V, 2] outwards as they shut.

    Landmarks run a little inside the margins: drawn together by them, lids would still carry a slit of the eye, and
    lips one of the teeth.
    """
    places = places.clone()
    shut = _shutting(face.eye_openings(target.source), face.eye_openings(target.moved))
    margins: list[tuple[Sequence[int], Sequence[int], torch.Tensor, torch.Tensor]] = [
        (eye[0], eye[1], face.eye_frame(places, k)[1][:, 1], shut[:, k]) for k, eye in enumerate(face.EYES)
    ]
    along = places[:, face.UPPER[-1]] - places[:, face.UPPER[0]]
    down = torch.stack((-along[:, 1], along[:, 0]), dim=-1)
    shut = _shutting(face.mouth_opening(target.source), face.mouth_opening(target.moved))
    margins.append((face.UPPER, face.LOWER, 0.5 * down, shut))
    for upper, lower, across, share in margins:
        step = (MARGIN_OUTSIDE_LANDMARKS * across * share.unsqueeze(-1)).unsqueeze(1)
        places[:, list(lower[1:-1])] += step
        places[:, list(upper[1:-1])] -= step
    return places


def _shutting(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the share by which an opening shuts: 0 (not at all, or shut before) to 1."""
    return (1 - (after + SHUT_OPENING) / (before + SHUT_OPENING)).clamp_min(0)


def without_folds(target: Target, square: FaceSquare, stitching: bool) -> Target:
    """Hold the head's motion back in frames where it would turn a part of the picture around the face inside out.

    Areas are quadratic in the share of the motion, so the largest share that keeps them is known exactly.
    """
    mesh = warp_mesh()
    before, after, _ = mesh_vertices(target, square, stitching)
    _, still, _ = mesh_vertices(target.held_back(torch.zeros_like(target.strength)), square, stitching)
    outer = mesh.triangles[mesh.outer].to(before.device)
    source, corners, shift = (x[:, outer] for x in (before, still, after - still))
    e1, e2 = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    d1, d2 = shift[:, :, 1] - shift[:, :, 0], shift[:, :, 2] - shift[:, :, 0]
    area = cross(e1, e2)
    healthy = area > SQUEEZED_AREA_SHARE * cross(
        source[:, :, 1] - source[:, :, 0], source[:, :, 2] - source[:, :, 0]
    )
    a, b, c = cross(d1, d2), cross(e1, d2) + cross(d1, e2), area * (1 - MIN_AREA_SHARE)
    root = -2 * c / (b - (b * b - 4 * a * c).clamp_min(0).sqrt())
    reached = (b * b >= 4 * a * c) & (root > 0) & healthy
    share = torch.where(reached, root, torch.ones_like(root)).amin(1).clamp(max=1)
    return target.held_back(share)


def mesh_vertices(
    target: Target, square: FaceSquare, stitching: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mesh vertices in the square before and after [N, V, 2], and their depth after [N, V]."""
    before = square.to_crop(target.source[:, :468, :2])
    after = square.to_crop(target.moved[:, :468, :2])
    outline = before[:, OVAL]
    center = outline.mean(1, keepdim=True)
    ray = outline - center
    border = center + ray * _to_border(center, ray).clamp_min(MIN_BORDER_RAYS)

    # Rings go with the skull, less and less towards the border; near the face also with its outline's own motion.
    depth = target.source[:, OVAL, 2]
    down = torch.nn.functional.normalize(ray, dim=-1)[..., 1]
    # The head reaches further beyond its outline above than at the sides; but to turn far takes all there is.
    turn = angle_of(target.pose.rotation.mT @ target.moved_pose.rotation)
    far = FAR_TURN_RADIANS(turn).view(-1, 1, 1)
    rigid = NEAR_ROOM_SHARE * (1 - down.unsqueeze(1)) * (1 - far)
    outline_shift = after[:, OVAL] - _with_skull(target, square, outline, depth)
    place = torch.tensor(RING_PLACES, device=before.device).view(-1, 1)
    rings = torch.lerp(outline.unsqueeze(1), border.unsqueeze(1), place.unsqueeze(-1))
    ring_depth = (depth.unsqueeze(1) + place * BORDER_DEPTH_SIDES * square.side.view(-1, 1, 1)).flatten(1)
    shift = _with_skull(target, square, rings.flatten(1, 2), ring_depth).view_as(rings) - rings
    if stitching:
        shift = shift * (1 - face.smoothstep((place - rigid) / (1 - rigid))).unsqueeze(-1)
    near = 1 - face.smoothstep(place / JAW_REACH_SHARE).unsqueeze(-1)
    moved = rings + shift + outline_shift.unsqueeze(1) * near
    behind = ring_depth + square.side.unsqueeze(-1)  # always behind the face
    return (
        torch.cat((before, rings.flatten(1, 2)), dim=1),
        torch.cat((after, moved.flatten(1, 2)), dim=1),
        torch.cat((target.moved[:, :468, 2], behind), dim=1),
    )


def _with_skull(
    target: Target, square: FaceSquare, places: torch.Tensor, depth: torch.Tensor
) -> torch.Tensor:
    """Move places of the square [N, K, 2] with a depth in pixels [N, K] with the skull."""
    points = torch.cat((square.to_frame(places), depth.unsqueeze(-1)), dim=-1)
    return square.to_crop(target.with_skull(points)[..., :2])


def _to_border(center: torch.Tensor, ray: torch.Tensor) -> torch.Tensor:
    """Return the distance from the centre to the unit square's border in rays: [N, K, 1]."""
    ray = torch.where(ray.abs() < 1e-6, torch.full_like(ray, 1e-6), ray)
    return torch.where(ray > 0, (1 - center) / ray, -center / ray).amin(-1, keepdim=True)
