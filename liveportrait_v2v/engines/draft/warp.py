"""The dense warp of a chunk of frames, from landmarks before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from ...faces import FaceSquare, topology
from ...tensors import put, taken
from . import face
from .mesh import RING_PLACES, warp_mesh
from .motion import Target, angle_of
from .raster import Surface, cross

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


@dataclass(frozen=True)
class CornerParameters:
    """Skin around the corners of mouths that shut, in widths of the mouth.

    Attributes:
        way: largest motion of the source's skin away from a corner.
        around: distance from a corner at which a bell of that motion falls to 1 / e.
        inner: distance of the motion's centre from the corner, inside the mouth, and from it, where the motion sets in.
    """

    way: float = 0.06
    around: float = 0.15
    inner: float = 0.025


CORNERS = CornerParameters()

Vertices = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Mesh vertices in the square before and after, [N, V, 2], and their depth after, [N, V]."""


def make_warp(target: Target, vertices: Vertices, size: int) -> Surface:
    """Return the warp of skin and surroundings on a grid of `size` nodes a side; across openings it goes on evenly.

    Its values are shifts in sides of the square: place + shift is the place in the source.

    Args:
        target: landmarks before and after, N frames.
        vertices: of that target's mesh.
    """
    triangles = warp_mesh().triangles.to(target.source.device)
    before, after, depth = vertices
    before = _margins_outward(before, target)
    return Surface.of(after * size, depth, before - after, triangles, size)


def _margins_outward(places: torch.Tensor, target: Target) -> torch.Tensor:
    """Move the source's margins of lids and lips [N, V, 2] outwards as they shut.

    Landmarks run a little inside the margins: drawn together by them, lids would still carry a slit of the eye, and
    lips one of the teeth.
    """
    places = places.clone()
    before, after = target.before, target.after
    shut = _shutting(before.eye_openings, after.eye_openings)
    margins: list[tuple[Sequence[int], Sequence[int], torch.Tensor, torch.Tensor]] = [
        (*eye[:2], down, share)
        for eye, down, share in zip(
            face.EYES, face.eye_frames(places).axes[:, 1].chunk(2), shut.unbind(1), strict=True
        )
    ]
    down = face.mouth_frame(places).axes[:, 1]
    own, new = before.mouth_opening, after.mouth_opening
    # The light of teeth reaches over the margins of the lips; one that does not move stays as it is.
    lit = LIT_LIPS_SHARE * LIT_LIPS(own) * OTHER_OPENING((new - own).abs())
    lips_shut = _shutting(own, new)
    margins.append((face.UPPER, face.LOWER, 0.5 * down, torch.maximum(lips_shut, lit)))
    _corners_outward(places, lips_shut)
    for upper, lower, across, share in margins:
        step = (MARGIN_OUTSIDE_LANDMARKS * across * share.unsqueeze(-1)).unsqueeze(1)
        for numbers, way in ((lower[1:-1], step), (upper[1:-1], -step)):
            put(places, numbers, taken(places, numbers) + way)
    return places


def _corners_outward(places: torch.Tensor, share: torch.Tensor) -> None:
    """Move the source's skin around the corners of mouths away from these; `places` [N, V, 2] are modified.

    Beside its corners, a wide mouth is dark beyond its landmarks.

    Args:
        share: float32 [N], by which the mouths shut.
    """
    if not share.any():
        return
    mouth = face.mouth_frame(places)
    local = mouth.local(places)
    way = torch.zeros_like(local)
    for outwards in (-1.0, 1.0):
        away = local - local.new_tensor([0.5 * outwards, 0])
        near = torch.exp(-(away / CORNERS.around).square().sum(-1, keepdim=True))
        away = away + away.new_tensor([CORNERS.inner * outwards, 0])
        way += near * away / (away.square().sum(-1, keepdim=True) + CORNERS.inner**2).sqrt()
    places.add_((CORNERS.way * share.view(-1, 1, 1) * way) @ mouth.axes)


