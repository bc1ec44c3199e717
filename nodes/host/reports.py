"""What a node shows: progress and pictures while it runs, its report, and errors in words; lines of the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ...liveportrait_v2v.errors import LivePortraitError
from ..errors import node_error
from . import language
from .paths import own_folders

if TYPE_CHECKING:
    import torch

    from ...liveportrait_v2v.run import Progress

_log = logging.getLogger(__name__)
_PREVIEW_SECONDS = 1.0
_TEXT_SECONDS = 0.5
_PREVIEW_SIDE = 512


class Report:
    """What a node shows while it runs: a bar, a line of text and now and then a picture."""

    def __init__(self, node_id: str):
        from comfy.utils import ProgressBar

        self._bar = ProgressBar(1, node_id=node_id)
        self._node_id = node_id
        self._next_preview = self._next_text = 0.0
        self._last: torch.Tensor | None = None

    def see(self, frames: torch.Tensor) -> None:
        """Keep the last of some frames uint8 [N, H, W, C] for the next preview, which shows no alpha."""
        self._last = frames[-1, ..., :3]

    def progress(self, progress: Progress) -> None:
        """Show the progress of a run."""
        parts = [f"{progress.frames}/{progress.total}" if progress.frames else progress.stage]
        if progress.fps:
            left = (progress.total - progress.frames) / progress.fps
            parts += [f"{progress.fps:.3g} fps", f"{left:.0f} s left"]
        if progress.without_face:
            parts.append(f"{progress.without_face} without a face")
        self.count(progress.frames, progress.total, ", ".join(parts))

    def count(self, done: int, total: int, text: str) -> None:
        """Move the bar, and now and then show the text and the last picture."""
        now = time.monotonic()
        picture = None
        if self._last is not None and now >= self._next_preview:
            picture, self._next_preview = self._picture(self._last), now + _PREVIEW_SECONDS
        self._bar.update_absolute(done, total, picture)
        if now >= self._next_text:
            self._next_text = now + _TEXT_SECONDS
            self.text(text)

    def looking(self, side: str) -> None:
        """Show that a clip is looked at for its faces, "source" or "driving"."""
        self.count(0, 1, f"looking for the face in the {side} clip")

    def text(self, text: str) -> None:
        """Show a line on the node at once, in the user's language."""
        self._show(language.shown(text))

    def ended(self, shown: str, error: bool = True) -> None:
        """Show why there is no result; web/js/report.js keeps it on the node.

        Args:
            shown: in the user's language.
        """
        from server import PromptServer

        self._show(shown)
        if PromptServer.instance is not None:
            told = {"node": self._node_id, "text": shown, "error": error}
            PromptServer.instance.send_sync("lpv2v.report", told)

    def _show(self, text: str) -> None:
        from server import PromptServer

        from ...liveportrait_v2v.text import one_line

        if PromptServer.instance is not None:
            PromptServer.instance.send_progress_text(one_line(text), self._node_id)

    def _picture(self, frame: torch.Tensor) -> tuple[str, Any, int]:
        from PIL import Image

        return "JPEG", Image.fromarray(frame.cpu().numpy()), _PREVIEW_SIDE


def ui(text: str, shown: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the UI output of a node: its report, which web/js/report.js keeps on the node, and what else it shows."""
    return {**(shown or {}), "lpv2v_report": [text]}


def message(error: LivePortraitError) -> str:
    """Return a library's error in ComfyUI's words."""
    return str(node_error(error, own_folders()))


def log(text: str) -> None:
    """Write a line into ComfyUI's log."""
    _log.info("LivePortrait: %s", text)
