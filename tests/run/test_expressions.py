"""Edited expressions in a run: which frames change, how long the result is, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from made_networks import MadeNetworks
from recording_engine import Recorder

from liveportrait_v2v.engines import RenderedFrames, create_engine
from liveportrait_v2v.engines.base import ALL_OPTIONS
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.segmind import SegmindEngine
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.expression import Expression, Layer
from liveportrait_v2v.faces.given import FaceBoxes
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.plan import Role, make_plan
from liveportrait_v2v.run import run_plan
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

RATE = Fraction(25)
SMILE = Expression.constant(smile=0.8)
WHOLE = AnimationSettings(video_frame_load_cap=0)


@pytest.fixture(autouse=True)
def one_thread():
    """Torch with one thread: others that wait cost more than they gain on pictures this small."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def clip(faces) -> Clip:
    """Ten frames of a real face."""
    return Clip(Frames(faces[:10], RATE))


@pytest.fixture(scope="module")
def turned(clips) -> torch.Tensor:
    """Three frames of a head that is turned by 22 degrees to the side."""
    return torch.cat([chunk.frames for chunk in Clip(clips["wan2"]).chunks(8, cap=66)])[62:65]


ENGINES = {
    "draft": lambda: create_engine("draft"),
    "liveportrait": lambda: LivePortraitEngine(MadeNetworks()),
}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]()


def run(engine, source: Clip, *roles: Role, **options) -> RenderedFrames:
    """The whole result, in one piece, with its mask."""
    got: list[RenderedFrames] = []
    run_plan(make_plan(source, roles, **options), engine=engine, sink=got.append, masks=True)
    return RenderedFrames(torch.cat([part.frames for part in got]), torch.cat([part.mask for part in got]))


def test_an_expression_without_layers_changes_not_one_pixel(engine, clip, faces):
    result = run(engine, clip, Role(expression=Expression()))
    assert torch.equal(result.frames, faces[:10])
    assert not result.mask.any()


def test_channels_at_their_neutral_values_change_not_one_pixel_of_a_turned_head(engine, turned):
    zero = Expression.constant(
        **{"rotate_pitch": 0, "rotate_yaw": 0, "smile": 0, "aaa": 0, "blink": 0, "zoom": 1, "source": 1}
    )
    assert torch.equal(run(engine, Clip(Frames(turned, RATE)), Role(expression=zero)).frames, turned)


def test_an_expression_alone_edits_every_frame_of_a_clip(engine, clip, faces):
    result = run(engine, clip, Role(expression=Expression.constant(aaa=60)))
    assert len(result.frames) == 10
    assert (result.mask.amax((1, 2)) == 1).all()
    if engine.name == "draft":  # made networks show the source's crop
        assert ((result.frames.int() - faces[:10].int()).abs().amax((1, 2, 3)) > 50).all()


def test_outside_the_keyframes_time_frames_are_the_sources_bytes(engine, clip, faces):
    at = Expression.keyed({0.12: {"aaa": 30}, 0.2: {"aaa": 60}})
    result = run(engine, clip, Role(expression=at))
    edited = [3, 4, 5]
    others = [k for k in range(10) if k not in edited]
    assert torch.equal(result.frames[others], faces[others])
    assert result.mask[others].max() == 0
    assert (result.mask[edited].amax((1, 2)) == 1).all()


def test_seconds_2_to_4_of_a_clip_are_edited_and_all_others_keep_their_bytes(faces):
    frames = faces.repeat(2, 1, 1, 1)
    layer = Layer({"aaa": 80}, start=2, end=4, blend_in=0.5, blend_out=0.5)
    source = Clip(Frames(frames, Fraction(4)))
    result = run(create_engine("draft"), source, Role(expression=Expression((layer,)))).frames
    changed = (result != frames).flatten(1).any(1)
    assert changed.nonzero().flatten().tolist() == list(
        range(9, 16)
    )  # of the ends, nothing has set in or is left


def test_where_chunks_end_hardly_matters(clip):
    nod = Expression.keyed({0: {"rotate_pitch": 0}, 0.2: {"rotate_pitch": 10}, 0.36: {"rotate_pitch": 0}})
    whole, parts = (
        run(create_engine("draft"), clip, Role(expression=nod), chunk=size).frames.int() for size in (10, 3)
    )
    assert (whole - parts).abs().float().mean() < 0.05


def test_with_a_driving_clip_a_neutral_expression_changes_nothing(engine, clip, faces):
    driving = Clip(Frames(faces[:10].flip(2), RATE))
    without = run(engine, clip, Role(driving, WHOLE)).frames
    neutral = Expression.keyed({0.2: {"smile": 0, "aaa": 0}, 0.3: {"smile": 0, "aaa": 0}})
    assert torch.equal(run(engine, clip, Role(driving, WHOLE, expression=neutral)).frames, without)


def test_with_a_driving_clip_the_expression_is_added_in_its_time(clip, faces):
    driving = Clip(Frames(faces[:10].flip(2), RATE))
    without = run(create_engine("draft"), clip, Role(driving, WHOLE)).frames
    late = Expression.keyed({0.28: {"aaa": 80}, 0.36: {"aaa": 80}})
    result = run(create_engine("draft"), clip, Role(driving, WHOLE, expression=late)).frames
    # Rectangles around mouths are those of a chunk, so that sums may be rounded otherwise.
    assert (result[:7].int() - without[:7].int()).abs().max() <= 1
    assert ((result[7:].int() - without[7:].int()).abs().amax((1, 2, 3)) > 50).all()


