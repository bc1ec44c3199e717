"""Motion transfer under each setting and option."""

from __future__ import annotations

import pytest
import torch
from made_faces import landmarks, rotation

from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.motion import GAZE_LIMITS_EYE_WIDTHS, RestingFace, Target, transfer
from liveportrait_v2v.faces import topology
from liveportrait_v2v.geometry import euler_angles
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

ADD = MotionOptions(source_motion="add")


def move(
    source, driving, *, rest=None, reference=None, options=None, video=False, still=False, **settings
) -> Target:
    """One frame's transfer; the rests are the frames themselves unless given. `still` is the driving clip."""
    return transfer(
        source.unsqueeze(0),
        driving.unsqueeze(0),
        RestingFace.of(source if rest is None else rest),
        RestingFace.of(driving if reference is None else reference),
        AnimationSettings(**settings),
        options or MotionOptions(),
        not video,
        still,
    )


def mouth(target: Target) -> float:
    return face.mouth_opening(target.moved).item()


def eyes(target: Target) -> float:
    return face.eye_openings(target.moved).mean().item()


def each_eye(target: Target) -> list[float]:
    """Openings in head coordinates."""
    return face.eye_openings(target.moved_pose.undo(target.moved))[0].tolist()


def opening(points: torch.Tensor) -> float:
    return face.mouth_opening(points.unsqueeze(0)).item()


@pytest.mark.parametrize("options", [ADD, MotionOptions()])
def test_a_driver_at_rest_leaves_the_source_where_it_is(options):
    source = landmarks(yaw=10, roll=-5)
    target = move(source, landmarks(size=3, yaw=-20), options=options)
    torch.testing.assert_close(target.moved[0], source, atol=2e-3, rtol=0)


def test_a_face_driven_by_its_own_clip_does_what_it_did():
    rest, later = landmarks(), landmarks(at=(164, 121), yaw=8, roll=4, drop=1.0)
    target = move(later, later, rest=rest, reference=rest, video=True)
    error = (target.moved[0, :468, :2] - later[:468, :2]).norm(dim=-1)
    assert error.mean() < 0.5


BROWS = list(topology.LEFT_BROW + topology.RIGHT_BROW)


def with_brows(points: torch.Tensor, raised: float) -> torch.Tensor:
    """Raise the brows by pixels."""
    points = points.clone()
    points[BROWS, 1] -= raised
    return points


def test_brows_go_further_than_landmarks_say_of_which_networks_find_three_quarters():
    rest = landmarks(size=9)
    target = move(rest, with_brows(rest, 4.0), reference=rest)
    rise = (rest - target.moved[0])[:, 1]
    assert (rise[BROWS] / 4).mean() == pytest.approx(1.35, abs=0.05)
    lids = [number for upper, lower, _ in face.EYES for number in (*upper, *lower)]
    assert rise[lids].abs().max() < 0.5


def test_brows_of_a_face_driven_by_its_own_clip_go_no_further():
    rest = landmarks(size=9)
    later = with_brows(rest, 4.0)
    target = move(later, later, rest=rest, reference=rest, video=True)
    assert (target.moved[0] - later)[BROWS, 1].abs().max() < 0.5


@pytest.mark.parametrize("options", [ADD, MotionOptions(), MotionOptions(driving_multiplier=2.0)])
@pytest.mark.parametrize("relative", [True, False])
def test_in_a_video_the_heads_place_and_size_stay_the_sources_own(options, relative):
    source, driving = landmarks(at=(140, 110)), landmarks(at=(200, 150), size=7)
    target = move(
        source,
        driving,
        rest=landmarks(),
        reference=landmarks(),
        options=options,
        video=True,
        relative=relative,
    )
    assert torch.equal(target.moved_pose.translation, target.pose.translation)
    assert torch.equal(target.moved_pose.scale, target.pose.scale)


def test_an_opening_mouth_opens_the_sources_as_far():
    driven = move(landmarks(), landmarks(drop=1.5), reference=landmarks())
    assert mouth(driven) == pytest.approx(opening(landmarks(drop=1.5)), rel=0.05)


