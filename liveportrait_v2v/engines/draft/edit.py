"""Edited expressions: what the channels of an `Expression` do to the target's landmarks.

Distances are in centimetres of the canonical face, and grow with the width of the edited one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from ...faces import topology
from ...faces.canonical import canonical_face
from ...geometry import euler_angles, rotation_matrix
from ..base import Edits
from . import face
from .motion import RestingFace, Target, limited_gaze

SHUT_BLINK, SHUT_WINK = -20.0, 25.0
"""Values of these channels that shut an eye."""


@dataclass(frozen=True)
class EditParameters:
    """What a unit of a channel moves, and how far around.

    Attributes:
        blink: share of the opening that a unit above 0 adds.
        widening: limit of how much wider than usual eyes open, in shares of that, approached softly.
        lids: share of the opening that a unit of pupil_y adds: lids follow the gaze.
        gaze: widths of the eye that a unit of pupil_x and of pupil_y moves the iris.
        raised: cm that a unit of eyebrow above 0 raises the brows.
        frown: cm that a unit below 0 moves the brows' inner ends towards the middle and down.
        brow: widths of the bell around the brows, above them and below.
        open: opening of the mouth that a unit of aaa, eee and woo above 0 adds.
        wide: opening of the mouth from which more of it is softly limited, and the most that is added above.
        eee, woo: share of the mouth's width that a unit adds or takes.
        bared: cm that a unit of eee raises the upper lip.
        round: cm that a unit of woo pushes the lips forward.
        mouth: half axes of the ellipse of the lips, around which their motion fades to 0 over as much again.
        smile: cm outwards and upwards that a unit of smile moves the corners of the mouth.
        corners: width of the bell around them.
        cheeks: cm that a unit of smile raises the cheeks.
        cheek: place of the left cheek, and the width of the bell around it.
        pout: cm that a unit of pouting moves the lips sideways.
        resting_corners: height of the mouth's corners above its middle at rest.
    """

    blink: float = 0.05
    widening: float = 0.4
    lids: float = 0.012
    gaze: tuple[float, float] = (0.014, 0.007)
    raised: float = 0.045
    frown: tuple[float, float] = (0.03, 0.05)
    brow: tuple[float, float] = (1.6, 0.75)
    open: tuple[float, float, float] = (0.0045, 0.006, 0.006)
    wide: tuple[float, float] = (0.3, 0.3)
    eee: float = 0.014
    woo: float = 0.022
    bared: float = 0.012
    round: float = 0.025
    mouth: tuple[float, float] = (2.7, 1.6)
    smile: tuple[float, float] = (0.5, 0.6)
    corners: float = 1.6
    cheeks: float = 0.25
    cheek: tuple[float, float, float] = (-4.2, 0.9, 1.6)
    pout: float = 9.0
    resting_corners: float = -0.1


EDITS = EditParameters()
"""Read once a process: the weights by it are cached."""


def unled(source: torch.Tensor, rest: RestingFace) -> Target:
    """Return the target of faces that keep their own motion: landmarks float32 [N, 478, 3] in pixels."""
    pose = face.pose_of(source, rest.shape)
    own = pose.undo(source)
    gaze, full = face.gaze(own), torch.ones_like(pose.scale)
    teeth = face.UNTOLD * full
    return Target(
        source, source, pose, pose, full, gaze, gaze, face.eye_openings(own), teeth, rest.eyes, rest.corners
    )


def edited(
    target: Target, edits: Edits, rest: RestingFace, side: torch.Tensor, axes: torch.Tensor, led: bool
) -> Target:
    """Return the target with an expression added; frames without edits are unchanged.

    Args:
        side, axes: of the source's squares, [N] pixels and [N, 2, 2], in which the head moves.
        led: by a driving clip, whose motion starts from the face at rest; otherwise the face keeps its own motion.
    """
    which = edits.changed.nonzero().squeeze(1)
    if not len(which):
        return target
    some = which.tolist()
    part, device = target[some], target.source.device
    own = Edits(edits.rows[which].to(device))
    shape, gaze = _shape(part, own, rest, led)
    pose = part.moved_pose
    turned = euler_angles(pose.rotation) + torch.stack(
        (own("rotate_pitch"), -own("rotate_yaw"), own("rotate_roll")), dim=1
    )
    heads = own.rows[:, _HEAD].ne(0).any(1).view(-1, 1, 1)
    moves = torch.stack((-own("move_x"), own("move_y")), dim=1) * side[which].unsqueeze(1) / 2
    shift = (moves.unsqueeze(1) @ axes[which]).squeeze(1)
    pose = replace(
        pose,
        rotation=torch.where(heads, rotation_matrix(*turned.unbind(1)), pose.rotation),
        scale=pose.scale * (1 + own("zoom")),
        translation=pose.translation + torch.nn.functional.pad(shift, (0, 1)),
    )
    new = replace(part, moved=pose.apply(shape), moved_pose=pose, gaze=gaze)
    if len(some) == len(target):
        return new
    pieces = [target[k : k + 1] for k in range(len(target))]
    for place, k in enumerate(some):
        pieces[k] = new[place : place + 1]
    return Target.cat(pieces)


_HEAD = [Edits.place(name) for name in ("rotate_pitch", "rotate_yaw", "rotate_roll")]


def _shape(target: Target, edits: Edits, rest: RestingFace, led: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return shapes [N, 478, 3] in head coordinates, and where each iris goes, [N, 2, 2]."""
    shape = target.shape
    opening, eyes, gaze = face.mouth_opening(shape), face.eye_openings(shape), target.gaze
    unit = rest.size[0] / canonical_face().vertices[list(topology.OVAL), 0].to(shape.device).abs().max() / 2

    # What the source's own expression is, goes first.
    lost = -edits("source")
    if lost.any():
        kept = 1 - lost
        if not led:
            shape = torch.lerp(rest.shape.expand_as(shape), shape, kept.view(-1, 1, 1))
            opening = opening * kept
            eyes = torch.lerp(rest.eyes.expand_as(eyes), eyes, kept.unsqueeze(1))
            middle = gaze.mean(1, keepdim=True)
            gaze = gaze - (lost.view(-1, 1, 1) * middle)
        shape = _moved(shape, -lost * _own_smile(rest, unit), "smile", unit)
    for name in ("smile", "eee", "woo", "pouting", "eyebrow"):
        value = edits(name)
        if value.any():
            shape = _moved(shape, value, name, unit)

    wanted = torch.lerp(opening, edits("lips_open"), edits("lips_open_weight"))
    for name, each in zip(("aaa", "eee", "woo"), EDITS.open, strict=True):
        wanted = wanted + each * (edits(name) if name == "aaa" else edits(name).clamp_min(0))
    if edits.any("lips_open_weight", "aaa", "eee", "woo", "source", "smile", "pouting"):
        start, most = torch.maximum(opening, wanted.new_tensor(EDITS.wide[0])), EDITS.wide[1]
        wanted = torch.where(wanted > start, start + most * torch.tanh((wanted - start) / most), wanted)
        shape = face.open_mouth(shape, wanted.clamp_min(0))
    if edits.any(*_EYES):
        usual = torch.maximum(eyes, rest.eyes)
        shape = face.move_lids(shape, _openings(eyes, usual, edits) - face.eye_openings(shape))
    return shape, gaze + _glance(edits)


