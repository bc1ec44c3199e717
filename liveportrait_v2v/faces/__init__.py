"""Find, follow and number the faces of a clip: 478 landmarks each, by networks that the package carries."""

from .canonical import CanonicalFace, canonical_face
from .inference import landmarks_near
from .square import FaceSquare
from .tracker import FaceTracker, Tracks

__all__ = ["CanonicalFace", "FaceSquare", "FaceTracker", "Tracks", "canonical_face", "landmarks_near"]
