"""Correction of the result by re-tracking it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from made_faces import landmarks, picture

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import engine, face
from liveportrait_v2v.engines.draft.corners import corner_places, move_corners
from liveportrait_v2v.engines.draft.feedback import (
    FOUND_LIFT_SHARE,
    MAX_EYE_CORRECTION,
    MAX_MOUTH_CORRECTION,
    MAX_STRAY_CM,
    MAX_TURN_CORRECTION_RADIANS,
    MAX_WIDER_EYES,
    MIN_MOUTH_SHARE,
    Missing,
    with_halved_colors,
)
from liveportrait_v2v.engines.draft.motion import RestingFace, Target, transfer
from liveportrait_v2v.faces import topology
from liveportrait_v2v.geometry import euler_angles
from liveportrait_v2v.run.splice import DrivingMotion, splice
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

SURE, UNSURE = torch.tensor([1.0]), torch.tensor([0.2])
UNSMOOTHED = MotionOptions(smoothing=0.0)


def target(driving: torch.Tensor) -> Target:
    """Target of a resting face led by a driving face that was at rest before."""
    rest = landmarks()
    rests = RestingFace.of(rest), RestingFace.of(rest)
    return transfer(rest[None], driving[None], *rests, AnimationSettings(), UNSMOOTHED, True, False)


def missing(wanted: torch.Tensor, seen: torch.Tensor, presence: torch.Tensor = SURE) -> Missing:
    """What faces [N, 478, 3] that were at rest before lack."""
    return Missing.of(wanted, seen, presence, RestingFace.of(landmarks()).corners)


def with_corners(width: float = 0.0, lift: float = 0.0) -> torch.Tensor:
    """Landmarks [1, 478, 3] of the resting face with the corners of its mouth moved by centimetres."""
    points = landmarks()[None]
    pose = face.first_pose(points)
    return pose.apply(move_corners(pose.undo(points), torch.tensor([[width, lift]])))


def with_left_lid(points: torch.Tensor, opening: float) -> torch.Tensor:
    """Return landmarks [N, 478, 3] with the left eye's opening times a factor."""
    upper, lower, _ = face.EYES[0]
    points = points.clone()
    points[:, upper[1:-1]] = torch.lerp(points[:, lower[1:-1]], points[:, upper[1:-1]], opening)
    return points


def places(points: torch.Tensor) -> torch.Tensor:
    """Where the corners of mouths are: float32 [N, 2] in cm."""
    return corner_places(face.first_pose(points).undo(points))


def added_corners(wanted: torch.Tensor, seen: torch.Tensor, shrink: int = 2) -> torch.Tensor:
    """How far a correction moves the corners of a face that looks otherwise than is wanted: float32 [2]."""
    asked = replace(target(landmarks()), moved=wanted)
    return (places(missing(wanted, seen).added_to(asked, shrink).moved) - places(wanted))[0]


def yaw(points: torch.Tensor) -> float:
    return euler_angles(face.first_pose(points).rotation)[0, 1].item()


def test_a_result_that_shows_what_is_wanted_lacks_nothing():
    wanted = target(landmarks(drop=1.0, yaw=10))
    corrected = missing(wanted.moved, wanted.moved).added_to(wanted, 2)
    torch.testing.assert_close(corrected.moved, wanted.moved, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    "measure",
    [face.mouth_opening, lambda points: face.eye_openings(points).mean(1), yaw],
    ids=["mouth", "eyes", "yaw"],
)
@pytest.mark.parametrize("shown", ["less", "more"])
def test_motion_shown_too_weakly_is_increased_and_too_strongly_reduced(measure, shown):
    little, much = landmarks(drop=0.7, lids=0.8, yaw=5)[None], landmarks(drop=1.2, lids=1.1, yaw=9)[None]
    wanted = target(landmarks(drop=0.95, lids=0.95, yaw=7))
    seen = little if shown == "less" else much
    corrected = missing(wanted.moved, seen).added_to(wanted, 2)
    change = measure(corrected.moved) - measure(wanted.moved)
    lacking = measure(wanted.moved) - measure(seen)
    assert abs(lacking) > 0.02
    assert 0.5 * abs(lacking) < abs(change) < 1.1 * abs(lacking)
    assert (change > 0) == (lacking > 0)


