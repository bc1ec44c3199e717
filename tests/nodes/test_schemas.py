"""Schemas of the nodes, without a ComfyUI."""

from __future__ import annotations

import subprocess
import sys

import pytest
import standin_comfyui as standin

from liveportrait_v2v.expression import CHANNELS
from liveportrait_v2v.settings import PRESETS, AnimationSettings, MotionOptions

LISTED = [
    "LoadVideo",
    "Settings",
    "MotionOptions",
    "AnimateDraft",
    "LoadModel",
    "AnimateLocal",
    "AnimateSegmind",
    "FetchSegmindJob",
    "PreviewFaces",
    "AnotherFace",
    "CropFaces",
    "PasteBack",
    "RecordMotion",
    "LoadMotion",
    "Expression",
    "ExpressionKeyframes",
    "LoadExpression",
    "SaveExpression",
]


def inputs_of(schema) -> dict:
    return {item.id: item for item in schema.inputs}


def test_the_nodes_have_the_ids_of_saved_graphs(schemas):
    assert list(schemas) == [f"LPV2V_{name}" for name in LISTED]


def test_the_nodes_that_animate_are_interchangeable(schemas):
    draft, local, segmind = (schemas[f"LPV2V_Animate{name}"] for name in ("Draft", "Local", "Segmind"))
    for other in (local, segmind):
        both = zip(other.outputs, draft.outputs, strict=False)
        assert [one.id for one, two in both if (one.id, one.io_type) != (two.id, two.io_type)] == []
        shared = inputs_of(other)
        for name, item in inputs_of(draft).items():
            if name in ("roles", "boxes", "expression") and other is segmind:
                continue
            assert (shared[name].io_type, shared[name].tooltip) == (item.io_type, item.tooltip)


def test_inputs_that_came_later_are_behind_those_of_saved_graphs(schemas):
    later = [("source_audio", "AUDIO", True), ("source_fps", "FLOAT", True)]
    latest = [("boxes", "BOUNDING_BOX", True), ("expression", "LPV2V_EXPRESSION", True)]
    for name, last in (
        ("AnimateSegmind", later),
        ("AnimateDraft", [*later, *latest]),
        ("AnimateLocal", [*later, *latest]),
        ("AnotherFace", [("roles", "LPV2V_ROLES", True), *latest]),
    ):
        inputs = schemas[f"LPV2V_{name}"].inputs[-len(last) :]
        assert [(item.id, item.io_type, item.optional) for item in inputs] == last


def test_outputs_stay_where_saved_graphs_have_them(schemas):
    animating = ["images", "audio", "video", "fps", "frame_count", "report"]
    wanted = {
        "AnimateDraft": [*animating, "mask", "placement"],
        "AnimateLocal": [*animating, "mask", "placement", "crops"],
        "AnimateSegmind": animating,
        "FetchSegmindJob": animating,
        "PasteBack": animating,
    }
    assert {name: [item.id for item in schemas[f"LPV2V_{name}"].outputs] for name in wanted} == wanted


def test_every_other_node_that_works_has_its_report_as_its_last_output(schemas):
    for name in ("LoadVideo", "LoadModel", "PreviewFaces", "CropFaces", "RecordMotion", "LoadMotion"):
        last = schemas[f"LPV2V_{name}"].outputs[-1]
        assert (last.id, last.io_type) == ("report", "STRING")


def test_local_engines_take_more_faces_and_the_hosted_model_takes_none(schemas):
    for name in ("Draft", "Local"):
        roles = inputs_of(schemas[f"LPV2V_Animate{name}"])["roles"]
        assert (roles.io_type, roles.optional) == ("LPV2V_ROLES", True)
    assert "roles" not in inputs_of(schemas["LPV2V_AnimateSegmind"])


def test_the_numbers_of_another_face_have_the_range_of_the_settings(schemas):
    inputs, rules = inputs_of(schemas["LPV2V_AnotherFace"]), AnimationSettings.rules()
    for name, parameter in (("source_face", "input_face_index"), ("drive_face", "drive_face_index")):
        assert (inputs[name].min, inputs[name].max) == (rules[parameter].low, rules[parameter].high)


def test_the_seed_of_a_paid_job_is_unchanged_from_run_to_run(schemas):
    # The frontend changes an input named seed after every run unless this is False.
    assert inputs_of(schemas["LPV2V_AnimateSegmind"])["seed"].control_after_generate is False


