"""LivePortrait's 203 landmarks, or their equivalents among the tracker's 478.

Without the published `landmark.onnx` the 478 landmarks serve:

| quantity | 203 points | 478 points |
|---|---|---|
| opening of an eye | upper to lower lid (6-18, 30-42) / corners (0-12, 24-36) | middles of the lids / corners |
| opening of the lips | inner upper to lower lip (90-102) / outer corners (48-66) | the same places |
| axes of the crop | eyes (0 6 12 18, 24 30 36 42) to lip corners (48, 66) | the same places |
| extent of the crop | all points: brows to chin | `topology.CROP_POINTS` |

The same places are not quite the same points, so what is measured on the 478 is turned into what the 203 would give, by
straight lines through 711 published openings of six clips and the crops of their frames (`EYE_LINE`, `LIP_FACTOR`,
`CROP_FACTOR`). That brings the error of the eyes' openings from 0.041 to 0.032 (root mean square, each clip left out in
turn).

With it, its points are appended to the 478 of each frame, and what is measured here is measured on them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from ... import compose
from ...faces import FaceSquare, topology
from ...geometry import axes_between, crop_square, square_around
from ...tracking import TrackedChunk
from .weights import locate

FILE = "landmark.onnx"
MESH = 478  # points that the tracker gives; the 203 come after them
_SIDE = 224
_EYES = ((0, 6, 12, 18), (24, 30, 36, 42))  # corner, upper lid, corner, lower lid
_LIP_CORNERS = (48, 66)
_INNER_LIPS = (90, 102)
EYE_LINE = (1.2, -0.027)
"""Slope and offset from the opening of an eye by the 478 landmarks to that by the 203 points."""
LIP_FACTOR = 0.9
"""Opening of the lips by the 203 points over that by the 478 landmarks."""
CROP_FACTOR = 1.03
"""Side of the crop by the 203 points over that by the 478 landmarks: between 1.023 and 1.033."""


class LandmarksWarning(UserWarning):
    """The published landmark network is there and can't be used."""


class Landmarks203:
    """The published landmark network, run by onnxruntime on the CPU.

    Each frame's square comes from the tracker's landmarks, so that an error never carries over to the next frame.

    Args:
        path: the published `landmark.onnx`.

    Raises:
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]):
        # By name: the library does without it.
        self._session = importlib.import_module("onnxruntime").InferenceSession(
            str(path), providers=["CPUExecutionProvider"]
        )
        self._any_batch = not isinstance(self._session.get_inputs()[0].shape[0], int)

    @classmethod
    def find(cls, folders: Iterable[str | os.PathLike[str]]) -> Landmarks203 | None:
        """Return the network of the first folder of weights that has it.

        None without one or without onnxruntime, and with a LandmarksWarning where the file can't be used.
        """
        path = next(filter(None, (locate(folder, FILE) for folder in folders)), None)
        if path is None or importlib.util.find_spec("onnxruntime") is None:
            return None
        try:
            network = cls(path)
            network.points(np.zeros((1, 3, _SIDE, _SIDE), dtype=np.float32))
        # onnxruntime has an exception of its own for each way in which a file can be damaged.
        except Exception as error:
            problem = " ".join(str(error).split())[:200]
            text = f"{path}: can't be used, so faces are measured on the tracker's landmarks: {problem}"
            warnings.warn(f"{text}; download it again", LandmarksWarning, stacklevel=2)
            return None
        return network

    def points(self, crops: np.ndarray) -> np.ndarray:
        """Run the network on crops float32 [N, 3, 224, 224] in 0..1: [N, 203, 2] in sides of the crop."""
        step = len(crops) if self._any_batch else 1
        parts = [
            self._session.run(None, {"input": crops[k : k + step]})[2] for k in range(0, len(crops), step)
        ]
        return np.concatenate(parts).reshape(-1, 203, 2)

    def __call__(self, frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """float32 [N, 203, 2] in pixels, of frames uint8 [N, H, W, 3] with landmarks float32 [N, 478, 3]."""
        square = square_of(landmarks, scale=1.5, vy_ratio=-0.1)
        crops = compose.crop(frames, square, _SIDE).cpu().numpy()  # the one wait for a GPU
        return square.to_frame(torch.from_numpy(self.points(crops)) * _SIDE, _SIDE)

    def extend(self, chunk: TrackedChunk) -> TrackedChunk:
        """Append the 203 points to a chunk's landmarks: [N, 478 + 203, 3]; their z is 0."""
        landmarks = torch.zeros(len(chunk), MESH + 203, 3)
        landmarks[:, :MESH] = chunk.landmarks
        seen = chunk.present
        if seen.any():
            landmarks[seen, MESH:, :2] = self(chunk.frames_with_face(), chunk.landmarks[seen])
        return replace(chunk, landmarks=landmarks)


def eye_openings(landmarks: torch.Tensor) -> torch.Tensor:
    """Return height / width of the picture's left and right eye, [N, 2], of landmarks [N, 478 or 681, 3] in pixels."""
    points = _points(landmarks)
    mesh = landmarks.shape[1] == MESH
    eyes: tuple[tuple[int, ...], ...] = _EYES
    if mesh:
        eyes = (
            _lids(topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
            _lids(topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
        )
    openings = torch.stack([_ratio(points, (eye[1], eye[3]), (eye[0], eye[2])) for eye in eyes], dim=1)
    return (openings * EYE_LINE[0] + EYE_LINE[1]).clamp_min(0) if mesh else openings


def lip_opening(landmarks: torch.Tensor) -> torch.Tensor:
    """Return inner height / outer width of the mouth, [N, 1], of landmarks [N, 478 or 681, 3] in pixels."""
    inner, corners, factor = _INNER_LIPS, _LIP_CORNERS, 1.0
    if landmarks.shape[1] == MESH:
        factor = LIP_FACTOR
        middle = len(topology.LIP_INNER_UPPER) // 2
        inner = topology.LIP_INNER_UPPER[middle], topology.LIP_INNER_LOWER[middle]
        corners = topology.LIP_OUTER_UPPER[0], topology.LIP_OUTER_UPPER[-1]
    return factor * _ratio(_points(landmarks), inner, corners).unsqueeze(1)


def square_of(landmarks: torch.Tensor, *, scale: float, **shape) -> FaceSquare:
    """Return the crop square around a face, as `geometry.crop_square`, of landmarks [N, 478 or 681, 3] in pixels."""
    if landmarks.shape[1] == MESH:
        return crop_square(landmarks, scale=scale * CROP_FACTOR, **shape)
    points = _points(landmarks)
    eyes = (points[:, _EYES[0]].mean(1) + points[:, _EYES[1]].mean(1)) / 2
    return square_around(points, axes_between(eyes, points[:, _LIP_CORNERS].mean(1)), scale=scale, **shape)


def _points(landmarks: torch.Tensor) -> torch.Tensor:
    return landmarks[:, MESH:, :2] if landmarks.shape[1] > MESH else landmarks[..., :2]


def _lids(upper: tuple[int, ...], lower: tuple[int, ...]) -> tuple[int, ...]:
    return upper[0], upper[len(upper) // 2], upper[-1], lower[len(lower) // 2]


def _ratio(points: torch.Tensor, height: tuple[int, int], width: tuple[int, int]) -> torch.Tensor:
    """[N], of points [N, K, 2]; the constant is the published code's."""

    def length(ends: tuple[int, int]) -> torch.Tensor:
        return (points[:, ends[0]] - points[:, ends[1]]).norm(dim=-1)

    return length(height) / (length(width) + 1e-6)
