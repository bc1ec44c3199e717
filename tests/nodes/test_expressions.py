"""Expressions in the graph: sliders, keyframes, files, and what they make of a source."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import standin_comfyui as standin
import torch
from PIL import Image
from standin_comfyui import VideoFromFile

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.expression import Expression
from liveportrait_v2v.media import Clip

EXAMPLES = standin.ROOT / "examples"
SMILE, NOD = {"smile": 0.8, "aaa": 30.0}, {"rotate_pitch": 8.0}
CHAIN = {"ratio": 1.0}


@pytest.fixture
def picture():
    return VideoFromFile(str(EXAMPLES / "example_picture.jpg"))


@pytest.fixture
def clip():
    return VideoFromFile(str(EXAMPLES / "example_source.mp4"), duration=0.3)


def of(node, **values):
    """The expression that a node gives. Those of the library behind the pack are compared by their JSON."""
    return node.execute(**{**CHAIN, **values}).args[0]


def same(one, other) -> bool:
    return one.to_dict() == other.to_dict()


def test_the_sliders_give_an_expression(nodes):
    assert of(nodes.Expression, **SMILE).at(0) == SMILE


def test_a_target_below_zero_leaves_the_opening(nodes):
    values = {
        item.id: item.default for item in nodes.Expression.GET_SCHEMA().inputs if item.id == "eyes_open"
    }
    assert same(of(nodes.Expression, **values), Expression())
    assert of(nodes.Expression, eyes_open=0.0).at(0) == {"eyes_open": 0.0}


def test_a_linked_expression_is_added_by_its_ratio(nodes):
    linked = of(nodes.Expression, smile=0.6, rotate_yaw=10.0)
    both = of(nodes.Expression, smile=0.2, expression=linked, ratio=0.5)
    assert both.at(0) == pytest.approx({"smile": 0.5, "rotate_yaw": 5})
    assert of(nodes.Expression, smile=0.2, expression=linked, ratio=0.0).at(0) == {"smile": 0.2}


def test_without_a_clip_the_picture_is_absent_and_with_one_it_shows_the_face(nodes, picture):
    assert isinstance(nodes.Expression.execute(**SMILE).args[1], standin.ExecutionBlocker)
    plain = nodes.Expression.execute(clip=picture).args[1]
    smiling = nodes.Expression.execute(clip=picture, **SMILE)
    shown = smiling.args[1]
    assert plain.shape == shown.shape == (1, 318, 350, 3)
    assert 0.003 < (plain - shown).abs().mean() < 0.03
    (told,) = smiling.ui["lpv2v_face"]
    assert len(told["handle"]) == 32
    assert told["values"] == SMILE


def test_with_a_model_linked_a_run_shows_its_picture_and_lets_go_of_it(nodes, host, picture):
    class Model:
        released = 0

        def engine(self):
            return create_engine("draft")

        def release(self):
            self.released += 1

    model = Model()
    made = nodes.Expression.execute(clip=picture, model=model, **SMILE)
    (told,) = made.ui["lpv2v_face"]
    assert told["file"]["type"] == "temp"
    written = Image.open(host.base / "temp" / told["file"]["filename"])
    assert torch.equal(torch.from_numpy(np.array(written)), (made.args[1][0] * 255).round().to(torch.uint8))
    assert model.released == 1


def test_an_interrupt_ends_the_search_for_the_face(nodes, host, clip):
    host.stop = True
    with pytest.raises(standin.InterruptProcessingException):
        nodes.Expression.execute(clip=clip, time=0.2)


def test_a_face_that_is_not_there_is_an_error_that_names_the_widget(nodes, picture):
    with pytest.raises(Exception, match=r"face 3 was found nowhere .* then set `face`"):
        nodes.Expression.execute(clip=picture, face=3)


def keyed(nodes, table, **values):
    return of(nodes.ExpressionKeyframes, table=table, **values)


def test_a_table_goes_from_one_expression_to_the_next(nodes):
    smile, nod = of(nodes.Expression, **SMILE), of(nodes.Expression, **NOD)
    told = keyed(nodes, "0 0\n1 1 hold # stays\n\n2 2\n4 0", expression_1=smile, expression_2=nod)
    assert told.at(0.5) == {"smile": 0.4, "aaa": 15}
    assert told.at(1.9) == SMILE
    assert told.at(3) == {"rotate_pitch": 4}
    assert told.end == 4


def test_a_line_of_a_table_may_name_channels(nodes):
    blink = keyed(nodes, "0.2 blink=0 smile=0.5 smooth\n0.3 blink=-20\n0.4 blink=0")
    assert blink.at(0.3) == {"smile": 0.5, "blink": -20}
    assert blink.at(0.5) == {}


def test_a_table_blends_in_and_out_and_is_added_to_what_is_linked(nodes):
    steady = keyed(
        nodes,
        "1 smile=1\n3 smile=1",
        blend_in=1.0,
        blend_out=1.0,
        expression=of(nodes.Expression, **NOD),
        ratio=0.5,
    )
    assert steady.at(0.9) == {"rotate_pitch": 4}
    assert steady.at(1.5) == {"rotate_pitch": 4, "smile": 0.5}
    assert steady.at(2) == {"rotate_pitch": 4, "smile": 1}


def test_the_default_table_needs_one_expression(nodes):
    table = nodes.ExpressionKeyframes.GET_SCHEMA().inputs[0].default
    told = keyed(nodes, table, expression_1=of(nodes.Expression, **SMILE))
    assert (told.at(0), told.at(1), told.at(2)) == ({}, SMILE, {})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "the table must have a line or more"),
        ("soon 0", "line 1 of the table: begins with seconds, got 'soon'"),
        ("0 0\n1 2", "line 2 of the table: expression_2 is not linked"),
        ("0", "line 1 of the table: must be seconds, then 0"),
        ("0 smile", "line 1 of the table: must be seconds, then 0.* got 'smile'"),
        ("0 smile=much", "got 'smile=much'"),
        ("0 grin=1", "line 1 of the table: unknown channel 'grin'"),
        ("0 smile=nan", "line 1 of the table: smile must be a number"),
        ("0 smile=9", "line 1 of the table: smile must be"),
        ("inf smile=1", "line 1 of the table: time must be"),
        ("1 smile=1\n0 smile=0", "keyframes must be in order of time"),
        ("0 <b>=1", "must be seconds"),
    ],
)
def test_a_wrong_table_is_refused_by_its_line(nodes, table, message):
    with pytest.raises(Exception, match=message):
        keyed(nodes, table, expression_1=of(nodes.Expression, **SMILE))


def test_a_table_refuses_what_has_no_way_back(nodes):
    with pytest.raises(Exception, match="eyes_open has no neutral value to go to"):
        keyed(nodes, "0 0\n1 1", expression_1=of(nodes.Expression, eyes_open=0.3))
    with pytest.raises(Exception, match="expression_1 changes over time"):
        keyed(nodes, "0 0\n1 1", expression_1=keyed(nodes, "0 smile=0\n1 smile=1"))


def test_an_expression_comes_back_from_its_file(nodes, host):
    told = keyed(nodes, "0 smile=0\n1 smile=1 smooth")
    shown = nodes.SaveExpression.execute(expression=told, filename_prefix="expression/mine").ui
    (name,) = shown["lpv2v_report"]
    assert name == "expression/mine_00001_.json"
    assert f"{name} [output]" in nodes.LoadExpression.GET_SCHEMA().inputs[0].options
    assert nodes.LoadExpression.validate_inputs(file=f"{name} [output]") is True
    assert same(of(nodes.LoadExpression, file=f"{name} [output]"), told)
    assert nodes.SaveExpression.execute(expression=told, filename_prefix="expression/mine").ui != shown


def test_sliders_of_the_old_editor_are_loaded_from_the_input_folder(nodes, host):
    (host.base / "input" / "old.json").write_text('{"smile": 0.4, "src_ratio": 0.9}')
    assert of(nodes.LoadExpression, file="old.json").at(0) == {"smile": 0.4, "source": 0.9}


@pytest.mark.parametrize(
    "file", ["../secret.json", "/etc/hostname", "example_picture.jpg", "none.json", "\0.json"]
)
def test_a_name_that_is_no_json_file_of_the_folders_is_refused(nodes, host, file):
    (host.base / "secret.json").write_text('{"smile": 0.4}')
    assert "there is no such JSON file" in nodes.LoadExpression.validate_inputs(file=file)
    with pytest.raises(Exception, match="there is no such JSON file"):
        of(nodes.LoadExpression, file=file)


def test_a_file_that_is_no_expression_is_refused_before_a_run(nodes, host):
    (host.base / "input" / "wrong.json").write_text('{"version": 1, "layers": [{"channels": {"<b>": 1}}]}')
    assert "unknown channel '<b>'" in nodes.LoadExpression.validate_inputs(file="wrong.json")
    assert "choose an expression" in nodes.LoadExpression.validate_inputs()


def test_no_prefix_leads_out_of_the_output_folder(nodes, host):
    with pytest.raises(Exception, match="filename_prefix must name a file in ComfyUI's output folder"):
        nodes.SaveExpression.execute(expression=Expression(), filename_prefix="../mine")
    assert not list(host.base.glob("*.json"))


def animate(nodes, source, **values):
    return nodes.AnimateDraft.execute(source=source, frames=True, **values).args


def test_a_picture_is_edited_to_one_picture(nodes, picture):
    plain, *_ = animate(nodes, picture, expression=Expression())
    images, _, _, _, count, report, *_ = animate(nodes, picture, expression=of(nodes.Expression, **SMILE))
    assert images.shape == plain.shape == (1, 350, 350, 3)
    assert count == 1
    changed = (images - plain).abs().amax(3)[0] > 0.05
    assert 1000 < changed.sum() < 30_000
    assert "no sound" in report


def test_keyframes_make_a_clip_of_a_picture(nodes, picture):
    images, *_ = animate(nodes, picture, expression=keyed(nodes, "0 smile=0\n0.2 smile=1"))
    assert len(images) == 6
    assert (images[0] - images[-1]).abs().max() > 0.1


def test_a_clip_is_edited_alone_and_only_where_it_is_told(nodes, clip):
    plain, *_ = animate(nodes, clip, expression=Expression())
    images, *_ = animate(nodes, clip, expression=keyed(nodes, "0.1 smile=1\n0.2 smile=1"))
    differ = [(one - other).abs().max() > 0.05 for one, other in zip(plain, images, strict=True)]
    assert differ == [0.1 <= frame / 30 <= 0.2 for frame in range(len(images))]


def test_an_expression_is_added_to_a_driving_clip(nodes, picture, clip):
    driven, *_ = animate(nodes, picture, driving=clip)
    both, *_ = animate(nodes, picture, driving=clip, expression=of(nodes.Expression, **SMILE))
    assert len(both) == len(driven)
    assert (both - driven).abs().amax((1, 2, 3)).min() > 0.1


def test_another_face_may_be_edited_while_the_first_is_driven(nodes, clip):
    source = VideoFromFile(str(EXAMPLES / "example_two_faces.mp4"), duration=0.2)
    (roles,) = nodes.AnotherFace.execute(
        source_face=1, drive_face=0, expression=of(nodes.Expression, rotate_roll=10.0)
    ).args
    alone, *_ = animate(nodes, source, driving=clip)
    both, *_, report, _, _ = animate(nodes, source, driving=clip, roles=roles)
    assert (both - alone).abs().max() > 0.1
    assert "source face 1" in report


def test_neither_driving_clip_nor_expression_is_refused_with_the_remedy(nodes, picture):
    message = "link a clip to `driving`, or an expression to `expression`; got neither"
    with pytest.raises(Exception, match=message):
        animate(nodes, picture)
    with pytest.raises(Exception, match=message):
        nodes.AnotherFace.execute(source_face=1, drive_face=0)


def test_the_hosted_model_needs_a_driving_clip(nodes, picture):
    with pytest.raises(Exception, match="driving: link a video or image, or give driving_url; got neither"):
        asyncio.run(nodes.AnimateSegmind.execute(source=picture, frames=True))


def test_a_still_with_an_expression_that_edits_nothing_keeps_its_pixels(nodes, picture):
    images, *_ = animate(nodes, picture, expression=Expression())
    own = next(Clip(EXAMPLES / "example_picture.jpg").chunks(1)).frames[0]
    assert torch.equal((images[0] * 255).round().to(torch.uint8), own)
