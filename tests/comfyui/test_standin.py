"""The stand-in, by which the nodes are tested where there is no ComfyUI, says what the real one says."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest
import standin_comfyui as standin


@pytest.fixture
def schemas(monkeypatch, comfy) -> dict:
    """The schemas in the stand-in, with the real server's input folder."""
    for name, module in standin.install(standin.Host(comfy.base)).items():
        monkeypatch.setitem(sys.modules, name, module)
    return {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in standin.nodes_of(standin.load_pack())}


def test_its_schemas_are_those_that_the_server_tells(schemas, comfy):
    for node, schema in schemas.items():
        told = comfy.get(f"/object_info/{node}")[node]
        assert (told["display_name"], told["category"]) == (schema.display_name, schema.category)
        assert told["description"] == schema.description
        assert told["output"] == [item.io_type for item in schema.outputs]
        assert told["output_name"] == [item.display_name for item in schema.outputs]
        assert told["output_node"] == schema.is_output_node
        inputs = {**told["input"].get("required", {}), **told["input"].get("optional", {})}
        assert list(inputs) == [item.id for item in sorted(schema.inputs, key=lambda item: item.optional)]
        for item in schema.inputs:
            kind, options = inputs[item.id]
            assert kind == item.io_type, item.id
            assert (item.id in told["input"].get("optional", {})) == item.optional
            assert {name: options[name] for name in item.told()} == item.told(), item.id


def test_its_constructors_take_nothing_that_the_real_ones_do_not(comfy):
    io = standin.install(standin.Host(comfy.base))["comfy_api.latest"].io
    ours = {
        f"io.{kind}.{side}": list(inspect.signature(getattr(getattr(io, kind), side)).parameters)
        for kind in (
            "Int",
            "Float",
            "Boolean",
            "String",
            "Combo",
            "Image",
            "Mask",
            "Video",
            "Audio",
            "BoundingBox",
        )
        for side in ("Input", "Output")
    }
    ours["io.MultiType.Input"] = ["id", "types", "optional", "tooltip", "display_name", "advanced"]
    ours["io.Schema"] = list(inspect.signature(standin.Schema).parameters)
    ours["ui.SavedResult"] = list(inspect.signature(standin.SavedResult).parameters)
    ours["ui.PreviewVideo"] = list(inspect.signature(standin.PreviewVideo).parameters)
    script = (
        "import inspect, json, sys\n"
        "from comfy_api.latest import io, ui\n"
        "ours = json.load(sys.stdin)\n"
        "print(json.dumps({name: sorted(set(known) - set(inspect.signature(eval(name)).parameters))"
        " for name, known in ours.items()}))\n"
    )
    done = subprocess.run(
        [comfy.python, "-c", script], cwd=comfy.folder, input=json.dumps(ours), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    unknown = json.loads(done.stdout.splitlines()[-1])
    assert {name: extra for name, extra in unknown.items() if extra} == {}
