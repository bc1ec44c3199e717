"""The draft engine: landmarks alone move a mesh over the source frame. No weights, no GPU, seconds."""

from .engine import DraftEngine

__all__ = ["DraftEngine"]