def test_a_mouth_opens_more_as_the_drivers_does():
    widths = [mouth(move(landmarks(), landmarks(drop=d), reference=landmarks())) for d in (0, 0.5, 1, 1.5, 2)]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0] + 0.3


def test_the_jaw_goes_down_with_the_lower_lip_and_the_forehead_stays():
    target = move(landmarks(), landmarks(drop=1.5), reference=landmarks())
    shift = target.moved[0, :, 1] - target.source[0, :, 1]
    assert shift[152] > 4
    assert abs(shift[10]) < 0.5
    assert shift[13].abs() < 1


def test_the_driving_faces_size_and_place_make_no_difference():
    near = move(
        landmarks(), landmarks(drop=1, size=12, at=(500, 300)), reference=landmarks(size=12, at=(500, 300))
    )
    far = move(landmarks(), landmarks(drop=1, size=3, at=(40, 40)), reference=landmarks(size=3, at=(40, 40)))
    torch.testing.assert_close(near.moved, far.moved, atol=0.05, rtol=0)


def test_lip_zero_closes_open_source_lips():
    speaking = landmarks(drop=1)
    assert mouth(move(speaking, landmarks(), lip_zero=True)) < 0.01
    assert mouth(move(speaking, landmarks(), lip_zero=False)) == pytest.approx(opening(speaking), rel=0.01)


def test_lip_zero_leaves_lips_that_are_open_by_less_than_the_threshold():
    speaking = landmarks(drop=0.5)
    own = opening(speaking)
    assert mouth(move(speaking, landmarks(), lip_zero_threshold=own * 1.1)) == pytest.approx(own, rel=0.01)
    assert mouth(move(speaking, landmarks(), lip_zero_threshold=own * 0.9)) < 0.01


def test_lip_zero_is_decided_frame_by_frame_where_the_source_keeps_its_motion():
    rest = landmarks()
    frames = torch.stack([landmarks(drop=1), rest, landmarks(drop=1)])
    still = landmarks().expand(3, -1, -1)
    target = transfer(
        frames, still, RestingFace.of(rest), RestingFace.of(rest), AnimationSettings(), ADD, False, False
    )
    assert face.mouth_opening(target.moved).max() < 0.01
    torch.testing.assert_close(target.moved[1], rest, atol=2e-3, rtol=0)


def test_lips_never_pass_each_other():
    target = move(landmarks(), landmarks(), reference=landmarks(drop=1.5), lip_zero=False)
    assert face.lip_gaps(target.moved).min() > -1e-3


def test_lip_retargeting_gives_the_driving_mouths_own_opening():
    driving = landmarks(drop=1.2)
    target = move(landmarks(), driving, lip_retargeting=True)
    assert mouth(target) == pytest.approx(opening(driving), rel=0.05)


def test_the_lip_multiplier_scales_the_target_alone():
    driving = landmarks(drop=0.8)
    doubled = move(landmarks(yaw=5), driving, lip_retargeting=True, lip_retargeting_multiplier=2.0)
    assert mouth(doubled) == pytest.approx(2 * opening(driving), rel=0.08)
    assert eyes(doubled) == pytest.approx(
        eyes(move(landmarks(yaw=5), driving, lip_retargeting=True)), abs=1e-3
    )


def test_a_blink_shuts_the_sources_eyes():
    target = move(landmarks(), landmarks(lids=0.1), reference=landmarks())
    assert eyes(target) < 0.1 * face.eye_openings(landmarks().unsqueeze(0)).mean().item() + 0.02


def test_eyes_open_as_the_driving_eyes_do():
    seen = [
        eyes(move(landmarks(), landmarks(lids=k), reference=landmarks())) for k in (0.1, 0.4, 0.7, 1.0, 1.3)
    ]
    assert seen == sorted(seen)
    assert len(set(seen)) == 5


