"""Detection, tracking and numbering of a clip's faces: 478 landmarks each, by networks bundled with the package."""

from .boxes import circles
from .canonical import CanonicalFace, canonical_face
from .inference import landmarks_near
from .square import FaceSquare
from .tracker import FaceTracker, Tracks

__all__ = [
    "CanonicalFace",
    "FaceSquare",
    "FaceTracker",
    "Tracks",
    "canonical_face",
    "circles",
    "landmarks_near",
]
