"""The blueprint: a subgraph of Settings and Animate Draft."""

from __future__ import annotations

from typing import Any

from .graph import Graph, stable_id
from .templates import ANIMATE, SETTINGS, STEP

NAME = "LivePortrait - animate a face"
_DESCRIPTION = "Animates the face in a video or picture with the motion of another video."
_INPUTS, _OUTPUTS = -10, -20
"""Ids of a subgraph's own inputs and outputs, as ComfyUI numbers them."""


def blueprint(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a subgraph of Settings and Animate Draft, as ComfyUI saves a blueprint."""
    inner = Graph(schemas)
    settings = inner.add("LPV2V_Settings", (0, 2 * STEP), SETTINGS)
    animate = inner.add("LPV2V_AnimateDraft", (430, 0), ANIMATE, settings=(settings, 0))
    links = [_link(*link) for link in inner.links]
    inputs = [
        _port(inner, links, "inputs", place, *end)
        for place, end in enumerate(
            ((animate, "source"), (animate, "driving"), (settings, "preset"), (settings, "input_face_index"))
        )
    ]
    outputs = [
        _port(inner, links, "outputs", place, animate, name)
        for place, name in enumerate(("video", "audio", "report"))
    ]
    number = stable_id("blueprint")
    values = {"preset": "none", "input_face_index": 0}
    return {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [
            {
                "id": 1,
                "type": number,
                "pos": [0, 0],
                "size": [320, 200],
                "flags": {},
                "order": 0,
                "mode": 0,
                "title": NAME,
                "inputs": [
                    {"name": port["name"], "type": port["type"], "link": None}
                    | ({"widget": {"name": port["name"]}} if port["name"] in values else {})
                    for port in inputs
                ],
                "outputs": [{"name": port["name"], "type": port["type"], "links": []} for port in outputs],
                "properties": {"proxyWidgets": [["-1", name] for name in values]},
                "widgets_values": list(values.values()),
            }
        ],
        "links": [],
        "version": 0.4,
        "definitions": {
            "subgraphs": [
                {
                    "id": number,
                    "version": 1,
                    "state": {
                        "lastGroupId": 0,
                        "lastNodeId": 2,
                        "lastLinkId": len(links),
                        "lastRerouteId": 0,
                    },
                    "revision": 0,
                    "config": {},
                    "name": NAME,
                    "inputNode": {"id": _INPUTS, "bounding": [-220, 0, 120, 120]},
                    "outputNode": {"id": _OUTPUTS, "bounding": [860, 0, 120, 100]},
                    "inputs": inputs,
                    "outputs": outputs,
                    "widgets": [],
                    "nodes": inner.nodes,
                    "groups": [],
                    "links": links,
                    "extra": {},
                    "category": "Video Tools",
                    "description": _DESCRIPTION,
                }
            ]
        },
        "extra": {
            "BlueprintDescription": _DESCRIPTION,
            "BlueprintSearchAliases": ["lip sync", "talking head", "live portrait", "face animation"],
        },
    }


def _port(
    inner: Graph, links: list[dict[str, Any]], side: str, place: int, node: int, name: str
) -> dict[str, Any]:
    """Link a slot of an inner node to the subgraph's own inputs or outputs, and return the port there.

    Args:
        links: the new one is appended.
        side: "inputs" or "outputs".
        place: of the port among those of its side.
    """
    slots = inner.nodes[node - 1][side]
    slot = next(k for k, item in enumerate(slots) if item["name"] == name)
    link, io_type = len(links) + 1, slots[slot]["type"]
    if side == "inputs":
        links.append(_link(link, _INPUTS, place, node, slot, io_type))
        slots[slot]["link"] = link
    else:
        links.append(_link(link, node, slot, _OUTPUTS, place, io_type))
        slots[slot]["links"].append(link)
    return {"id": stable_id(f"{side} {name}"), "name": name, "type": io_type, "linkIds": [link]}


def _link(number: int, origin: int, output: int, target: int, slot: int, io_type: str) -> dict[str, Any]:
    return {
        "id": number,
        "origin_id": origin,
        "origin_slot": output,
        "target_id": target,
        "target_slot": slot,
        "type": io_type,
    }
