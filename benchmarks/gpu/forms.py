"""Our networks in one form or another: the one place that knows how a form is asked for.

A form is written as in `Forms.parse`: words with commas between them, or nothing for the networks as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import torch

from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import Networks, random_weights
from liveportrait_v2v.errors import SettingsError

try:
    from liveportrait_v2v.engines.liveportrait.networks import Forms
except ImportError:  # an engine that has one form
    Forms = None

SEARCHED = ("channels_last", "norm", "planes", "to_one", "benchmark", "padded", "plain", "tf32")
"""Words that the search adds one by one, the most promising first."""
LAST = ("graphs", "compiled")
"""Words that are tried on top of the form that won."""
LIKELY = "channels_last,norm,planes,to_one"
"""The form that runs take where no search has chosen one."""

weights = lru_cache(random_weights)  # making them takes longer than most of what is measured


def networks(forms: str, device: str, precision: str) -> Networks:
    """Return the networks with random weights in a form.

    Raises:
        SettingsError: there is no such form or precision.
    """
    if Forms is None:
        if forms not in ("", "none", "compiled"):
            raise SettingsError(f"this engine has no forms, got {forms!r}")
        return Networks(partial(weights, 0), device, precision, forms == "compiled")
    return Networks(partial(weights, 0), device, precision, forms=Forms.parse(forms))


def engine(forms: str, device: str, precision: str, batch: int | None = None) -> LivePortraitEngine:
    """Return the engine on such networks; errors are those of `networks`."""
    return LivePortraitEngine(networks(forms, device, precision), batch=batch)


def joined(*words: str) -> str:
    """Return a form of several words, empty ones left out."""
    return ",".join(word for word in words if word)


@contextmanager
def usual_backends(tf32: bool | None = None) -> Iterator[None]:
    """Context manager that leaves torch's switches for products and convolutions as they were.

    Args:
        tf32: use TF32 for all float32 products and convolutions inside, or for none; None leaves torch's choice.
    """
    backends = torch.backends
    before = backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    try:
        if tf32 is not None:
            backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = tf32
        yield
    finally:
        backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = before
