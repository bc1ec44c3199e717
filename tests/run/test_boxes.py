"""Faces that a box gives, from plan to result."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from drawn_cat import CAT, picture, place
from made_networks import MadeNetworks
from recording_engine import Recorder

from liveportrait_v2v.engines import RenderedFrames, create_engine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import FaceNotFoundError, SettingsError
from liveportrait_v2v.faces.given import FaceBoxes
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.plan import Role
from liveportrait_v2v.run import animate
from liveportrait_v2v.run.crops import FaceCropper
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

pytestmark = pytest.mark.slow

COUNT = 12
BOX = FaceBoxes.parse([120, 80, 80, 80])


@pytest.fixture(scope="module")
def cat() -> Clip:
    return Clip(Frames(torch.stack([picture(k) for k in range(COUNT)]), Fraction(25)))


def engine() -> LivePortraitEngine:
    return LivePortraitEngine(MadeNetworks())


def run(source: Clip, roles, made=None):
    got: list[RenderedFrames] = []
    result = animate(source, roles=roles, engine=made or engine(), sink=got.append, masks=True)
    return result, got


def frames_of(clip: Clip) -> torch.Tensor:
    return torch.cat([chunk.frames for chunk in clip.chunks()])


def test_a_drawn_cat_is_animated_where_its_box_is_and_nowhere_else(cat, make):
    role = Role(Clip(make(COUNT, 25)), AnimationSettings(vy_ratio=0.0), boxes=BOX)
    result, got = run(cat, [role])
    squares = torch.cat([part.squares[0].center for part in got])
    wanted = torch.tensor([place(k)[:2] for k in range(COUNT)])
    assert (squares - wanted).norm(dim=1).max() < 0.1 * CAT
    mask = torch.cat([part.mask for part in got])
    changed = (torch.cat([part.frames for part in got]) != frames_of(cat)).any(-1)
    assert not changed[mask == 0].any()
    for k in range(COUNT):
        x, y = (round(value) for value in place(k)[:2])
        assert changed[k, y - 20 : y + 20, x - 20 : x + 20].any()
    assert str(result.faces[0]).startswith("source face in the box: 80x80 pixels at 120, 80 in frame 0")
    assert result.frames_without_source_face == 0


def test_a_picture_of_a_cat_is_animated(make):
    still = Clip(Frames(picture(0)[None]))
    result, got = run(still, [Role(Clip(make(COUNT, 25)), boxes=BOX)])
    assert result.frames == COUNT
    assert all((part.squares[0].side > 0).all() for part in got)


def test_scale_and_shift_act_on_the_box(cat, make):
    driving = Clip(make(COUNT, 25))
    usual, other = (
        run(cat, [Role(driving, AnimationSettings(**values), boxes=BOX)])[1][0].squares[0]
        for values in ({"scale": 2.0, "vy_ratio": 0.0}, {"scale": 3.0, "vy_ratio": 0.25})
    )
    assert (other.side / usual.side)[0].item() == pytest.approx(1.5)
    assert (other.center - usual.center)[0, 1].item() == pytest.approx(0.25 * other.side[0].item(), rel=1e-3)


def test_frames_without_a_box_show_the_source(cat, make):
    boxes = FaceBoxes.parse([[120, 80, 80, 80]] * 2 + [None] * (COUNT - 2))
    last = FaceBoxes((*boxes.boxes[:2], *[None] * (COUNT - 2)))
    result, got = run(cat, [Role(Clip(make(COUNT, 25)), boxes=last)])
    frames = torch.cat([part.frames for part in got])
    assert torch.equal(frames[3:], frames_of(cat)[3:])
    assert f"source face in the box is lost in frame 2-{COUNT - 1}" in result.notes
    assert result.frames_without_source_face == COUNT - 2


def test_boxes_that_show_nothing_in_the_frames_of_the_result_are_an_error(cat, make):
    late = FaceBoxes((*[None] * COUNT, (120.0, 80.0, 80.0, 80.0)))
    with pytest.raises(FaceNotFoundError, match=f"no face in the {COUNT} frames of the result"):
        run(cat, [Role(Clip(make(COUNT, 25)), boxes=late)])


def test_no_detector_is_asked_about_a_face_that_is_given(cat, make, monkeypatch):
    role = Role(Clip(make(3, 25)), boxes=BOX)
    seen = []
    from liveportrait_v2v import tracking

    class Watched(tracking.FaceTracker):
        def track(self, frames):
            seen.append(tuple(frames.shape[1:3]))
            return super().track(frames)

    monkeypatch.setattr(tracking, "FaceTracker", Watched)
    run(cat, [role])
    assert set(seen) == {(200, 200)}  # the driving clip's


def test_a_number_and_a_box_are_animated_side_by_side(make_two, make):
    couple, driving = make_two(COUNT, 25), Clip(make(COUNT, 25))
    right = FaceBoxes.parse([250, 50, 100, 100])
    result, got = run(couple, [Role(driving, source_face=0), Role(driving, boxes=right)], made=Recorder())
    assert [face.first.number for face in result.faces if face.clip == "source"] == [0, None]
    assert all(len(part.squares) == 2 for part in got)


def test_a_box_and_a_number_for_the_same_role_are_refused(cat):
    with pytest.raises(SettingsError, match="source_face or boxes, got both"):
        Role(cat, source_face=0, boxes=BOX)


def test_the_draft_asks_for_a_face_that_is_found(cat, make):
    with pytest.raises(
        SettingsError, match=r"draft engine needs the landmarks .* take the liveportrait engine"
    ):
        run(cat, [Role(Clip(make(3, 25)), boxes=BOX)], create_engine("draft"))


@pytest.mark.parametrize("name", ["eye_retargeting", "lip_retargeting", "source_eye_retargeting"])
def test_what_needs_openings_says_so(cat, make, name):
    settings, options = AnimationSettings(), MotionOptions()
    if name in settings.to_dict():
        settings = replace(settings, **{name: True})
    else:
        options = replace(options, **{name: True})
    with pytest.raises(SettingsError, match=f"{name} needs the openings .* a box doesn't give"):
        run(cat, [Role(Clip(make(3, 25)), settings, options, boxes=BOX)])


def test_no_face_at_all_names_the_box_as_the_way_out(cat, make):
    with pytest.raises(
        FaceNotFoundError, match=r"no face was found .* give its place to the liveportrait engine with --box"
    ):
        run(cat, [Role(Clip(make(3, 25)))])


def test_a_box_is_cropped(cat):
    cropper = FaceCropper(cat, AnimationSettings(dsize=64), faces=(BOX,))
    parts = list(cropper.crops())
    assert sum(len(part.pictures) for part in parts) == cropper.placement.crop_count == COUNT
