"""What an expression adds to LivePortrait's keypoints."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from made_networks import MadeNetworks

from liveportrait_v2v.engines.base import Edits
from liveportrait_v2v.engines.liveportrait.edit import deltas, edited, kept
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.keypoints import rotation_matrix
from liveportrait_v2v.engines.liveportrait.motion import USUAL_EYES, Faces, Motion
from liveportrait_v2v.expression import Expression
from liveportrait_v2v.geometry import euler_angles
from liveportrait_v2v.media import Clip
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk, track


def edits(*rows: dict[str, float]) -> Edits:
    """Edits of a frame for each set of channels."""
    return Edits(torch.tensor([Expression.constant(**channels).row(0) for channels in rows]))


def motion(count: int = 2, seed: int = 1) -> Motion:
    """Faces whose heads are turned."""
    make = torch.Generator().manual_seed(seed)
    angles = torch.rand(3, count, generator=make) * 60 - 30
    return Motion(
        rotation_matrix(*angles),
        torch.randn(count, 21, 3, generator=make) * 0.02,
        torch.full((count, 1), 1.4),
        torch.randn(count, 3, generator=make) * 0.1,
        torch.full((count, 2), 0.3),
        torch.full((count, 1), 0.1),
    )


def steps(**channels: float) -> dict[str, float]:
    """What channels add, by keypoint and axis, in thousandths."""
    (found,) = deltas(edits(channels))
    return {
        f"{k}.{'xyz'[axis]}": round(found[k, axis].item() * 1000, 4) for k, axis in found.nonzero().tolist()
    }


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ({"aaa": 100}, {"19.y": 100, "19.z": 10, "17.y": -10}),
        ({"aaa": -30}, {"19.y": -30, "19.z": -3, "17.y": 3}),
        ({"eee": 10}, {"20.z": -10, "20.y": -10, "14.y": -10}),
        ({"woo": 10}, {"14.y": 10, "3.y": -5, "7.y": -5, "17.z": -5}),
        (
            {"smile": 1},
            {
                **{"20.y": -10, "14.y": -20, "17.y": 6.5, "17.z": 3},
                **{"13.y": -2.75, "16.y": -2.75, "3.y": -3.5, "7.y": -3.5},
            },
        ),
        ({"pouting": 0.05}, {"19.x": 50}),
        ({"move_x": 0.1, "move_y": 0.1}, {"5.x": -100, "5.y": 100}),
        ({"eyebrow": 10}, {"1.y": 10, "2.y": -10}),
        ({"eyebrow": -10}, {"1.x": 10, "2.x": -10, "1.y": -3, "2.y": 3}),
        (
            {"blink": -20},
            {"11.y": 20, "13.y": -6, "15.y": 20, "16.y": -6, "1.y": 5, "2.y": -5},
        ),
        ({"wink_left": 20}, {"11.y": 20, "13.y": -6, "17.x": 6, "17.y": 6, "3.y": -6}),
        ({"wink_right": 20}, {"15.y": 20, "16.y": -6, "17.x": -6, "17.y": 6, "7.y": -6}),
        ({"pupil_x": 10}, {"11.x": 7, "15.x": 10}),
        ({"pupil_x": -10}, {"11.x": -10, "15.x": -7}),
        # Lids follow by half of the gaze, as a blink that leaves the brows alone.
        ({"pupil_y": 10}, {"11.y": -5, "13.y": -1.5, "15.y": -5, "16.y": -1.5}),
        ({"pupil_x_left": 10, "pupil_y_right": -10}, {"11.x": 7, "15.y": 5, "16.y": 1.5}),
        ({"rotate_yaw": 10, "zoom": 1.1, "source": 0, "eyes_open": 0.3}, {}),
    ],
    ids=str,
)
def test_a_channel_moves_the_keypoints_of_the_fields_sliders(channels, expected):
    assert steps(**channels) == expected


def test_gaze_of_both_eyes_and_of_one_add_up_to_the_channels_range():
    assert steps(pupil_x=15, pupil_x_left=15) == steps(pupil_x=15)
    assert steps(pupil_x=10, pupil_x_left=-10) == {"15.x": 10}


def test_neutral_channels_leave_a_motion_bit_by_bit():
    before = motion()
    for after in (edited(before, edits({}, {})), kept(before, edits({}, {}))):
        for name in ("rotation", "exp", "scale", "t", "eyes", "lips"):
            assert torch.equal(getattr(after, name), getattr(before, name)), name


def test_the_head_turns_by_the_channels_degrees_from_any_pose():
    before = motion()
    turned = edited(before, edits({"rotate_pitch": 7, "rotate_yaw": 5, "rotate_roll": -3}, {}))
    change = euler_angles(turned.rotation) - euler_angles(before.rotation)
    assert change[0].tolist() == pytest.approx([7, -5, -3], abs=1e-3)
    assert torch.equal(turned.rotation[1], before.rotation[1])


def test_zoom_is_a_factor_of_the_scale():
    assert edited(motion(), edits({"zoom": 1.1}, {})).scale.flatten().tolist() == pytest.approx([1.54, 1.4])


def test_the_sources_own_expression_goes_but_for_the_keypoint_that_places_the_head():
    before = motion()
    after = kept(before, edits({"source": 0.25}, {}))
    expected = before.exp[0] * 0.25
    expected[5] = before.exp[0, 5]
    assert torch.allclose(after.exp[0], expected)
    assert after.eyes[0].tolist() == pytest.approx([0.25 * 0.3 + 0.75 * USUAL_EYES] * 2)
    assert after.lips[:, 0].tolist() == pytest.approx([0.025, 0.1])


class TestKeypoints:
    """The target's keypoints, of a role with and without a driving clip."""

    def target(self, networks, rows: Edits | None, settings=None, options=None, led=True) -> torch.Tensor:
        model = LivePortraitEngine(networks).model
        own = settings or AnimationSettings()
        rates = Fraction(25), Fraction(25) if led else None
        session = LivePortraitEngine(networks).session(own, options or MotionOptions(), *rates)
        make = torch.Generator().manual_seed(7)
        kp, source, driving = torch.randn(2, 21, 3, generator=make) * 0.3, motion(), motion(seed=2)
        if not led:
            base = source if rows is None else kept(source, rows)
            faces = Faces(kp, source, source, base, base, base)
            return model.target_keypoints(session._unled, faces, source[:1], None, rows)
        faces = session._transfer.faces(kp, source, source[:1].expand(2), driving, driving[:1])
        return model.target_keypoints(session._transfer, faces, driving[:1], None, rows)

    def source(self) -> torch.Tensor:
        make = torch.Generator().manual_seed(7)
        kp, own = torch.randn(2, 21, 3, generator=make) * 0.3, motion()
        return Faces(kp, own, own, own, own, own).kp_source

    @pytest.mark.parametrize("rows", [None, edits({}, {})])
    def test_without_a_driving_clip_and_edits_they_are_the_sources_on_a_turned_head(self, rows):
        assert torch.equal(self.target(MadeNetworks(), rows, led=False), self.source())

    def test_small_edits_move_them_little(self):
        small = edits({"rotate_yaw": 0.01, "smile": 0.001, "zoom": 1.0001}, {"source": 0.999})
        assert (self.target(MadeNetworks(), small, led=False) - self.source()).abs().max() < 1e-3

    def test_a_frame_without_edits_is_as_without_an_expression(self):
        some = self.target(MadeNetworks(), edits({"aaa": 50, "lips_open": 0.3}, {}))
        none = self.target(MadeNetworks(), None)
        assert torch.equal(some[1], none[1])
        assert not torch.equal(some[0], none[0])

    def test_the_strength_of_the_driving_motion_is_not_that_of_the_expression(self):
        changes = []
        for strength in (0.0, 1.0):
            options = MotionOptions(driving_multiplier=strength)
            some = self.target(MadeNetworks(), edits({"aaa": 50}, {}), options=options)
            changes.append(some - self.target(MadeNetworks(), None, options=options))
        assert torch.allclose(*changes, atol=1e-6)
        assert changes[0][0, 19, 1].item() == pytest.approx(0.05 * 1.4)

    @pytest.mark.parametrize(("name", "network"), [("eyes_open", "eye_delta"), ("lips_open", "lip_delta")])
    def test_a_target_goes_through_the_retargeting_network_in_its_frames_alone(self, name, network):
        networks = MadeNetworks(eye=0.25, lip=0.25)
        moved = self.target(networks, edits({name: 0.6}, {}), led=False) - self.source()
        assert moved.flatten(1).amax(1).tolist() == pytest.approx([0.25, 0])
        ((_, openings),) = networks.calls_of(network)
        own = 0.3 if name == "eyes_open" else 0.1
        assert openings[:, -1].tolist() == pytest.approx([0.6, own])

    def test_half_of_a_target_asks_for_the_opening_halfway(self):
        networks = MadeNetworks()
        half = Edits(torch.tensor([Expression.constant(lips_open=0.5).scaled(0.5).row(0)]).expand(2, -1))
        self.target(networks, half, led=False)
        ((_, openings),) = networks.calls_of("lip_delta")
        assert openings[:, -1].tolist() == pytest.approx([0.3, 0.3])

    def test_a_target_takes_the_place_of_the_driving_lips_and_of_lips_that_are_shut(self):
        networks = MadeNetworks(lip=1.0)
        settings = AnimationSettings(lip_retargeting=True, lip_retargeting_multiplier=2)
        self.target(networks, edits({"lips_open": 0.4}, {}), settings)
        ((_, openings),) = networks.calls_of("lip_delta")
        assert openings[:, -1].tolist() == pytest.approx([0.4, 0.2])
        shut = self.target(networks, None) - self.target(networks, None, AnimationSettings(lip_zero=False))
        both = self.target(networks, edits({"lips_open": 0.4}, {})) - self.target(MadeNetworks(), None)
        assert shut.flatten(1).amax(1).tolist() == pytest.approx([1, 1])
        assert both.flatten(1).amax(1).tolist() == pytest.approx([1, 1])


@pytest.mark.slow
def test_with_random_weights_a_turned_head_without_edits_keeps_its_keypoints(clips):
    part, tracks = list(track(Clip(clips["wan2"]), cap=64))[-1]
    landmarks, present, _ = tracks.face(0)
    chunk = TrackedChunk(part.frames, landmarks, present)[6:8]
    engine = LivePortraitEngine.random(5)
    settings = AnimationSettings(stitching=False)
    session = engine.session(settings, MotionOptions(), Fraction(25), None)
    faces = session._source_faces(replace(chunk))
    kp_source, kp_target = session._edited(faces, edits({}, {"rotate_yaw": 5}))
    assert torch.equal(kp_target[0], kp_source[0])
    assert (kp_target[1] - kp_source[1]).abs().max() > 0.01
