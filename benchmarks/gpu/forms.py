"""Our networks in one form or another: the one place that knows how a form is asked for.

A form is written as in `Forms.parse`: words with commas between them, or "none" for the networks as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

import torch

from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import Forms, Networks, random_weights

NONE = "none"
WORDS = (
    "graphs",
    "planes",
    "to_one",
    "ones",
    "channels_last",
    "fused_norm",
    "fused_spade",
    "fused_enlarged",
    "fused_activation",
    "padded",
    "plain",
    "plain_volumes",
    "benchmark",
    "tf32",
)
"""Words of forms but for "compiled"."""
TOGETHER = "channels_last,fused_norm,planes,to_one"
SEARCHED = (*WORDS[:5], TOGETHER, f"{TOGETHER},plain", *WORDS[6:])
"""What the search adds step by step. Graphs first: without them the host binds, and the rest can't be compared."""

weights = lru_cache(random_weights)  # making them takes longer than most of what is measured


def networks(form: str, device: str, precision: str) -> Networks:
    """Return the networks with random weights in a form.

    Raises:
        SettingsError: there is no such form or precision.
    """
    return Networks(partial(weights, 0), device, precision, forms=_parsed(form))


def engine(form: str, device: str, precision: str, batch: int | None = None) -> LivePortraitEngine:
    """Return the engine on such networks; errors are those of `networks`."""
    return LivePortraitEngine(networks(form, device, precision), batch=batch)


def usual(device: str, precision: str) -> str:
    """Return the form that the engine takes where nothing else is asked for."""
    return str(Forms.usual(device, precision))


def joined(*forms: str) -> str:
    """Return the form that has the words of all these, each once."""
    words = [word for form in forms if form != NONE for word in form.split(",")]
    return ",".join(dict.fromkeys(words)) or NONE


def without(form: str, word: str) -> str:
    """Return a form without one of its words."""
    return ",".join(item for item in form.split(",") if item != word) or NONE


@contextmanager
def switched(form: str, device: str, tf32: bool | None = None) -> Iterator[None]:
    """Context manager in which torch's switches for cuDNN and TF32 are a form's, also for single networks.

    Args:
        tf32: before that, use TF32 for all float32 products and convolutions, or for none; None leaves torch's choice.
    """
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32
    try:
        if tf32 is not None:
            cudnn.allow_tf32 = products.allow_tf32 = tf32
        with _parsed(form).switches(torch.device(device)):
            yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = before


def _parsed(form: str) -> Forms:
    return Forms.parse("" if form == NONE else form)
