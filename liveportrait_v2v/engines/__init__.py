"""The engines, by name."""

from __future__ import annotations

from .base import ClipEngine, Cue, Engine, Session, Shot

ENGINES = ("draft", "segmind")


def create_engine(name: str, device: str = "cpu") -> Engine | ClipEngine:
    """Makes an engine.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "draft":
        from .draft import DraftEngine

        return DraftEngine(device)
    if name == "segmind":
        from .segmind import SegmindEngine

        return SegmindEngine()
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")


__all__ = ["ENGINES", "ClipEngine", "Cue", "Engine", "Session", "Shot", "create_engine"]