def test_where_no_face_is_seen_nothing_is_missing():
    wanted = target(landmarks(drop=1.0, yaw=10))
    corrected = missing(wanted.moved, landmarks()[None], UNSURE).added_to(wanted, 2)
    torch.testing.assert_close(corrected.moved, wanted.moved, atol=2e-3, rtol=0)


def test_place_and_size_of_the_result_make_no_difference():
    wanted = target(landmarks(drop=1.0, yaw=10))
    near, far = (missing(wanted.moved, seen[None]) for seen in (landmarks(), landmarks(at=(9, 7), size=1)))
    torch.testing.assert_close(near.mouth, far.mouth, atol=1e-3, rtol=0)
    torch.testing.assert_close(near.eyes, far.eyes, atol=1e-3, rtol=0)
    torch.testing.assert_close(near.turn, far.turn, atol=2e-3, rtol=0)


def test_corrections_are_limited():
    wanted = landmarks(drop=4.0, lids=2.0, yaw=50)[None]
    lacks = missing(wanted, landmarks(lids=0.0, yaw=-50)[None])
    assert lacks.mouth.item() == pytest.approx(MAX_MOUTH_CORRECTION)
    assert lacks.eyes.abs().max().item() == pytest.approx(MAX_EYE_CORRECTION)
    assert lacks.turn.norm().item() == pytest.approx(MAX_TURN_CORRECTION_RADIANS, abs=1e-3)


def test_a_share_of_a_wanted_opening_always_remains():
    wanted = target(landmarks(drop=0.6))
    opening = face.mouth_opening(wanted.moved).item()
    corrected = missing(wanted.moved, landmarks(drop=4.0)[None]).added_to(wanted, 2)
    assert opening < MAX_MOUTH_CORRECTION
    remains = face.mouth_opening(corrected.moved).item()
    assert remains == pytest.approx(MIN_MOUTH_SHARE * opening, abs=0.015)
    assert remains < 0.5 * opening


@pytest.mark.parametrize("way", ["width", "lift"])
def test_corners_that_are_seen_to_go_less_far_go_further(way):
    wanted, seen = with_corners(**{way: 0.4}), with_corners(**{way: 0.2})
    lacking = (places(wanted) - places(seen))[0]
    further = added_corners(wanted, seen)
    here = ["width", "lift"].index(way)
    assert 0.6 * lacking[here] < further[here] < 1.8 * lacking[here]
    assert further[1 - here].abs() < 0.5 * further[here]


def test_lift_is_drawn_larger_for_results_that_are_larger_than_their_sketches():
    wanted, seen = with_corners(lift=0.4), with_corners(lift=0.3)
    same, larger = (added_corners(wanted, seen, shrink)[1].item() for shrink in (1, 2))
    drawn = 0.4 + same
    assert 0.4 + larger == pytest.approx(drawn / FOUND_LIFT_SHARE, rel=0.02)


def test_corners_of_a_mouth_at_rest_are_not_pulled_down_for_creases_of_a_grin():
    further = added_corners(with_corners(), with_corners(lift=0.6))
    assert further[1].item() == pytest.approx(-MAX_STRAY_CM, abs=0.03)


def test_eyes_open_little_further_than_is_wanted():
    wanted = target(landmarks(lids=1.3))
    corrected = missing(wanted.moved, landmarks(lids=0.7)[None]).added_to(wanted, 2)
    more = face.eye_openings(corrected.moved) - face.eye_openings(wanted.moved)
    assert more.amax().item() == pytest.approx(MAX_WIDER_EYES, abs=0.005)


@pytest.mark.parametrize(
    ("wink", "wider", "alike"), [(0.95, 1.4, True), (0.3, 2.5, False)], ids=["both open", "one shut"]
)
def test_what_one_eye_lacks_is_added_to_both_unless_it_winks(wink, wider, alike):
    wanted = target(landmarks())
    wanted = replace(wanted, moved=with_left_lid(wanted.moved, wink))
    seen = with_left_lid(wanted.moved, wider)
    more = face.eye_openings(missing(wanted.moved, seen).added_to(wanted, 2).moved)
    less = (face.eye_openings(wanted.moved) - more)[0]
    assert less[0] > 0.02
    assert less[1].item() == pytest.approx(less[0].item() if alike else 0.0, abs=0.005)