_EYES = (
    *("blink", "wink_left", "wink_right", "eyes_open_weight", "source"),
    *("pupil_y", "pupil_y_left", "pupil_y_right"),
)


def _openings(eyes: torch.Tensor, usual: torch.Tensor, edits: Edits) -> torch.Tensor:
    """Return the openings [N, 2] that eyes get, by those that they have; above their usual ones softly limited."""
    eyes = torch.lerp(eyes, edits("eyes_open").unsqueeze(1), edits("eyes_open_weight").unsqueeze(1))
    blink, winks = edits("blink"), torch.stack((edits("wink_left"), edits("wink_right")), dim=1)
    both = torch.where(blink < 0, 1 - blink / SHUT_BLINK, 1 + EDITS.blink * blink)
    wanted = eyes * both.unsqueeze(1) * (1 - winks / SHUT_WINK) * (1 + EDITS.lids * edits.gaze("y"))
    wider = usual * (1 + EDITS.widening * torch.tanh((wanted / usual - 1) / EDITS.widening))
    return torch.where(wanted > usual, wider, wanted)


def _glance(edits: Edits) -> torch.Tensor:
    """Return the irises' way, [N, 2, 2] in widths of the eye: softly limited, as a driven one."""
    across, down = EDITS.gaze
    return limited_gaze(torch.stack((across * edits.gaze("x"), -down * edits.gaze("y")), dim=-1))


