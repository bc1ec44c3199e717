"""Edited expressions in the draft: each channel does what it says, and little else."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from made_faces import landmarks

from benchmarks.expressions import BOUNDS, FACES, GAZE_NOISE, MEANT, NOISE, Still, still_of, values_of
from liveportrait_v2v.engines.base import Edits
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.edit import edited, unled
from liveportrait_v2v.engines.draft.motion import RestingFace, Target
from liveportrait_v2v.expression import ALL_CHANNELS, Expression
from liveportrait_v2v.geometry import euler_angles, face_crop
from liveportrait_v2v.settings import AnimationSettings
from liveportrait_v2v.tensors import TensorStruct

PLACE = {"at": (180.0, 150.0), "size": 7.0}


@pytest.fixture(autouse=True)
def one_thread():
    """Torch with one thread: others that wait cost more than they gain on pictures this small."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module", params=["cap12", "wan2"])
def still(request, clips) -> Still:
    """A real face and a generated one that is turned to the side."""
    assert clips[request.param]
    return still_of(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MEANT))
def test_a_channel_changes_what_it_is_meant_for_monotonously_and_little_else(still, name):
    low, _, middle, _, high = values_of(name)
    found = [still.edited(**{name: value}) for value in (low, middle, high)]
    for reading, sign in MEANT[name].items():
        noise = GAZE_NOISE if reading.startswith("gaze") else NOISE
        values = [sign * changes[reading] for changes in found if not math.isnan(changes[reading])]
        assert all(after > before - noise for before, after in pairwise(values)), reading
        assert values[-1] - values[0] > 2 * noise, reading
    for changes in found:
        for reading, bound in BOUNDS[name].items():
            assert math.isnan(changes[reading]) or abs(changes[reading]) <= bound, reading


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotate_pitch", "rotate_yaw", "rotate_roll"])
def test_the_head_turns_by_about_the_channels_degrees(still, name):
    for degrees in (-10, 10):
        assert still.edited(**{name: degrees})[name.removeprefix("rotate_")] == pytest.approx(
            degrees, abs=1.5
        )


@pytest.mark.slow
def test_a_neutralised_face_has_shut_lips():
    smiling = still_of("wolfgang")
    rest = smiling.rest["mouth"]
    assert smiling.edited(source=0)["mouth"] < -0.7 * rest
    assert smiling.edited(source=0)["corners"] < -0.1
    assert -0.7 * rest < smiling.edited(source=0.5)["mouth"] < -0.2 * rest


def test_every_channel_is_measured():
    assert set(MEANT) == ALL_CHANNELS - {"source"}
    assert set(BOUNDS) == set(MEANT)
    assert len(FACES) == 5


def target(*poses: dict) -> tuple[Target, RestingFace, torch.Tensor]:
    """The target of faces that keep their own motion, the face at rest, and the landmarks."""
    points = torch.stack([landmarks(**PLACE, **pose) for pose in poses])
    rest = RestingFace.of(points[0])
    return unled(points, rest), rest, points


def edit(*rows: dict, poses=({"yaw": 20.0}, {"yaw": 20.0}), led: bool = False) -> tuple[Target, Target]:
    """A target before and after an edit of each frame."""
    before, rest, points = target(*poses)
    edits = Edits(torch.tensor([Expression.constant(**channels).row(0) for channels in rows]))
    square = face_crop(points, AnimationSettings())
    return before, edited(before, edits, rest, square.side, square.axes, led)


def differences(before: TensorStruct, after: TensorStruct) -> list[str]:
    names = ("source", "moved", "strength", "gaze", "own_gaze", "eyes", "rest_eyes")
    poses = [
        name
        for name in ("pose", "moved_pose")
        if not torch.equal(getattr(before, name).rotation, getattr(after, name).rotation)
    ]
    return [name for name in names if not torch.equal(getattr(before, name), getattr(after, name))] + poses


def test_a_face_that_keeps_its_motion_stays_where_it_is():
    before, _, points = target({"yaw": 20.0}, {"yaw": -20.0, "drop": 0.5})
    assert torch.equal(before.moved, points)
    assert torch.equal(before.gaze, before.own_gaze)


def test_frames_without_edits_keep_their_target_bit_by_bit():
    before, after = edit({}, {"smile": 1})
    assert differences(before[:1], after[:1]) == []
    assert differences(before[1:], after[1:]) == ["moved"]
    nothing, same = edit({}, {})
    assert same is not nothing or differences(nothing, same) == []


@pytest.mark.parametrize("yaw", [-30.0, 0.0, 30.0])
def test_degrees_are_added_to_the_heads_own_angles(yaw):
    pose = {"yaw": yaw, "pitch": 5.0}
    before, after = edit({"rotate_yaw": 8, "rotate_pitch": -4, "rotate_roll": 3}, poses=(pose,))
    change = euler_angles(after.moved_pose.rotation) - euler_angles(before.moved_pose.rotation)
    assert change[0].tolist() == pytest.approx([-4, -8, 3], abs=1e-3)


def test_moving_is_in_half_sides_of_the_square_along_its_axes():
    _, after = edit({"move_x": 0.1, "move_y": 0.05}, poses=({"roll": 30.0},))
    points = torch.stack([landmarks(**PLACE, roll=30.0)])
    square = face_crop(points, AnimationSettings())
    shift = (after.moved - points)[0, 0, :2] @ square.axes[0].mT / square.side[0] * 2
    assert shift.tolist() == pytest.approx([-0.1, 0.05], abs=1e-4)


def test_targets_set_openings_whatever_they_were_and_winks_and_jaw_change_these():
    poses = ({"lids": 0.5, "drop": 0.6},) * 2
    _, after = edit(
        {"eyes_open": 0.2, "lips_open": 0.25}, {"lips_open": 0.1, "aaa": 20, "wink_left": 25}, poses=poses
    )
    shape = after.moved_pose.undo(after.moved)
    assert face.eye_openings(shape)[0].tolist() == pytest.approx([0.2, 0.2], abs=0.01)
    assert face.mouth_opening(shape).tolist() == pytest.approx([0.25, 0.1 + 20 * 0.0045], abs=0.01)
    assert face.eye_openings(shape)[1, 0].item() < 0.02


def test_gaze_of_one_eye_leaves_the_other():
    before, after = edit({"pupil_x_left": 10}, {"pupil_y_right": -10})
    moved = after.gaze - before.gaze
    assert (moved[0, 0, 0] > 0.05) & (moved[0, 1] == 0).all()
    assert (moved[1, 1, 1] > 0.03) & (moved[1, 0] == 0).all()


def test_channels_are_added_to_a_target_that_a_driving_clip_leads():
    before, after = edit({"smile": 1, "rotate_yaw": 5}, {}, led=True)
    assert differences(before[1:], after[1:]) == []
    assert (after.moved[0] - before.moved[0]).abs().max() > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "channels", [{"smile": 0.001}, {"rotate_yaw": 0.01}, {"aaa": 0.1}, {"blink": -0.02}], ids=str
)
@pytest.mark.parametrize("name", ["wolfgang", "jwp_intro"])
def test_a_tiny_edit_changes_hardly_a_pixel(clips, name, channels):
    assert clips[name]
    still = still_of(name)
    change = still.render(Expression.constant(**channels)).int() - still.chunk.frames.int()
    assert change.abs().max() <= 6
