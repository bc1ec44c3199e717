"""Errors as ComfyUI shows them: our sentence first, and remedies that ComfyUI offers."""

from __future__ import annotations

from pathlib import Path

from ..liveportrait_v2v.errors import LivePortraitError, MediaError
from .host import language

REMEDIES = {
    "faces": "see the numbers with the node Preview Faces",
    "box": "link its place to `boxes` of Animate Local",
    "key": "set one in the menu, Extensions > LivePortrait > Set Segmind API key",
    "weights": "switch `download` on in Load Model, or put the files into models/liveportrait",
    "animals": "switch `download` on in Load Model, or put the files into "
    "models/liveportrait/liveportrait_animals/base_models_v1.1",
    "verify": "delete the weights and download them again with Load Model's `download`",
    "order": "run Animate Segmind again to do so",
    "fetch": "run again, or the node Fetch Segmind Job with {job}",
    "set aside": "the node Fetch Segmind Job with its request_id still gets its result",
    "reorder": "run again with another `seed` to order a new one",
    "unsealed": "fetch its jobs: the node Fetch Segmind Job still works",
    "finished": "run again to get its result",
    "download": "Run again to go on",
}
"""The remedies of `liveportrait_v2v.remedies`, as the nodes word them."""


class NodeError(Exception):
    """An error of a node, of which ComfyUI shows name and message.

    It shows other classes by their module as well, and that of a custom node is the path of a folder.
    """

    __module__ = "builtins"
    __qualname__ = "LivePortrait"


class KeyNeeded(NodeError):
    """No usable key of the hosted model; the front end opens the dialog for one."""

    __module__ = "builtins"
    __qualname__ = "LivePortraitKey"


def node_error(error: LivePortraitError, folders: list[Path]) -> NodeError:
    """Return a library's error as that of a node, in the user's language.

    Args:
        folders: ComfyUI's own, which are left out of paths in the message, the innermost first.
    """
    message = str(error)
    if isinstance(error, MediaError):
        message = f"{Path(str(error.path)).name}: {error.reason}"
    for folder in folders:
        message = message.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    kind = KeyNeeded if type(error).__name__ == "ApiKeyError" else NodeError
    return kind(language.shown(message))
