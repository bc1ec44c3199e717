"""The dense warp of a chunk of frames, from landmarks before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ...faces import FaceSquare, topology
from . import face
from .mesh import RING_PLACES, warp_mesh
from .motion import Target, angle_of
from .raster import cross, fill, planes, rasterize

OVAL = list(topology.OVAL)
MIN_BORDER_RAYS = 1.25
"""Least distance of the rings' outer border from the face's centre, in distances of the outline."""
BORDER_DEPTH_SIDES = 0.2
"""Depth of the border behind the outline, in sides of the square."""
MIN_REACH_SHARE, MAX_JAW_REACH_SHARE = 0.4, 0.9
"""Least reach of motion beyond the outline, as a share of the way to the border, and the jaw's largest."""
REACH_TRAVELS = 2.5
"""Reach over which a motion fades, in its own lengths: pictures are squeezed to 40 % there."""
EDGE_ON = face.Ramp(0.5, 0.35)
"""Cosine between the source's view and a vertex's normal below which the outline does not bulge."""
FAR_TURN_RADIANS = face.Ramp(0.2, 0.35)
"""Turns of the head at which all of its surroundings bend with it."""
NEAR_ROOM_SHARE = 0.25
"""Share of the rings that moves rigidly with the head, at the sides; twice that above it, none below."""
MARGIN_OUTSIDE_LANDMARKS = 0.06
"""Distance of a lid's margin outside its landmarks, in widths of the eye; a lip's, in half widths of the mouth."""
LIT_LIPS, OTHER_OPENING, LIT_LIPS_SHARE = face.Ramp(0.06, 0.1), face.Ramp(0, 0.06), 0.5
"""Opening of the source's mouth from which teeth light the margins of its lips, the change of it from which these are
left out, and the share of the margin above that is."""
SHUT_OPENING = 0.02
"""Opening that is added to both sides when openings are compared: below it, an eye or mouth is as good as shut."""
MIN_AREA_SHARE = 0.1
"""Least share of its area that a triangle around the face keeps."""
SQUEEZED_AREA_SHARE = 0.3
"""A triangle that the expression alone squeezes below this does not limit the head motion; if flipped it is culled."""


Vertices = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Mesh vertices in the square before and after, [N, V, 2], and their depth after, [N, V]."""


def make_warp(target: Target, vertices: Vertices, size: int) -> torch.Tensor:
    """Return the warp of skin and surroundings on a grid of `size` nodes a side; across openings it goes on evenly.

    Args:
        target: landmarks before and after, N frames.
        vertices: of that target's mesh.

    Returns:
        float32 [N, 2, S, S], in sides of the square: place + shift is the place in the source.
    """
    triangles = warp_mesh().triangles.to(target.source.device)
    before, after, depth = vertices
    before = _margins_outward(before, target)
    pixels = after * size
    front = rasterize(pixels, depth, triangles, size)
    return fill(front, planes(pixels, before - after, triangles))


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
    own, new = face.mouth_opening(target.source), face.mouth_opening(target.moved)
    # The light of teeth reaches over the margins of the lips; one that does not move stays as it is.
    lit = LIT_LIPS_SHARE * LIT_LIPS(own) * OTHER_OPENING((new - own).abs())
    margins.append((face.UPPER, face.LOWER, 0.5 * down, torch.maximum(_shutting(own, new), lit)))
    for upper, lower, across, share in margins:
        step = (MARGIN_OUTSIDE_LANDMARKS * across * share.unsqueeze(-1)).unsqueeze(1)
        places[:, list(lower[1:-1])] += step
        places[:, list(upper[1:-1])] -= step
    return places


def _shutting(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the share by which an opening shuts: 0 (not at all, or shut before) to 1."""
    return (1 - (after + SHUT_OPENING) / (before + SHUT_OPENING)).clamp_min(0)