def _shutting(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the share by which an opening shuts: 0 (not at all, or shut before) to 1."""
    return (1 - (after + SHUT_OPENING) / (before + SHUT_OPENING)).clamp_min(0)


def without_folds(target: Target, square: FaceSquare, stitching: bool) -> tuple[Target, Vertices]:
    """Hold the head's motion back in frames where it would turn a part of the picture around the face inside out.

    Returns the target and its mesh, whose outline does not bulge.
    """
    rings = Rings(target, square, stitching)
    vertices = before, after, _ = rings.mesh(target)
    _, still, _ = rings.mesh(target.held_back(torch.zeros_like(target.strength)))
    share = _unfolded_share(before, still, after)
    if (share < 1).any():
        target = target.held_back(share)
        vertices = rings.mesh(target)
    return target, _without_bulges(target, vertices, rings)


def _unfolded_share(source: torch.Tensor, start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Return the largest share [N] of the way between two forms of a mesh that keeps its rings from being folded.

    Areas are quadratic in that share, so it is known exactly.

    Args:
        source, start, end: float32 [N, V, 2], the mesh in the source, and the two.
    """
    mesh = warp_mesh()
    outer = mesh.outer_triangles.to(source.device)
    source, corners, shift = (x[:, outer] for x in (source, start, end - start))
    e1, e2 = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    d1, d2 = shift[:, :, 1] - shift[:, :, 0], shift[:, :, 2] - shift[:, :, 0]
    area = cross(e1, e2)
    healthy = area > SQUEEZED_AREA_SHARE * cross(
        source[:, :, 1] - source[:, :, 0], source[:, :, 2] - source[:, :, 0]
    )
    a, b, c = cross(d1, d2), cross(e1, d2) + cross(d1, e2), area * (1 - MIN_AREA_SHARE)
    root = -2 * c / (b - (b * b - 4 * a * c).clamp_min(0).sqrt())
    reached = (b * b >= 4 * a * c) & (root > 0) & healthy
    return torch.where(reached, root, torch.ones_like(root)).amin(1).clamp(max=1)


class Rings:
    """Rings around N faces in their crop squares, and how the head's motion moves them.

    Args:
        target: how the head moves; the share of that which is carried out is given with each mesh.
        stitching: the squares' border stays where it is.
    """

    def __init__(self, target: Target, square: FaceSquare, stitching: bool):
        self.square = square
        self._before = square.to_crop(target.before.points[:, :468])
        outline = taken(self._before, OVAL)
        center = outline.mean(1, keepdim=True)
        ray = outline - center
        border = center + ray * _to_border(center, ray).clamp_min(MIN_BORDER_RAYS)
        # Rings go with the skull, less and less towards the border; near the face also with its outline's own motion.
        depth = taken(target.source, OVAL)[..., 2]
        down = torch.nn.functional.normalize(ray, dim=-1)[..., 1]
        # The head reaches further beyond its outline above than at the sides; but to turn far takes all there is.
        turn = angle_of(target.pose.rotation.mT @ target.moved_pose.rotation)
        far = FAR_TURN_RADIANS(turn).view(-1, 1, 1)
        rigid = NEAR_ROOM_SHARE * (1 - down.unsqueeze(1)) * (1 - far)
        self._place = ray.new_tensor(RING_PLACES).view(-1, 1)
        self._rings = torch.lerp(outline.unsqueeze(1), border.unsqueeze(1), self._place.unsqueeze(-1))
        depths = depth.unsqueeze(1) + self._place * BORDER_DEPTH_SIDES * square.side.view(-1, 1, 1)
        # The whole motion: of a share of it, places move by that share.
        whole = replace(target, strength=torch.ones_like(target.strength))
        places = torch.cat((outline.unsqueeze(1), self._rings), dim=1)
        moved = _with_skull(
            whole, square, places.flatten(1, 2), torch.cat((depth.unsqueeze(1), depths), dim=1).flatten(1)
        )
        travels = moved.view_as(places) - places
        self._outline, self._outline_travel, self._travels = outline, travels[:, 0], travels[:, 1:]
        self._room = torch.linalg.vector_norm(border - outline, dim=-1).clamp_min(1e-6)
        if stitching:
            travel = torch.linalg.vector_norm(self._outline_travel, dim=-1)
            reach = _reach(travel, self._room).minimum(1 - rigid)
            fade = 1 - face.smoothstep((self._place - rigid) / reach)
            self._travels = self._travels * fade.unsqueeze(-1)
        self._behind = depths.flatten(1) + square.side.unsqueeze(-1)  # always behind the face

    def mesh(self, target: Target, after: torch.Tensor | None = None) -> Vertices:
        """Return the mesh of faces and rings.

        Args:
            target: with any share of the head's motion.
            after: places [N, 468, 2] of its landmarks in the square, if not its own.
        """
        if after is None:
            after = self.square.to_crop(target.after.points[:, :468])
        share = target.strength.view(-1, 1, 1)
        shift = taken(after, OVAL) - torch.addcmul(self._outline, share, self._outline_travel)
        reach = _reach(torch.linalg.vector_norm(shift, dim=-1), self._room).clamp_max_(MAX_JAW_REACH_SHARE)
        near = 1 - face.smoothstep(self._place / reach)
        moved = torch.addcmul(self._rings, share.unsqueeze(-1), self._travels)
        moved = moved.addcmul_(shift.unsqueeze(1), near.unsqueeze(-1))
        return (
            torch.cat((self._before, self._rings.flatten(1, 2)), dim=1),
            torch.cat((after, moved.flatten(1, 2)), dim=1),
            torch.cat((target.moved[:, :468, 2], self._behind), dim=1),
        )


def _without_bulges(target: Target, vertices: Vertices, rings: Rings) -> Vertices:
    """Hold the outline back where it would go outwards and the source shows it edge-on or not at all.

    The outline of a head that turns away is another part of the head: what the source hides there would unfold beyond
    the head's own outline. It is held back as far as nothing around it folds.
    """
    edge = warp_mesh().edge.to(target.source.device)
    before, after, depth = vertices
    own, new = before[:, :468], after[:, :468]
    head = torch.zeros_like(target.source[:, :1])
    start, end = (
        rings.square.to_crop(places[..., :2]) for places in (target.pose.apply(head), target.placed(head))
    )
    # The outline of a head that tilts goes along.
    tilt = _tilt(target)
    way = new - (end + (own - start) @ tilt)
    outwards = torch.nn.functional.normalize((own - taken(own, OVAL).mean(1, keepdim=True)) @ tilt, dim=-1)
    share = edge * EDGE_ON.down(_facing(target.source))
    excess = (way * outwards).sum(-1).clamp_min(0) * share
    if not excess.any():
        return vertices
    _, held, _ = rings.mesh(target, new - excess.unsqueeze(-1) * outwards)
    unfolded = _unfolded_share(before, after, held).view(-1, 1, 1)
    return before, torch.lerp(after, held, unfolded), depth


def _tilt(target: Target) -> torch.Tensor:
    """Return the part of the head's turn in the picture's plane, in the share of it that is carried out.

    Returns:
        float32 [N, 2, 2], by which rows of places are multiplied.
    """
    turn = (target.pose.rotation.mT @ target.moved_pose.rotation)[:, :2, :2]
    cos, sin = turn[:, 0, 0] + turn[:, 1, 1], turn[:, 0, 1] - turn[:, 1, 0]
    plane = torch.stack((cos, sin, -sin, cos), dim=-1) / torch.hypot(cos, sin).clamp_min(1e-6).unsqueeze(-1)
    still = torch.eye(2, device=turn.device)
    return torch.lerp(still, plane.view(-1, 2, 2), target.strength.view(-1, 1, 1))


@lru_cache(maxsize=4)
def _facing(source: torch.Tensor) -> torch.Tensor:
    """Return how far the outline's surroundings face the viewer, [N, 468]: 1 straight, 0 edge-on; 0 elsewhere.

    Args:
        source: float32 [N, 478, 3], landmarks; a still's are the same tensor in each frame.
    """
    points = source[:, :468]
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
