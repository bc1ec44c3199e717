"""The engines, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .base import DrivingMotion, Engine, HostedEngine, Session, TrackedChunk

ENGINES = ("draft", "liveportrait", "segmind")


def create_engine(
    name: str,
    device: str = "cpu",
    *,
    weights: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    precision: str = "auto",
    compile: bool = False,
    random_weights: int | None = None,
) -> Engine | HostedEngine:
    """Makes an engine.

    Args:
        name: one of ENGINES.
        device: a torch device string.
        weights, precision, compile: of the networks, see `LivePortraitEngine.load`; the draft engine has none.
        random_weights: a seed; the networks get random weights instead of the published ones.

    Raises:
        ValueError: there is none of that name.
        WeightsError: the networks' weights are not there, or are not theirs.
    """
    if name == "draft":
        from .draft import DraftEngine

        return DraftEngine(device)
    if name == "liveportrait":
        from .liveportrait.engine import LivePortraitEngine

        if random_weights is not None:
            return LivePortraitEngine.random(random_weights, device, precision, compile)
        return LivePortraitEngine.load(weights, device, precision, compile)
    if name == "segmind":
        from .segmind import SegmindEngine

        return SegmindEngine()
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")


__all__ = ["ENGINES", "HostedEngine", "DrivingMotion", "Engine", "Session", "TrackedChunk", "create_engine"]
