"""The example workflows fit the nodes, which hold their widgets by place."""

from __future__ import annotations

import json

import pytest
import standin_comfyui as standin

TEMPLATES = sorted((standin.ROOT / "example_workflows").glob("*.json"))
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


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_asks_for_the_files_that_its_note_names(template):
    text = template.read_text(encoding="utf-8")
    files = {
        value
        for node in json.loads(text)["nodes"]
        for value in node.get("widgets_values") or []
        if isinstance(value, str) and value.endswith((".mp4", ".png")) and " " not in value
    }
    assert files <= {"source.mp4", "driving.mp4", "source.png"}
    assert files
    assert template.with_suffix(".jpg").exists()
    assert "make demo" in text
