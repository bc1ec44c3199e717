"""Graphs of the pack's nodes and ComfyUI's own, as ComfyUI saves them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

WIDGETS = ("COMBO", "INT", "FLOAT", "BOOLEAN", "STRING")
WITHOUT_VALUE = ("LPV2V_FACE_VIEW",)
"""Widgets of the pack's own, which graphs keep no value of."""
CORE = {
    "LoadImage": ([("image", "COMBO")], ["IMAGE", "MASK"]),
    "ImageScaleBy": ([("image", "IMAGE"), ("upscale_method", "COMBO"), ("scale_by", "FLOAT")], ["IMAGE"]),
    "ImageSharpen": (
        [("image", "IMAGE"), ("sharpen_radius", "INT"), ("sigma", "FLOAT"), ("alpha", "FLOAT")],
        ["IMAGE"],
    ),
    "PrimitiveBoundingBox": (
        [("x", "INT"), ("y", "INT"), ("width", "INT"), ("height", "INT")],
        ["BOUNDING_BOX"],
    ),
    "CreateVideo": ([("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT")], ["VIDEO"]),
    "SaveVideo": (
        [("video", "VIDEO"), ("filename_prefix", "STRING"), ("format", "COMBO"), ("codec", "COMBO")],
        [],
    ),
    "MarkdownNote": ([("text", "STRING")], []),
}
"""Inputs and types of the outputs of ComfyUI's own nodes, of those that templates use."""
FILE_BUTTONS = ("LPV2V_LoadVideo", "LoadImage")


@dataclass
class Graph:
    """A workflow in the making."""

    schemas: dict[str, Any]
    nodes: list[dict[str, Any]] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, str]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        at: tuple[int, int],
        size: tuple[int, int],
        title: str | None = None,
        *,
        properties: dict[str, Any] | None = None,
        labels: dict[str, str] | None = None,
        **values: Any,
    ) -> int:
        """Add a node and return its id.

        Args:
            values: widgets' values by name, and for sockets the (node, output's number) that is linked to them.
            labels: shown in place of the names of inputs.
        """
        if kind == "MarkdownNote":
            values["text"] = _large(values["text"])
        number = len(self.nodes) + 1
        node: dict[str, Any] = {
            "id": number,
            "type": kind,
            "pos": list(at),
            "size": list(size),
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [],
            "outputs": self._outputs(kind),
            "properties": {"Node name for S&R": kind, **(properties or {})},
            "widgets_values": [],
        }
        if title is not None:
            node["title"] = title
        if kind == "MarkdownNote":
            node["color"], node["bgcolor"] = "#432", "#2d2418"
        self.nodes.append(node)
        for slot, (name, io_type, default) in enumerate(self._inputs(kind)):
            value = values.pop(name, default)
            linked = isinstance(value, tuple)
            item = {
                "name": name,
                "type": io_type,
                "link": self._link(value, number, slot) if linked else None,
            }
            if name in (labels or {}):
                item["label"] = (labels or {})[name]
            if io_type in WIDGETS:
                item["widget"] = {"name": name}
                node["widgets_values"].append(default if linked else value)
            elif io_type in WITHOUT_VALUE:
                item["widget"] = {"name": name}
            if kind != "MarkdownNote":
                node["inputs"].append(item)
        if kind in FILE_BUTTONS:
            node["widgets_values"].append("image")
        assert not values, f"{kind} has no {', '.join(values)}"
        return number

    def _inputs(self, kind: str) -> list[tuple[str, str, Any]]:
        if kind in CORE:
            return [(name, io_type, None) for name, io_type in CORE[kind][0]]
        return [(item.id, item.io_type, getattr(item, "default", None)) for item in self.schemas[kind].inputs]

    def _outputs(self, kind: str) -> list[dict[str, Any]]:
        if kind in CORE:
            named = [(io_type, io_type) for io_type in CORE[kind][1]]
        else:
            named = [(item.display_name, item.io_type) for item in self.schemas[kind].outputs]
        return [{"name": name, "type": io_type, "links": []} for name, io_type in named]

    def _link(self, origin: tuple[int, int], target: int, slot: int) -> int:
        number, (node, output) = len(self.links) + 1, origin
        given = self.nodes[node - 1]["outputs"][output]
        given["links"].append(number)
        self.links.append([number, node, output, target, slot, given["type"]])
        return number

    def workflow(self, name: str) -> dict[str, Any]:
        """Return the workflow as ComfyUI saves it."""
        return {
            "id": stable_id(name),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            # By which web/js/words.js knows it.
            "extra": {"lpv2v_template": True, **self.extra},
            "version": 0.4,
            **({"models": self.models} if self.models else {}),
        }


def _large(text: str) -> str:
    """Return a note with each of its lines as a heading: front ends draw other text of notes 10 pixels high."""
    return "\n".join(line and f"## {line}" for line in text.splitlines())


def stable_id(name: str) -> str:
    """Return an id that is the same each time."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"liveportrait-v2v/{name}"))
