"""A node's run: interrupts, errors in ComfyUI's words, and what runs leave for the next ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ...liveportrait_v2v.errors import Cancelled, LivePortraitError
from ..errors import node_error
from . import language
from .paths import own_folders
from .reports import Report

if TYPE_CHECKING:
    from ...liveportrait_v2v.tracking import TrackMemory

_log = logging.getLogger(__name__)


def interrupted() -> bool:
    """Return whether the user asked for the run to end."""
    from comfy.model_management import processing_interrupted

    return processing_interrupted()


@contextmanager
def run(node: type[io.ComfyNode]) -> Iterator[Report]:
    """Context manager in which a node computes: outside of inference mode, with errors in ComfyUI's words.

    Inference mode holds for one thread: what is made inside of it can't be written to by the library's others.
    The node's last line is left as it ended: an error, an interrupt and what continues after it, such as a paid job.

    Raises:
        NodeError: in place of the library's errors.
        InterruptProcessingException: in place of Cancelled.
    """
    import torch
    from comfy.model_management import InterruptProcessingException, interrupt_current_processing

    report = Report(node.hidden.unique_id)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield report
    except Cancelled as error:
        report.ended(language.shown(error.goes_on or "stopped"), error=False)
        if error.goes_on:
            _log.warning("LivePortrait: %s", error.goes_on)
        interrupt_current_processing(False)
        raise InterruptProcessingException() from error
    except LivePortraitError as error:
        shown = node_error(error, own_folders())
        report.ended(str(shown))
        raise shown from error
    except Exception as error:
        report.ended(language.shown(f"failed: {error}"))
        raise


@cache
def tracks() -> TrackMemory:
    """Return the tracks of faces that runs leave for the next ones: 64 MB at most."""
    from ...liveportrait_v2v.tracking import TrackMemory

    return TrackMemory()