def with_lid(points: torch.Tensor, eye: int, opening: float) -> torch.Tensor:
    """Landmarks [478, 3] with one upper lid down to a share of its opening."""
    upper, lower = (list(row[1:-1]) for row in face.EYES[eye][:2])
    points = points.clone()
    points[upper] = points[lower] + opening * (points[upper] - points[lower])
    return points


@pytest.mark.parametrize("eye", [0, 1])
def test_skin_above_a_lid_that_rises_is_not_squeezed_and_the_brow_stays(eye):
    upper, brow = face.EYES[eye][0][1:-1], (topology.LEFT_BROW, topology.RIGHT_BROW)[eye]
    above = list(((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))[eye])
    source = landmarks()
    wide = with_lid(with_lid(source, 0, 1.7), 1, 1.7)
    moved = move(source, wide, reference=source).moved[0]
    rise = (source - moved)[..., 1]
    assert rise[list(upper)].amin() > 0.5
    assert (rise[above] > 0.6 * rise[list(upper)]).all()
    assert rise[list(brow)].abs().amax() < 0.05 * rise[list(upper)].amax()


@pytest.mark.parametrize("eye", [0, 1])
def test_a_lid_a_little_lower_than_the_other_is_no_wink_but_a_shut_eye_is(eye):
    uneven, wink = (
        each_eye(move(landmarks(), with_lid(landmarks(), eye, opening), reference=landmarks()))
        for opening in (0.9, 0.1)
    )
    assert uneven[0] == pytest.approx(uneven[1], abs=0.01)
    assert wink[eye] < 0.3 * wink[1 - eye]


@pytest.mark.parametrize(("size", "winks"), [(1.2, False), (9.0, True)], ids=["of 4 px", "of 30 px"])
def test_one_lid_half_down_is_no_wink_of_eyes_whose_lids_it_moves_by_less_than_a_pixel(size, winks):
    driving = landmarks(size=size)
    openings = each_eye(move(landmarks(), with_lid(driving, 0, 0.5), reference=driving))
    assert (openings[0] < 0.9 * openings[1]) == winks


def test_an_eye_that_the_turned_head_hides_follows_the_other():
    turned = landmarks(yaw=70)
    hidden = face.eyes_in_view(face.eye_frames(turned[None, :, :2]))[0].argmin().item()
    left, right = each_eye(move(landmarks(), with_lid(turned, hidden, 0.1), reference=landmarks()))
    assert left == pytest.approx(right, rel=0.1)


def test_eye_retargeting_gives_the_driving_eyes_own_opening_times_the_multiplier():
    driving = landmarks(lids=0.8)
    own = face.eye_openings(driving.unsqueeze(0)).mean().item()
    for multiplier in (1.0, 0.5):
        target = move(landmarks(), driving, eye_retargeting=True, eyes_retargeting_multiplier=multiplier)
        assert eyes(target) == pytest.approx(own * multiplier, rel=0.05)


def test_retargeting_keeps_the_other_motion():
    driving = landmarks(yaw=12, drop=1)
    plain = move(landmarks(), driving, reference=landmarks())
    retargeted = move(landmarks(), driving, reference=landmarks(), eye_retargeting=True, lip_retargeting=True)
    torch.testing.assert_close(retargeted.moved_pose.rotation, plain.moved_pose.rotation)


@pytest.mark.parametrize("angle", ["pitch", "yaw", "roll"])
def test_a_turn_of_the_head_is_added_to_the_sources(angle):
    source = landmarks(yaw=6, pitch=-4)
    driving, rest = landmarks(**{angle: 15}), landmarks()
    turned = move(source, driving, reference=rest).moved_pose.rotation
    wanted = rotation(**{angle: 15}) @ rotation(pitch=-4, yaw=6)
    torch.testing.assert_close(turned[0], wanted, atol=0.02, rtol=0)


