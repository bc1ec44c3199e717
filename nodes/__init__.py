"""Nodes of the pack, one per module; ComfyUI gets them from `comfy_entrypoint`.

Node modules import the library's `errors` and `settings` at the top. Everything that loads torch, av or httpx is
imported when a node runs: the pack does not slow down ComfyUI's start, and a missing package stops only the nodes
that need it.
"""

from __future__ import annotations

import importlib
import logging

from comfy_api.latest import ComfyExtension, io

from ..liveportrait_v2v import remedies
from . import errors

NODES = {
    "load_video": "LoadVideo",
    "settings": "Settings",
    "motion_options": "MotionOptions",
    "animate_draft": "AnimateDraft",
    "load_model": "LoadModel",
    "animate_local": "AnimateLocal",
    "animate_segmind": "AnimateSegmind",
    "fetch_segmind_job": "FetchSegmindJob",
    "preview_faces": "PreviewFaces",
    "another_face": "AnotherFace",
    "crop_faces": "CropFaces",
    "paste_back": "PasteBack",
    "record_motion": "RecordMotion",
    "load_motion": "LoadMotion",
    "expression": "Expression",
    "expression_keyframes": "ExpressionKeyframes",
    "load_expression": "LoadExpression",
    "save_expression": "SaveExpression",
}
"""Module and class of each node, in menu order."""

remedies.use(errors.REMEDIES)


class LivePortraitExtension(ComfyExtension):
    """The pack's nodes."""

    async def on_load(self) -> None:
        for module in ("segmind", "load_video", "weights", "live", "host.language_route"):
            try:
                importlib.import_module(f".{module}", __name__).add_route()
            except Exception:
                logging.exception("LivePortrait Video-to-Video: a route of %s could not be added", module)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for module, name in NODES.items() if (node := _load(module, name)) is not None]


async def comfy_entrypoint() -> LivePortraitExtension:
    """Return the pack's nodes to ComfyUI."""
    return LivePortraitExtension()


def _load(module: str, name: str) -> type[io.ComfyNode] | None:
    """Return the node, or None with the reason in the log: a broken one must not take the others down."""
    try:
        node = getattr(importlib.import_module(f".{module}", __name__), name)
        node.GET_SCHEMA()
    except Exception:
        logging.exception(
            "LivePortrait Video-to-Video: the node %s could not be loaded; the others work without it", name
        )
        return None
    return node
