"""The engines, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .base import Engine, HostedEngine, RenderedFrames, Session

ENGINES = ("draft", "liveportrait", "segmind")


def create_engine(
    name: str,
    device: str = "cpu",
    *,
    weights: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    precision: str = "auto",
    compile: bool = False,  # noqa: A002 - the field's word
    random_weights: int | None = None,
    model: str = "humans",
) -> Engine | HostedEngine:
    """Create an engine.

    Args:
        name: one of ENGINES.
        device: a torch device string.
        weights, precision, compile, model: as in `LivePortraitEngine.load`; for that engine alone.
        random_weights: seed of random weights in place of the published ones.

    Raises:
        ValueError: no engine has that name.
        SettingsError: there is no such model.
        WeightsError: the networks' weights are missing, damaged or not those of the networks.
    """
    if name == "draft":
        from .draft import DraftEngine

        return DraftEngine(device)
    if name == "liveportrait":
        from .liveportrait.engine import LivePortraitEngine

        if random_weights is not None:
            return LivePortraitEngine.random(random_weights, device, precision, compile, model=model)
        return LivePortraitEngine.load(weights, device, precision, compile, model=model)
    if name == "segmind":
        from .segmind import SegmindEngine

        return SegmindEngine()
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")


__all__ = ["ENGINES", "Engine", "HostedEngine", "RenderedFrames", "Session", "create_engine"]
