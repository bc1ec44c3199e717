"""MediaPipe's canonical face: the metric mesh that the first 468 landmarks are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

_FILE = Path(__file__).parent / "weights" / "canonical_face.safetensors"


@dataclass(frozen=True)
class CanonicalFace:
    """A neutral face looking into the camera.

    Attributes:
        vertices: float32 [468, 3] in centimetres; x right as the viewer sees it (so the person's right eye,
            landmark 33, has x < 0), y down, z negative towards the viewer: the axes of FaceTracker's landmarks.
        triangles: int64 [898, 3], indices of vertices.
        weights: float32 [468], weight of each landmark in a rigid fit (weighted orthogonal Procrustes); zero for
            most, as points that an expression moves carry little information on the head's pose.
    """

    vertices: Tensor
    triangles: Tensor
    weights: Tensor


@lru_cache(maxsize=1)
def canonical_face() -> CanonicalFace:
    """Return the canonical face, on the CPU. Shared by all callers: do not write into its tensors."""
    data = load_file(_FILE)
    return CanonicalFace(data["vertices"], data["triangles"].long(), data["weights"])
