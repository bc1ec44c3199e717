"""The example workflows fit the nodes, which hold their widgets by place."""

from __future__ import annotations

import json

import pytest
import standin_comfyui as standin
from real_comfyui import published_files
from wires import Box, Wire, crossings

from make_templates import BLUEPRINT
from workflows.blueprint import blueprint
from workflows.graph import Graph
from workflows.templates import GRAPHS

TEMPLATES = sorted((standin.ROOT / "example_workflows").glob("*.json"))
EXAMPLES = standin.ROOT / "examples"
WIDGETS = ("COMBO", "INT", "FLOAT", "BOOLEAN", "STRING")


def fits(item, value) -> bool:
    """Whether a widget may have this value."""
    if item.io_type == "COMBO":
        return item.upload is not None or value in item.options
    if item.io_type == "BOOLEAN":
        return type(value) is bool
    if item.io_type == "STRING":
        return type(value) is str
    return type(value) in (int, float) and item.min <= value <= item.max


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_every_value_of_a_template_fits_the_widget_at_its_place(schemas, template):
    nodes = [
        node for node in json.loads(template.read_text(encoding="utf-8"))["nodes"] if node["type"] in schemas
    ]
    assert nodes
    for node in nodes:
        widgets = [item for item in schemas[node["type"]].inputs if item.io_type in WIDGETS]
        values = node.get("widgets_values") or []
        # An upload widget's button has a value of its own, at the end.
        assert len(values) == len(widgets) + any(getattr(item, "upload", None) for item in widgets)
        for item, value in zip(widgets, values, strict=False):
            assert fits(item, value), (node["type"], item.id, value)


def test_the_templates_are_those_that_the_script_draws(schemas):
    """If this fails, run scripts/make_templates.py."""
    drawn = {}
    for name, template in GRAPHS.items():
        graph = Graph(schemas)
        template.draw(graph)
        drawn[f"LivePortrait - {name}"] = graph.workflow(name)
    assert {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in TEMPLATES} == drawn
    assert json.loads(BLUEPRINT.read_text(encoding="utf-8")) == blueprint(schemas)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_needs_no_files_but_the_pack_s_examples(template):
    asked = {
        value
        for node in json.loads(template.read_text(encoding="utf-8"))["nodes"]
        for value in node["widgets_values"]
        if isinstance(value, str) and value.endswith((".mp4", ".png", ".jpg"))
    }
    assert asked
    assert asked <= {path.name for path in EXAMPLES.iterdir()}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_has_a_thumbnail_and_a_name_that_a_search_for_the_pack_finds(template):
    assert template.with_suffix(".jpg").exists()
    assert "liveportrait" in template.stem.lower()


TITLE, ROW, WIDGET = 30, 20, 24
"""Heights in litegraph: of a node's title, which lies above its place, of a socket and of a widget."""


def box(node: dict) -> Box:
    (left, top), (width, height) = node["pos"], node["size"]
    return left, top - TITLE, left + width, top + height


def end(node: dict, side: str, slot: int) -> tuple[float, float]:
    """Where a socket lies; that of a widget lies below the others."""
    (left, top), (width, _) = node["pos"], node["size"]
    sockets = [item for item in node["inputs"] if "widget" not in item]
    item = node[side][slot]
    if "widget" in item:
        place = [other for other in node["inputs"] if "widget" in other].index(item)
        down = max(len(sockets), len(node["outputs"])) * ROW + place * WIDGET
    else:
        down = (sockets if side == "inputs" else node["outputs"]).index(item) * ROW
    return (left if side == "inputs" else left + width), top + down + 0.7 * ROW


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_no_wire_of_a_template_passes_behind_a_node(template):
    graph = json.loads(template.read_text(encoding="utf-8"))
    nodes = {str(node["id"]): node for node in graph["nodes"]}
    wires = [
        Wire(
            str(origin),
            str(target),
            end(nodes[str(origin)], "outputs", output),
            end(nodes[str(target)], "inputs", slot),
        )
        for _, origin, output, target, slot, _ in graph["links"]
    ]
    assert wires
    assert crossings(wires, {number: box(node) for number, node in nodes.items()}) == []


def test_no_wire_of_the_blueprint_passes_behind_a_node():
    (graph,) = json.loads(BLUEPRINT.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    nodes = {str(node["id"]): node for node in graph["nodes"]}

    def place(number: int, side: str, slot: int) -> tuple[float, float]:
        if str(number) in nodes:
            return end(nodes[str(number)], side, slot)
        left, top, width, _ = graph["inputNode" if side == "outputs" else "outputNode"]["bounding"]
        return (left + width if side == "outputs" else left), top + (slot + 1) * ROW

    wires = [
        Wire(
            str(link["origin_id"]),
            str(link["target_id"]),
            place(link["origin_id"], "outputs", link["origin_slot"]),
            place(link["target_id"], "inputs", link["target_slot"]),
        )
        for link in graph["links"]
    ]
    assert wires
    assert crossings(wires, {number: box(node) for number, node in nodes.items()}) == []


def test_a_wire_that_is_drawn_over_a_third_node_counts_as_behind_it():
    wire = Wire("1", "2", (100, 0), (500, 0))
    around = {"1": (0, -30, 100, 200), "2": (500, -30, 700, 200), "above": (200, -90, 400, -10)}
    assert crossings([wire], around) == []
    assert crossings([wire], {**around, "between": (200, -10, 400, 90)}) == [(wire, "between")]


def test_the_examples_are_small_and_published_with_their_notice():
    published = published_files()
    names = [path.relative_to(standin.ROOT).as_posix() for path in EXAMPLES.iterdir()]
    assert {*names, "subgraphs/LivePortrait - animate a face.json"} <= set(published)
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) < 400_000
    assert "Example clips in examples/" in (standin.ROOT / "NOTICE").read_text(encoding="utf-8")


def test_the_examples_are_offered_and_a_file_of_the_user_s_is_left_alone(nodes, host):
    own = host.base / "input" / "example_source.mp4"
    own.write_bytes(b"mine")
    (offered,) = [item for item in nodes.LoadVideo.GET_SCHEMA().inputs if item.id == "file"]
    assert {path.name for path in EXAMPLES.iterdir()} <= set(offered.options)
    assert own.read_bytes() == b"mine"
