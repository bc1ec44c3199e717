"""Crop squares and keypoint math that needs no network.

Coordinates are continuous pixel coordinates: x right, y down, the pixel in column i and row j covers
[i, i+1) x [j, j+1). Scaling a picture by k therefore scales coordinates by k, with no half-pixel terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .faces import FaceSquare, topology
from .settings import AnimationSettings
from .tensors import TensorStruct

_LEFT_EYE = topology.LEFT_EYE_UPPER[::4] + topology.LEFT_EYE_LOWER[4:5]
_RIGHT_EYE = topology.RIGHT_EYE_UPPER[::4] + topology.RIGHT_EYE_LOWER[4:5]
_LIP_CORNERS = (topology.LIP_OUTER_UPPER[0], topology.LIP_OUTER_UPPER[-1])


def face_axes(landmarks: torch.Tensor) -> torch.Tensor:
    """Return unit vectors of a face's own x and y axis, float32 [N, 2, 2] (rows), of landmarks [N, 478, >=2].

    y runs from the centre of the eyes to the centre of the lip corners, as LivePortrait's two-point parse has it;
    a distance of at most 0.001 pixels gives the picture's own axes.
    """
    points = landmarks[..., :2]
    eyes = (points[:, _LEFT_EYE].mean(1) + points[:, _RIGHT_EYE].mean(1)) / 2
    return axes_between(eyes, points[:, _LIP_CORNERS].mean(1))


def axes_between(eyes: torch.Tensor, lips: torch.Tensor) -> torch.Tensor:
    """Return the axes of `face_axes`, float [N, 2, 2], from the centres of eyes and lips, float [N, 2]."""
    down = lips - eyes
    length = down.norm(dim=-1, keepdim=True)
    upright = torch.tensor([0.0, 1.0], device=down.device).expand_as(down)
    y = torch.where(length > 1e-3, down / length.clamp_min(1e-3), upright)
    x = torch.stack((y[:, 1], -y[:, 0]), dim=-1)
    return torch.stack((x, y), dim=1)


def crop_square(
    landmarks: torch.Tensor,
    *,
    scale: float,
    vx_ratio: float = 0.0,
    vy_ratio: float = 0.0,
    rotate: bool = True,
) -> FaceSquare:
    """Return the square around a face, for each frame.

    The face's box is aligned with the face's own axes; its longer side times `scale` is the square's side, its
    centre the square's, shifted by `vx_ratio` and `vy_ratio` sides along those axes.

    Args:
        landmarks: float [N, 478, >=2], pixels. The points of `topology.CROP_POINTS` make the box.
        rotate: False keeps the square upright, with the same centre and side.
    """
    return square_around(
        landmarks[:, topology.CROP_POINTS, :2],
        face_axes(landmarks),
        scale=scale,
        vx_ratio=vx_ratio,
        vy_ratio=vy_ratio,
        rotate=rotate,
    )


def square_around(
    points: torch.Tensor,
    axes: torch.Tensor,
    *,
    scale: float,
    vx_ratio: float = 0.0,
    vy_ratio: float = 0.0,
    rotate: bool = True,
) -> FaceSquare:
    """Return the square of `crop_square` around any points.

    Args:
        points: float [N, K, 2], pixels.
        axes: float [N, 2, 2], rows are the unit vectors of the face's own x and y axis.
    """
    points = points @ axes.mT
    low, high = points.amin(1), points.amax(1)
    side = (high - low).amax(-1) * scale
    shift = torch.tensor([vx_ratio, vy_ratio], device=side.device) * side.unsqueeze(-1)
    center = (((low + high) / 2 + shift).unsqueeze(1) @ axes).squeeze(1)
    if not rotate:
        axes = torch.eye(2, device=side.device).expand_as(axes)
    return FaceSquare(center, axes, side)


def face_crop(landmarks: torch.Tensor, settings: AnimationSettings) -> FaceSquare:
    """Return the crop square that the settings give a face: landmarks float [N, 478, >=2] in pixels."""
    return crop_square(
        landmarks, scale=settings.scale, vx_ratio=settings.vx_ratio, vy_ratio=settings.vy_ratio
    )


@dataclass(frozen=True)
class Pose(TensorStruct):
    """A similarity transform per frame: points = scale * shape @ rotation + translation (row vectors).

    Attributes:
        rotation: float32 [N, 3, 3].
        scale: float32 [N].
        translation: float32 [N, 3].
    """

    rotation: torch.Tensor
    scale: torch.Tensor
    translation: torch.Tensor

    def apply(self, shape: torch.Tensor) -> torch.Tensor:
        """Turn head coordinates [N, K, 3] into frame coordinates."""
        return shape @ self.rotation * self.scale.view(-1, 1, 1) + self.translation.unsqueeze(1)

    def undo(self, points: torch.Tensor) -> torch.Tensor:
        """Turn frame coordinates [N, K, 3] into head coordinates."""
        return (points - self.translation.unsqueeze(1)) / self.scale.view(-1, 1, 1) @ self.rotation.mT


def fit_pose(points: torch.Tensor, shape: torch.Tensor, weights: torch.Tensor | None = None) -> Pose:
    """Return the similarity transform that fits a shape to points by least squares (Umeyama 1991).

    Args:
        points: float [N, K, 3].
        shape: float [K, 3] or [N, K, 3].
        weights: float [K] >= 0, equal by default.
    """
    shape = shape.expand_as(points)
    weights = torch.ones_like(points[0, :, 0]) if weights is None else weights
    weights = (weights / weights.sum()).view(1, -1, 1)
    from_mean, to_mean = (shape * weights).sum(1, keepdim=True), (points * weights).sum(1, keepdim=True)
    from_points, to_points = shape - from_mean, points - to_mean
    u, s, vt = torch.linalg.svd((from_points * weights).mT @ to_points)
    sign = torch.ones_like(s)
    sign[:, 2] = torch.det(u @ vt).sign()
    rotation = u * sign.unsqueeze(1) @ vt
    scale = (s * sign).sum(-1) / (from_points.square() * weights).sum((1, 2))
    translation = to_mean - scale.view(-1, 1, 1) * from_mean @ rotation
    return Pose(rotation, scale, translation.squeeze(1))


def euler_angles(rotation: torch.Tensor) -> torch.Tensor:
    """Return pitch, yaw and roll in degrees, [N, 3], of row-vector rotations [N, 3, 3] (points = shape @ rotation).

    The rotation is (Rz(roll) Ry(yaw) Rx(pitch)) transposed, with the column matrices of a right-handed turn about
    each axis, as LivePortrait has it: pitch acts first, then yaw, then roll.
    """
    m = rotation.mT
    pitch = torch.atan2(m[:, 2, 1], m[:, 2, 2])
    yaw = torch.asin((-m[:, 2, 0]).clamp(-1, 1))
    roll = torch.atan2(m[:, 1, 0], m[:, 0, 0])
    return torch.rad2deg(torch.stack((pitch, yaw, roll), dim=-1))


def rotation_matrix(pitch: torch.Tensor, yaw: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """Row-vector rotations [N, 3, 3] of angles in degrees [N]: pitch acts first, then yaw, then roll.

    (Rz(roll) Ry(yaw) Rx(pitch)) transposed, with the column matrices of right-handed turns, as LivePortrait has it.
    """
    (cx, sx), (cy, sy), (cz, sz) = (
        (torch.cos(angle), torch.sin(angle)) for angle in map(torch.deg2rad, (pitch, yaw, roll))
    )
    return torch.stack(
        (
            torch.stack((cz * cy, sz * cy, -sy), dim=-1),
            torch.stack((cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx), dim=-1),
            torch.stack((cz * sy * cx + sz * sx, sz * sy * cx - cz * sx, cy * cx), dim=-1),
        ),
        dim=-2,
    )