def test_frames_without_a_face_stay_as_they_are(engine, faces):
    frames = faces[:10].clone()
    frames[1:9] = 128
    result = run(engine, Clip(Frames(frames, RATE)), Role(expression=Expression.constant(aaa=60)))
    assert torch.equal(result.frames[1:9], frames[1:9])
    assert (result.mask[[0, 9]].amax((1, 2)) > 0).all()


def test_every_face_gets_the_expression_of_a_role_for_all(make_two):
    source = make_two(3, 25)
    result = run(
        create_engine("draft"), source, Role(source_face="all", expression=Expression.constant(aaa=90))
    )
    before = next(source.chunks(3)).frames
    changed = (result.frames.int() - before.int()).abs().amax(-1) > 50
    assert changed[:, :, :200].any()
    assert changed[:, :, 200:].any()


def test_one_face_is_edited_while_a_clip_drives_the_other(make, make_two):
    source = make_two(3, 25)
    roles = [
        Role(Clip(make(20, 25)), source_face=0),
        Role(source_face=1, expression=Expression.keyed({0.04: {"aaa": 90}, 0.08: {"aaa": 90}})),
    ]
    together = run(create_engine("draft"), source, *roles).frames
    driven = run(create_engine("draft"), source, roles[0]).frames
    changed = (together.int() - driven.int()).abs().amax((1, 3)) > 50
    assert not changed[0].any()
    assert changed[1:].any(1).all()
    assert changed[1, :200].any() != changed[1, 200:].any()


@pytest.mark.parametrize(
    ("expression", "frames"),
    [
        (SMILE, 1),
        (Expression.keyed({0: {"smile": 0}, 2: {"smile": 1}}), 51),
        (Expression.keyed({0.3: {"smile": 1}}), 8),
        (Expression((Layer({"smile": 1}, end=1, blend_out=0.5),)), 26),
        (Expression(), 1),
    ],
)
def test_a_still_alone_lasts_up_to_the_end_of_its_expression(faces, expression, frames):
    plan = make_plan(Clip(Frames(faces[:1])), Role(expression=expression))
    assert (plan.frame_count, plan.rate, plan.audio) == (frames, 25, None)


def test_keyframes_do_not_change_how_long_a_clip_is(clip):
    long = Expression.keyed({0: {"smile": 0}, 100: {"smile": 1}})
    assert make_plan(clip, Role(expression=long)).frame_count == 10


def test_a_constant_expression_of_a_still_does_not_shorten_another_roles_clip(faces, clip):
    roles = [Role(source_face=0, expression=SMILE), Role(clip, source_face=1)]
    assert make_plan(Clip(Frames(faces[:1])), roles).frame_count == 10


def test_a_still_whose_expression_never_ends_is_refused(faces):
    late = Expression((Layer({"smile": 1}, start=1, blend_in=0.5),))
    with pytest.raises(
        SettingsError, match=r"needs an end where it changes over time, got start 1 and blend_in 0.5"
    ):
        make_plan(Clip(Frames(faces[:1])), Role(expression=late))


def test_the_first_frame_of_a_still_is_the_first_keyframe(faces):
    late = Expression.keyed({0.04: {"aaa": 60}, 0.12: {"aaa": 90}})
    result = run(create_engine("draft"), Clip(Frames(faces[:1])), Role(expression=late)).frames
    assert len(result) == 4
    assert torch.equal(result[0], faces[0])
    assert not torch.equal(result[1], faces[0])


def test_a_role_needs_a_driving_clip_or_an_expression():
    with pytest.raises(SettingsError, match="a role needs a driving clip or an expression, got neither"):
        Role()
    with pytest.raises(SettingsError, match="driving_audio needs a driving clip"):
        Role(settings=AnimationSettings(driving_audio=True), expression=SMILE)


def test_the_hosted_model_refuses_an_expression(clip):
    with pytest.raises(
        SettingsError, match=r"the segmind engine edits no expressions, got one; take the draft"
    ):
        run_plan(make_plan(clip, Role(expression=SMILE)), engine=SegmindEngine())


def test_an_engine_refuses_a_channel_that_it_lacks(clip):
    class Limited(Recorder):
        channels = frozenset({"smile"})

    limited = Limited()
    with pytest.raises(
        SettingsError, match="the recorder engine does not edit aaa, got an expression with it"
    ):
        run_plan(make_plan(clip, Role(expression=Expression.constant(aaa=1))), engine=limited)
    assert limited.supports == ALL_OPTIONS


def test_a_box_has_no_openings_for_targets(clip):
    role = Role(boxes=FaceBoxes.parse([50, 50, 80, 80]), expression=Expression.constant(eyes_open=0.3))
    with pytest.raises(SettingsError, match="eyes_open needs the openings of the source's eyes and lips"):
        run_plan(make_plan(clip, role), engine=LivePortraitEngine(MadeNetworks()))


def test_a_result_names_the_clips_that_it_has(clip):
    result = run_plan(
        make_plan(clip, Role(expression=SMILE)), engine=create_engine("draft"), sink=lambda _: None
    )
    assert (result.driving_rate, result.frames_without_driving_face) == (None, 0)
    assert [face.clip for face in result.faces] == ["source"]
    assert result.notes == ()


def test_a_reference_frame_that_is_searched_for_needs_no_driving_clip(clip, faces):
    role = Role(options=MotionOptions(reference_frame=-1), expression=Expression())
    assert torch.equal(run(create_engine("draft"), clip, role).frames, faces[:10])