def test_without_relative_the_head_turns_as_the_drivers_is():
    driving = landmarks(yaw=-14, pitch=5)
    turned = move(landmarks(yaw=10), driving, relative=False).moved_pose.rotation
    torch.testing.assert_close(euler_angles(turned)[0], torch.tensor([5.0, -14.0, 0.0]), atol=1, rtol=0)


def test_replace_takes_the_sources_own_turning_away_and_add_keeps_it():
    rest, turned = landmarks(), landmarks(yaw=12)
    for options, yaw in ((MotionOptions(), 0), (ADD, 12)):
        target = move(turned, landmarks(), rest=rest, options=options)
        assert euler_angles(target.moved_pose.rotation)[0, 1].item() == pytest.approx(yaw, abs=0.5)


def test_the_head_follows_a_driver_who_moves_but_not_out_of_the_picture():
    near = move(landmarks(), landmarks(at=(163, 120)), reference=landmarks(at=(160, 120)))
    far = move(landmarks(), landmarks(at=(900, 120)), reference=landmarks(at=(160, 120)))
    assert (near.moved - near.source)[0, :, 0].mean().item() == pytest.approx(3, abs=0.3)
    assert (far.moved - far.source)[0, :, 0].mean() < 40


@pytest.mark.parametrize(
    ("region", "moves", "stays"),
    [
        ("exp", ("mouth", "eyes"), ("head",)),
        ("pose", ("head",), ("mouth", "eyes")),
        ("lip", ("mouth",), ("head", "eyes")),
        ("eyes", ("eyes",), ("head", "mouth")),
    ],
)
def test_a_region_moves_what_it_names_and_nothing_else(region, moves, stays):
    source, driving = landmarks(), landmarks(drop=1.2, lids=0.2, yaw=12)
    options = MotionOptions(region=region)
    target = move(source, driving, reference=landmarks(), options=options)
    change = {
        "mouth": abs(mouth(target) - opening(source)),
        "eyes": abs(eyes(target) - face.eye_openings(source.unsqueeze(0)).mean().item()),
        "head": (target.moved_pose.rotation - target.pose.rotation).abs().max().item(),
    }
    assert all(change[part] > 0.1 for part in moves)
    assert all(change[part] < 0.03 for part in stays)


def test_the_multiplier_scales_the_motion():
    driving = landmarks(yaw=20, drop=1)
    for strength in (0.0, 0.5, 1.0):
        options = MotionOptions(driving_multiplier=strength)
        target = move(landmarks(), driving, reference=landmarks(), options=options)
        yaw = euler_angles(target.moved_pose.rotation)[0, 1].item()
        assert yaw == pytest.approx(20 * strength, abs=0.7)
        assert mouth(target) == pytest.approx(strength * opening(landmarks(drop=1)), abs=0.03)


def test_a_multiplier_of_zero_is_no_motion():
    source = landmarks(roll=8)
    options = MotionOptions(driving_multiplier=0.0)
    target = move(source, landmarks(yaw=20, drop=1, lids=0.2), reference=landmarks(), options=options)
    torch.testing.assert_close(target.moved[0], source, atol=2e-3, rtol=0)


def test_a_driving_still_gives_its_expression_and_leaves_the_head_alone():
    driving = landmarks(drop=1.2, lids=0.3, yaw=25)
    target = move(landmarks(roll=5), driving, still=True)
    assert mouth(target) == pytest.approx(opening(landmarks(drop=1.2)), rel=0.1)
    assert eyes(target) < 0.15
    assert torch.equal(target.moved_pose.rotation, target.pose.rotation)


def test_a_glance_moves_the_irises():
    target = move(landmarks(), landmarks(gaze=0.1), reference=landmarks())
    torch.testing.assert_close(
        target.gaze - target.own_gaze, torch.tensor([0.1, 0.0]).expand(1, 2, 2), atol=0.01, rtol=0
    )