def _moved(shape: torch.Tensor, value: torch.Tensor, name: str, unit: torch.Tensor) -> torch.Tensor:
    """Add what a value [N] of a channel moves to shapes [N, 478, 3]."""
    shape = shape.clone()
    above, below = (field.to(shape.device) for field in _fields()[name])
    field = torch.where((value >= 0).view(-1, 1, 1), above, below)
    shape[:, :468] += value.view(-1, 1, 1) * field * unit
    return shape


def _own_smile(rest: RestingFace, unit: torch.Tensor) -> torch.Tensor:
    """Return how far the face at rest smiles, as a value of the channel from 0 to 1, []."""
    corners = rest.shape[[topology.LIP_INNER_UPPER[0], topology.LIP_INNER_UPPER[-1]], 1].mean()
    middle = rest.shape[[topology.LIP_INNER_UPPER[5], topology.LIP_INNER_LOWER[5]], 1].mean()
    return (((middle - corners) / unit - EDITS.resting_corners) / EDITS.smile[1]).clamp(0, 1)


@lru_cache(maxsize=1)
def _fields() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the way of each vertex by a unit of a channel above 0 and by one below, float32 [468, 3] in cm."""
    vertices = canonical_face().vertices
    x, y, _ = vertices.unbind(-1)
    side = x.sign()

    def bell(centre_x: float, centre_y: float, width: float) -> torch.Tensor:
        return torch.exp(-((x.abs() - abs(centre_x)).square() + (y - centre_y).square()) / width**2)

    def way(right: torch.Tensor, down: torch.Tensor, away: torch.Tensor) -> torch.Tensor:
        return torch.stack((right, down, away), dim=-1)

    none = torch.zeros(468)
    corner = vertices[topology.LIP_OUTER_UPPER[-1]]
    at_corners = bell(corner[0].item(), corner[1].item(), EDITS.corners)
    at_corners[list(topology.NOSE)] *= 0.2
    out, up = EDITS.smile
    smile = way(
        out * at_corners * (x / corner[0]).clamp(-1, 1),
        -up * at_corners - EDITS.cheeks * bell(*EDITS.cheek),
        none,
    )
    middle = vertices[[topology.LIP_INNER_UPPER[5], topology.LIP_INNER_LOWER[5]], 1].mean()
    across, down = EDITS.mouth
    away = ((x / across).square() + ((y - middle) / down).square()).sqrt()
    lips = 1 - face.smoothstep(away - 1)
    upper = lips * (1 - face.smoothstep((y - middle) / 0.4 + 0.5)) * torch.exp(-(x / 1.8).square())
    eee, woo = EDITS.eee * x * lips, EDITS.woo * x * lips

    raising = face.brow_weights(*EDITS.brow)
    frowning = raising * (1 - face.smoothstep((vertices[:, 0].abs() - 1.2) / 2.5))
    inwards, downwards = EDITS.frown
    return {
        "smile": (smile, smile),
        "eee": (way(eee, -EDITS.bared * upper, none), way(eee, none, none)),
        "woo": (way(-woo, none, -EDITS.round * lips), way(-woo / 2, none, none)),
        "pouting": (way(EDITS.pout * lips, none, none),) * 2,
        "eyebrow": (
            way(none, -EDITS.raised * raising, none),
            way(side * inwards * frowning, -downwards * frowning, none),
        ),
    }