def without_folds(target: Target, square: FaceSquare, stitching: bool) -> tuple[Target, Vertices]:
    """Hold the head's motion back in frames where it would turn a part of the picture around the face inside out.

    Returns the target and its mesh.

    Areas are quadratic in the share of the motion, so the largest share that keeps them is known exactly.
    """
    mesh = warp_mesh()
    vertices = before, after, _ = mesh_vertices(target, square, stitching)
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
    if (share == 1).all():
        return target, vertices
    held = target.held_back(share)
    return held, mesh_vertices(held, square, stitching)


def mesh_vertices(target: Target, square: FaceSquare, stitching: bool) -> Vertices:
    """Return the mesh of N crop squares; with `stitching`, their border stays where it is."""
    before = square.to_crop(target.source[:, :468, :2])
    after = square.to_crop(target.moved[:, :468, :2])
    outline = before[:, OVAL]
    center = outline.mean(1, keepdim=True)
    after = _without_bulges(target, square, before, after, center)
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
    room = (border - outline).norm(dim=-1).clamp_min(1e-6)
    if stitching:
        # By the whole motion, of which `held_back` takes a share: places stay linear in that share.
        whole = replace(target, strength=torch.ones_like(target.strength))
        travel = (_with_skull(whole, square, outline, depth) - outline).norm(dim=-1)
        reach = _reach(travel, room).minimum(1 - rigid)
        shift = shift * (1 - face.smoothstep((place - rigid) / reach)).unsqueeze(-1)
    reach = _reach(outline_shift.norm(dim=-1), room).clamp(max=MAX_JAW_REACH_SHARE)
    near = 1 - face.smoothstep(place / reach).unsqueeze(-1)
    moved = rings + shift + outline_shift.unsqueeze(1) * near
    behind = ring_depth + square.side.unsqueeze(-1)  # always behind the face
    return (
        torch.cat((before, rings.flatten(1, 2)), dim=1),
        torch.cat((after, moved.flatten(1, 2)), dim=1),
        torch.cat((target.moved[:, :468, 2], behind), dim=1),
    )


def _without_bulges(
    target: Target, square: FaceSquare, before: torch.Tensor, after: torch.Tensor, center: torch.Tensor
) -> torch.Tensor:
    """Hold the outline back where it would go outwards and the source shows it edge-on or not at all.

    The outline of a head that turns away is another part of the head: what the source hides there would unfold beyond
    the head's own outline.

    Args:
        before, after: float32 [N, 468, 2], vertices in the square; center: float32 [N, 1, 2], the outline's.
    """
    edge = warp_mesh().edge.to(before.device)
    head = torch.zeros_like(target.source[:, :1])
    ends = square.to_crop(target.placed(head)[..., :2]), square.to_crop(target.pose.apply(head)[..., :2])
    way = after - before - (ends[0] - ends[1])
    outwards = torch.nn.functional.normalize(before - center, dim=-1)
    share = edge * EDGE_ON.down(_facing(target.source[:, :468]))
    excess = (way * outwards).sum(-1).clamp_min(0) * share
    return after - excess.unsqueeze(-1) * outwards


def _facing(points: torch.Tensor) -> torch.Tensor:
    """Return how far the outline's surroundings face the viewer, [N, 468]: 1 straight, 0 edge-on; 0 elsewhere.

    Args:
        points: float32 [N, 468, 3], vertices of faces.
    """
    triangles = warp_mesh().edge_triangles.to(points.device)
    a, b, c = points[:, triangles].unbind(2)
    normals = torch.zeros_like(points)
    across = torch.cross(b - a, c - a, dim=-1)
    for corner in triangles.unbind(1):
        normals.index_add_(1, corner, across)
    return -torch.nn.functional.normalize(normals, dim=-1)[..., 2]  # z is away from the viewer


def _reach(travel: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """Return the share [N, 1, K] of the room beside the outline in which motions [N, K] fade."""
    return (REACH_TRAVELS * travel / room).clamp_min(MIN_REACH_SHARE).unsqueeze(1)


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