def test_irises_that_are_measured_moving_apart_stay_where_they_are():
    source, driving = landmarks(), landmarks()
    for (upper, _, iris), way in zip(face.EYES, (0.1, -0.1), strict=True):
        driving[list(iris), 0] += way * (driving[upper[0], :2] - driving[upper[-1], :2]).norm()
    target = move(source, driving, reference=landmarks())
    torch.testing.assert_close(target.gaze, target.own_gaze, atol=1e-3, rtol=0)


def test_irises_stay_where_lids_that_part_make_the_network_see_them_higher():
    wide = landmarks(lids=1.5)
    opening = face.eye_openings(wide[None])[0] - face.eye_openings(landmarks()[None])[0]
    for (upper, _, iris), wider in zip(face.EYES, opening, strict=True):
        wide[list(iris), 1] -= 0.3 * wider * (wide[upper[0], :2] - wide[upper[-1], :2]).norm()
    target = move(landmarks(), wide, reference=landmarks())
    assert opening.min() > 0.1
    torch.testing.assert_close(target.gaze, target.own_gaze, atol=5e-3, rtol=0)


def test_irises_stay_where_eyes_that_are_shut_in_the_driving_first_frame_open():
    shut, opened = landmarks(lids=0.1), landmarks()
    opening = (face.eye_openings(opened[None]) - face.eye_openings(shut[None]))[0]
    for (upper, _, iris), wider in zip(face.EYES, opening, strict=True):
        shut[list(iris), 1] += 0.3 * wider * (shut[upper[0], :2] - shut[upper[-1], :2]).norm()
    target = move(landmarks(), opened, reference=shut)
    torch.testing.assert_close(target.gaze, target.own_gaze, atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    "far", [(0.6, 0.0), (0.0, 0.4), (-0.5, -0.3)], ids=["sideways", "down", "up and aside"]
)
def test_an_iris_stays_between_the_lids(far):
    source, driving = landmarks(), landmarks()
    for upper, _, iris in face.EYES:
        width = (driving[upper[0], :2] - driving[upper[-1], :2]).norm()
        driving[list(iris), :2] += torch.tensor(far) * width
    target = move(source, driving, reference=landmarks())
    moved = target.gaze - target.own_gaze
    assert (moved.abs() <= torch.tensor(GAZE_LIMITS_EYE_WIDTHS) + 1e-6).all()
    asked = torch.tensor(far) != 0
    assert (moved.abs() > 0.8 * torch.tensor(GAZE_LIMITS_EYE_WIDTHS))[..., asked].all()
    assert (moved.sign() == torch.tensor(far).sign())[..., asked].all()


def test_eyes_that_are_shut_in_the_first_frame_count_as_usual_eyes():
    rest = RestingFace.of(landmarks(lids=0.05))
    assert rest.eyes.min() > 0.25


def test_proportions_stay_the_sources():
    source = landmarks()
    driving = landmarks(drop=1) * torch.tensor([1.3, 0.8, 1.0])
    rest = landmarks() * torch.tensor([1.3, 0.8, 1.0])
    moved = move(source, driving, reference=rest).moved[0]
    for a, b in ((33, 263), (234, 454), (10, 168)):
        assert (moved[a] - moved[b]).norm() == pytest.approx((source[a] - source[b]).norm().item(), rel=0.03)


def test_landmarks_are_not_modified():
    source, driving = landmarks(drop=0.5), landmarks(yaw=10, drop=1)
    kept = source.clone(), driving.clone()
    move(source, driving, reference=landmarks(), eye_retargeting=True, lip_retargeting=True)
    assert torch.equal(source, kept[0])
    assert torch.equal(driving, kept[1])


def test_eyes_that_are_shut_at_rest_open_with_the_drivers():
    target = move(landmarks(), landmarks(), rest=landmarks(lids=0.05))
    assert eyes(target) == pytest.approx(0.32, abs=0.03)


def test_where_motion_is_added_the_sources_own_blinks_stay():
    blinking = landmarks(lids=0.1)
    target = move(blinking, landmarks(), rest=landmarks(), options=ADD)
    torch.testing.assert_close(target.moved[0], blinking, atol=2e-3, rtol=0)
