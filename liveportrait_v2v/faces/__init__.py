"""Find, follow and number the faces of a clip: 478 landmarks each, in torch, with the weights in the package."""

from .canonical import CanonicalFace, canonical_face
from .tracker import FaceTracker, Tracks

__all__ = ["CanonicalFace", "FaceTracker", "Tracks", "canonical_face"]