def test_corrections_move_both_sides_of_a_mouth_alike():
    points = landmarks()[None]
    shape = face.first_pose(points).undo(points)
    left, right = topology.LIP_OUTER_UPPER[0], topology.LIP_OUTER_UPPER[-1]
    way = move_corners(shape, torch.tensor([[0.3, 0.2]]))[0, [left, right]] - shape[0, [left, right]]
    torch.testing.assert_close(way[0, 0], -way[1, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(way[0, 1], way[1, 1], atol=1e-3, rtol=0)
    assert way[1, 0] > 0.2
    assert way[0, 1] < -0.15


def test_turns_and_corners_go_little_by_little_to_what_was_inferred_last_and_openings_at_once():
    first, last = (missing(with_corners(lift=0.4, width=w), landmarks(lids=0.8)[None]) for w in (0.2, 0.4))
    halfway = first.towards(last, torch.tensor([0.5]))
    torch.testing.assert_close(halfway.outwards, (first.outwards + last.outwards) / 2)
    torch.testing.assert_close(halfway.lift_found.sums, (first.lift_found.sums + last.lift_found.sums) / 2)
    torch.testing.assert_close(halfway.turn, (first.turn + last.turn) / 2)
    assert torch.equal(halfway.eyes, last.eyes)
    assert torch.equal(first.towards(last, torch.tensor([1.0])).outwards, last.outwards)


def test_corners_of_an_edit_go_as_far_as_it_says():
    wanted, seen = with_corners(lift=0.4, width=0.4), with_corners(lift=0.2, width=0.2)
    asked = replace(target(landmarks()), moved=wanted)
    for found, moves in ((missing(wanted, seen), True), (missing(wanted, seen).of_edit(), False)):
        moved = (places(found.added_to(asked, 2).moved) - places(wanted)).abs()
        assert bool((moved > 0.1).all()) is moves
        assert bool((moved < 0.02).all()) is not moves


def test_an_opening_unlike_the_one_inferred_last_gets_what_openings_before_lacked():
    asked = [target(landmarks(drop=drop)) for drop in (0.8, 1.2, 1.6, 2.0)]
    halved = [face.move_lips(t.shape, -face.lip_gaps(t.shape) * 0.25) for t in asked]
    seen = [t.moved_pose.apply(shape) for t, shape in zip(asked, halved, strict=True)]
    wanted = torch.cat([t.moved for t in asked])
    found = missing(wanted, torch.cat(seen), torch.ones(4)).after(None)[-1:]
    small = target(landmarks(drop=0.6))
    further = face.mouth_opening(found.added_to(small, 2).shape) - face.mouth_opening(small.shape)
    alone = missing(wanted[-1:], seen[-1]).after(None)
    forgotten = replace(alone, mouth_found=alone.mouth_found.none())
    by_itself = face.mouth_opening(forgotten.added_to(small, 2).shape) - face.mouth_opening(small.shape)
    assert by_itself < 0.01
    assert further > 0.03


def test_halved_colours_keep_the_luma_and_spread_the_tint():
    grey = torch.randint(0, 256, (1, 31, 21, 1), dtype=torch.uint8).expand(-1, -1, -1, 3)
    assert torch.equal(with_halved_colors(grey), grey)
    thin = torch.full((1, 32, 32, 3), 120, dtype=torch.uint8)
    thin[:, 16] = torch.tensor([200, 60, 60], dtype=torch.uint8)
    light = torch.tensor([0.2126, 0.7152, 0.0722])
    shown, before = with_halved_colors(thin).float(), thin.float()
    assert ((shown - before) @ light).abs().max() <= 1
    redness = shown[..., 0] - shown[..., 1]
    assert 0.3 * 140 < redness[0, 16].mean() < 0.7 * 140
    assert redness[0, 17].mean() > 20


def test_missing_turns_are_smoothed_and_openings_are_not():
    wanted = landmarks(drop=1.0, yaw=10)[None].expand(4, -1, -1)
    seen = torch.stack([wanted[0], wanted[0], landmarks(), landmarks()])
    raw = missing(wanted, seen, torch.ones(4))
    smooth = raw.after(None)
    assert torch.equal(smooth.mouth, raw.mouth)
    assert torch.equal(smooth.eyes, raw.eyes)
    turns = smooth.turn.norm(dim=-1)
    assert turns[1] < 1e-3
    assert 0.6 * turns[3] < turns[2] < 0.9 * turns[3] < raw.turn[3].norm()
    later = raw[2:].after(smooth[1:2])
    torch.testing.assert_close(later.turn, smooth.turn[2:])


def test_a_target_seen_smaller_in_a_part_of_the_frame_is_the_same_there():
    wanted = target(landmarks(drop=1.0, yaw=10))
    corner = torch.tensor([20.0, 10.0, 0.0])
    small = wanted.within(corner, 3)
    torch.testing.assert_close(small.moved * 3 + corner, wanted.moved)
    points = landmarks(size=6)[None]
    moved = small.with_skull((points - corner) / 3)
    torch.testing.assert_close(moved * 3 + corner, wanted.with_skull(points), atol=1e-2, rtol=0)


class HalfBlind:
    """A landmark net that sees mouths open half as far as they are drawn."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, frames: torch.Tensor, expected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls.append(tuple(frames.shape[:3]))
        pose = face.first_pose(expected)
        shape = pose.undo(expected)
        seen = pose.apply(face.open_mouth(shape, face.mouth_opening(shape) / 2))
        return seen, torch.ones(len(frames))


def animate(
    faces: list[torch.Tensor], drivings: list[torch.Tensor], chunk: int, live: bool = False
) -> tuple[torch.Tensor, list[Target]]:
    """Frames of a clip rendered in chunks, and the final targets."""
    rate = Fraction(30)
    session = create_engine("draft").session(AnimationSettings(), UNSMOOTHED, rate, rate, live=live)
    drawn, draw = [], session._draw

    def keep(frames, target, *others, sketch=False):
        if not sketch:
            drawn.append(target)
        return draw(frames, target, *others, sketch=sketch)

    session._draw = keep
    results = []
    for start in range(0, len(faces), chunk):
        here = slice(start, start + chunk)
        sources, leading = torch.stack(faces[here]), torch.stack(drivings[here])
        frames, present = picture(len(sources)), torch.ones(len(sources), dtype=torch.bool)
        motions = [
            DrivingMotion(motion, motion, 0.0)
            for motion in session.motions([TrackedChunk(frames, leading, present)])
        ]
        results.append(splice(session.render, TrackedChunk(frames, sources, present), motions).frames)
    return torch.cat(results), drawn


AT = (180.0, 150.0)


SIZES = {"large": 14.0, "middling": 7.0, "small": 3.0}


@pytest.mark.parametrize(("size", "inferred"), [("large", 2), ("middling", 4), ("small", 20)])
def test_smaller_faces_are_inferred_more_often(monkeypatch, size, inferred):
    net = HalfBlind()
    monkeypatch.setattr(engine, "landmarks_near", net)
    animate([landmarks(at=AT, size=SIZES[size])] * 10, [landmarks()] * 10, 10)
    assert sum(count for count, _, _ in net.calls) == inferred
    assert max(net.calls[0][1:]) < 240  # drawn small


@pytest.mark.parametrize("size", SIZES)
def test_no_face_is_inferred_in_more_than_one_of_three_live_frames(monkeypatch, size):
    net = HalfBlind()
    monkeypatch.setattr(engine, "landmarks_near", net)
    animate([landmarks(at=AT, size=SIZES[size])] * 9, [landmarks()] * 9, 1, live=True)
    assert 1 < len(net.calls) <= 3


@pytest.mark.parametrize("size", [7.0, 3.0], ids=["large", "small"])
def test_a_mouth_that_is_seen_half_open_is_drawn_wider(monkeypatch, size):
    source, drivings = [landmarks(at=AT, size=size)] * 4, [landmarks(drop=d) for d in (0.0, 0.8, 0.8, 0.8)]
    _, plain = animate(source, drivings, 4)
    monkeypatch.setattr(engine, "landmarks_near", HalfBlind())
    _, corrected = animate(source, drivings, 4)
    before, after = (face.mouth_opening(drawn[0].moved) for drawn in (plain, corrected))
    assert abs(after[0] - before[0]) < 0.02
    assert after[3] > before[3] + 0.03


def test_what_is_missing_does_not_depend_on_where_chunks_end(monkeypatch):
    monkeypatch.setattr(engine, "landmarks_near", HalfBlind())
    faces = [landmarks(at=AT, size=14.0)] * 7
    drivings = [landmarks(drop=0.2 * k) for k in range(7)]
    whole, _ = animate(faces, drivings, 7)
    for chunk in (1, 2, 3):
        parts, _ = animate(faces, drivings, chunk)
        assert (parts.int() - whole.int()).abs().max() <= 1
