"""The engines, by name."""

from __future__ import annotations

from .base import Cue, Engine, Session, Shot

ENGINES = ("draft",)


def create_engine(name: str, device: str = "cpu") -> Engine:
    """Makes an engine.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "draft":
        from .draft import DraftEngine

        return DraftEngine(device)
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")


__all__ = ["ENGINES", "Cue", "Engine", "Session", "Shot", "create_engine"]
