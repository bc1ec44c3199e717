"""The example workflows fit the nodes, which hold their widgets by place."""

from __future__ import annotations

import json

import pytest
import standin_comfyui as standin
from real_comfyui import published_files

import make_templates

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
    for name, template in make_templates.GRAPHS.items():
        graph = make_templates.Graph(schemas)
        template.draw(graph)
        drawn[f"LivePortrait - {name}"] = graph.workflow(name)
    assert {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in TEMPLATES} == drawn
    blueprint = json.loads(make_templates.BLUEPRINT.read_text(encoding="utf-8"))
    assert blueprint == make_templates.blueprint(schemas)


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


def test_no_wire_of_a_template_runs_straight_behind_a_node():
    for template in TEMPLATES:
        graph = json.loads(template.read_text(encoding="utf-8"))
        nodes = {node["id"]: node for node in graph["nodes"]}
        for _, origin, _, target, _, _ in graph["links"]:
            (left, top), (right, bottom) = nodes[origin]["pos"], nodes[target]["pos"]
            between = [
                node["title" if "title" in node else "type"]
                for node in nodes.values()
                if left < node["pos"][0] < right and node["pos"][1] <= top == bottom
            ]
            assert between == [], template.stem


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
