"""Rotated squares around faces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..tensors import TensorStruct


@dataclass(frozen=True, eq=False)
class FaceSquare(TensorStruct):
    """N rotated squares, one per frame or face, each the map between frame and crop coordinates.

    Squares compare and hash by identity, so that one can be the key of a cache.

    Attributes:
        center: float [N, 2], the square's centre in frame coordinates.
        axes: float [N, 2, 2], rows are the unit vectors of the square's x and y axis in the frame.
        side: float [N], the square's side in frame pixels.
    """

    center: Tensor
    axes: Tensor
    side: Tensor

    @classmethod
    def none(cls, count: int) -> FaceSquare:
        """Return squares of side 0, which stand for no face, float32."""
        return cls(torch.zeros(count, 2), torch.eye(2).repeat(count, 1, 1), torch.zeros(count))

    @classmethod
    def turned(cls, center: Tensor, side: Tensor, angle: Tensor) -> FaceSquare:
        """Return float64 squares of centres [N, 2], sides [N] and angles [N] in radians, clockwise on the screen."""
        cos, sin = angle.double().cos(), angle.double().sin()
        axes = torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), dim=-2)
        return cls(center.double(), axes, side.double())

    @property
    def angle(self) -> Tensor:
        """Angles [N] in radians, clockwise on the screen."""
        return torch.atan2(self.axes[:, 0, 1], self.axes[:, 0, 0])

    def to_crop(self, points: Tensor, size: float = 1.0) -> Tensor:
        """Turn frame coordinates [N, ..., 2] into coordinates in a crop of `size` pixels a side."""
        spread = (len(self),) + (1,) * (points.dim() - 2)
        local = (points - self.center.view(*spread, 2)) @ self.axes.view(*spread[:-1], 2, 2).mT
        return local * (size / self.side).view(*spread, 1) + size / 2

    def to_frame(self, points: Tensor, size: float = 1.0) -> Tensor:
        """Turn coordinates [N, ..., 2] in a crop of `size` pixels a side into frame coordinates."""
        spread = (len(self),) + (1,) * (points.dim() - 2)
        local = (points - size / 2) * (self.side / size).view(*spread, 1)
        return local @ self.axes.view(*spread[:-1], 2, 2) + self.center.view(*spread, 2)

    def corners(self) -> Tensor:
        """Return the corners in frame coordinates, [N, 4, 2], clockwise from the top left one."""
        unit = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], device=self.side.device)
        return self.to_frame(unit.expand(len(self), 4, 2))

    def m_o2c(self, size: float) -> Tensor:
        """Return [N, 3, 3]: homogeneous frame coordinates to coordinates in a crop of `size` pixels a side."""
        matrix = torch.zeros(len(self), 3, 3, device=self.side.device)
        matrix[:, :2, :2] = self.axes * (size / self.side).view(-1, 1, 1)
        matrix[:, :2, 2] = size / 2 - (matrix[:, :2, :2] @ self.center.unsqueeze(-1)).squeeze(-1)
        matrix[:, 2, 2] = 1
        return matrix

    def m_c2o(self, size: float) -> Tensor:
        """Return [N, 3, 3]: the inverse of `m_o2c`."""
        matrix = torch.zeros(len(self), 3, 3, device=self.side.device)
        matrix[:, :2, :2] = self.axes.mT * (self.side / size).view(-1, 1, 1)
        matrix[:, :2, 2] = self.center - (
            matrix[:, :2, :2] @ torch.full((2, 1), size / 2, device=self.side.device)
        ).squeeze(-1)
        matrix[:, 2, 2] = 1
        return matrix
