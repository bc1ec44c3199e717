"""Eyes and mouths of made faces, drawn by the draft engine's layers."""

from __future__ import annotations

import torch
from made_faces import HEIGHT, LOWER_LIP, UPPER_LIP, WIDTH, picture

from liveportrait_v2v import compose
from liveportrait_v2v.compose import PixelRect, to_float
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.curves import Opening
from liveportrait_v2v.engines.draft.memory import Memory
from liveportrait_v2v.engines.draft.motion import RestingFace, Target, transfer
from liveportrait_v2v.engines.draft.mouth import draw_mouths
from liveportrait_v2v.engines.draft.parts import Parts
from liveportrait_v2v.engines.draft.warp import Rings, make_warp
from liveportrait_v2v.geometry import face_crop
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

WHOLE = PixelRect(0, 0, HEIGHT, WIDTH)
SHARP = torch.tensor([0.6])  # blur of a sharp picture, in pixels
SIZE = 14.0  # pixels a centimetre: eyes of 40 pixels


def target(source: torch.Tensor, moved: torch.Tensor) -> Target:
    """Target that moves a source face's landmarks to others."""
    rests = [RestingFace.of(points) for points in (source, moved)]
    asked = transfer(source[None], moved[None], *rests, AnimationSettings(), MotionOptions(), True, False)
    gaze = face.gaze(asked.moved_pose.undo(moved[None]))
    return Target(**{**vars(asked), "moved": moved[None], "gaze": gaze})


def drawn(draw, frames: torch.Tensor, asked: Target) -> torch.Tensor:
    """A frame [H, W, 3] with its openings drawn over the source."""
    square = face_crop(asked.source, AnimationSettings())
    pictures = to_float(frames)
    shift = make_warp(asked, Rings(asked, square, True).mesh(asked), 256).at_nodes()
    if draw is draw_mouths:
        draw(pictures, frames, asked, Memory().learn(frames, asked), shift, square, WHOLE, SHARP)
    else:
        draw(pictures, frames, asked, shift, square, WHOLE, SHARP)
    compose.blend(frames := frames.clone(), pictures, torch.ones(1, HEIGHT, WIDTH), WHOLE)
    return frames[0].float()


def column(frame: torch.Tensor, points: torch.Tensor, x: float = 0.0) -> torch.Tensor:
    """Lightness of the inside of a mouth from lip to lip, at a distance from its middle in pixels."""
    top, bottom = int(points[UPPER_LIP, 1]), int(points[LOWER_LIP, 1])
    return frame[top:bottom, int(points[UPPER_LIP, 0] + x)].mean(-1)


def with_teeth(points: torch.Tensor) -> torch.Tensor:
    """A picture [1, H, W, 3] of an open mouth that is filled with white teeth."""
    frames = picture()
    parts = Parts(points[None])
    lips = points[None, None, face.UPPER + face.LOWER, :2]
    opening = Opening.between(lips, parts.lips, parts.mouth, WHOLE, 3, SHARP)
    opening.rects[0].of(frames)[0][((opening.above + opening.below) < 0.5)[0]] = 240
    return frames