def test_every_node_has_a_name_a_description_and_search_aliases(schemas):
    for schema in schemas.values():
        assert "LivePortrait" in schema.display_name
        assert schema.description
        assert schema.search_aliases
        assert schema.category == "video/LivePortrait"


def test_every_input_has_a_tooltip_in_sentences(schemas):
    for schema in schemas.values():
        for item in schema.inputs:
            assert item.tooltip, item.id
            assert item.tooltip[0].isupper(), item.id
            assert item.tooltip[-1] == ".", item.id


@pytest.mark.parametrize(
    ("node", "kind"), [("LPV2V_Settings", AnimationSettings), ("LPV2V_MotionOptions", MotionOptions)]
)
def test_every_parameter_is_a_widget_with_its_default_and_range(schemas, node, kind):
    inputs, defaults = inputs_of(schemas[node]), kind().to_dict()
    assert [name for name in inputs if name != "preset"] == list(kind.rules())
    for name, rule in kind.rules().items():
        assert inputs[name].default == defaults[name]
        assert inputs[name].tooltip == rule.help
        if rule.choices:
            assert inputs[name].options == list(rule.choices)
        elif rule.type in (int, float):
            assert inputs[name].min == rule.low
            assert rule.high is None or inputs[name].max == rule.high


def test_every_channel_is_a_slider_with_its_range_that_changes_nothing_by_default(schemas, nodes):
    inputs = inputs_of(schemas["LPV2V_Expression"])
    for name, channel in CHANNELS.items():
        slider = inputs[name]
        assert slider.display_mode == "slider"
        assert slider.max == channel.high
        assert slider.tooltip.startswith(channel.help)
        if channel.neutral is not None:
            assert (slider.min, slider.default) == (channel.low, channel.neutral)
        assert (slider.default - slider.min) / slider.step == pytest.approx(
            round((slider.default - slider.min) / slider.step)
        )
    edited, _ = nodes.Expression.execute(**{name: inputs[name].default for name in CHANNELS}).args
    assert edited.layers == ()


def test_a_widget_steps_finely_enough_to_hold_its_default(schemas):
    for node in ("LPV2V_Settings", "LPV2V_MotionOptions"):
        for item in schemas[node].inputs:
            if item.io_type == "FLOAT":
                assert item.default / item.step == pytest.approx(round(item.default / item.step)), item.id


def test_the_default_widget_values_give_the_librarys_defaults(nodes):
    for node, kind in ((nodes.Settings, AnimationSettings), (nodes.MotionOptions, MotionOptions)):
        values = {item.id: item.default for item in node.GET_SCHEMA().inputs}
        (made,) = node.execute(**values).args
        assert made.to_dict() == kind().to_dict()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_the_values_in_its_tooltip_and_no_others(nodes, preset):
    values = {**AnimationSettings().to_dict(), "scale": 1.7}
    (made,) = nodes.Settings.execute(preset=preset, **values).args
    assert made.to_dict() == {**values, **PRESETS[preset].values}
    tooltip = inputs_of(nodes.Settings.GET_SCHEMA())["preset"].tooltip
    for name, value in PRESETS[preset].values.items():
        assert f"{name}={str(value).lower()}" in tooltip


def test_base64_is_a_setting_like_any_other(nodes):
    values = {**AnimationSettings().to_dict(), "base64": True}
    (made,) = nodes.Settings.execute(preset="none", **values).args
    assert made.base64 is True


def test_a_node_that_cannot_be_loaded_does_not_affect_the_others(pack, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, f"{standin.NAME}.nodes.preview_faces", None)
    ids = [node.GET_SCHEMA().node_id for node in standin.nodes_of(pack)]
    assert ids == [f"LPV2V_{name}" for name in LISTED if name != "PreviewFaces"]
    assert "the node PreviewFaces could not be loaded" in caplog.text


def test_the_pack_starts_without_torch(tmp_path):
    script = (
        "import sys, pathlib, standin_comfyui as s\n"
        f"host = s.Host(pathlib.Path({str(tmp_path)!r})); (host.base / 'input').mkdir()\n"
        "sys.modules.update(s.install(host))\n"
        "s.nodes_of(s.load_pack())\n"
        "heavy = {'torch', 'av', 'httpx', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=standin.ROOT / "tests", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
