"""Mouths that something is before: nothing is painted on it, nothing of it moves, and the frames count."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from drawn_parts import SIZE, target
from made_faces import HEIGHT, LOWER_LIP, UPPER_LIP, WIDTH, landmarks

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import face
from liveportrait_v2v.engines.draft.covered import COVER, Covers, lips_look
from liveportrait_v2v.engines.draft.memory import Memory
from liveportrait_v2v.faces import topology
from liveportrait_v2v.media import Clip
from liveportrait_v2v.run import animate
from liveportrait_v2v.tracking import track

AT = (180.0, 150.0)
SHUT = landmarks(size=SIZE, at=AT)
SKIN, LIPS, FINGER, GAP = (190, 150, 130), (165, 95, 90), (215, 178, 160), (20, 12, 10)
MIDDLE_X = int(SHUT[UPPER_LIP, 0])


def picture(lips: tuple[int, int, int] = LIPS) -> torch.Tensor:
    """A face [1, H, W, 3] of one colour with lips of another."""
    frame = torch.tensor(SKIN, dtype=torch.uint8).repeat(1, HEIGHT, WIDTH, 1)
    outer = SHUT[[*topology.LIP_OUTER_UPPER, *topology.LIP_OUTER_LOWER], :2]
    (left, top), (right, bottom) = outer.amin(0).int().tolist(), outer.amax(0).int().tolist()
    frame[0, top : bottom + 1, left : right + 1] = torch.tensor(lips, dtype=torch.uint8)
    return frame


def with_fingers(frames: torch.Tensor, left: int = -20, right: int = 22) -> torch.Tensor:
    """The same with two fingers and the dark between them before the mouth, by their way from its middle in pixels."""
    frames = frames.clone()
    middle = (left + right) // 2
    for start, end, colour in (
        (left, middle - 2, FINGER),
        (middle - 2, middle + 2, GAP),
        (middle + 2, right, FINGER),
    ):
        frames[0, :, MIDDLE_X + start : MIDDLE_X + end] = torch.tensor(colour, dtype=torch.uint8)
    return frames


def shares(*frames: torch.Tensor) -> list[float]:
    """How far the mouths of frames, one after the other, count as covered."""
    return Covers().learn(torch.cat(frames), SHUT.expand(len(frames), -1, -1)).tolist()


def test_fingers_before_the_mouth_are_seen_from_the_first_frame_on():
    assert shares(with_fingers(picture())) == [1.0]


@pytest.mark.parametrize(
    "lips",
    [LIPS, SKIN, (150, 110, 95), (200, 160, 141), (110, 70, 62), (215, 178, 160)],
    ids=["red", "as skin", "darker", "nude", "dark", "as fingers"],
)
def test_lips_of_any_colour_are_no_cover(lips):
    assert shares(picture(lips)) == [0.0]


def test_black_and_white_pictures_are_not_covered():
    grey = picture().float().mean(-1, keepdim=True).expand(-1, -1, -1, 3).round().to(torch.uint8)
    assert shares(grey, grey) == [0.0, 0.0]


def test_a_mouth_that_loses_the_redness_of_its_lips_is_covered_without_any_edge():
    *_, last = shares(*[picture()] * 5, *[picture(SKIN)] * 8)
    assert last > COVER.counts


def test_lips_that_get_paler_little_by_little_are_not_covered():
    paler = [tuple(round(a + (b - a) * k / 200) for a, b in zip(LIPS, SKIN, strict=True)) for k in range(60)]
    assert max(shares(*[picture(lips) for lips in paler])) == 0


def test_a_mouth_comes_back_little_by_little():
    found = shares(with_fingers(picture()), *[picture()] * 30)
    assert found[0] == 1.0
    assert found[1] > 0.9
    assert all(later <= earlier for earlier, later in pairwise(found))
    assert found[-1] < 0.05


def test_it_makes_no_difference_in_which_portions_frames_come():
    frames = torch.cat([picture(), *[with_fingers(picture())] * 3, *[picture()] * 6])
    faces = SHUT.expand(len(frames), -1, -1)
    covers = Covers()
    portions = [
        covers.learn(frames[part], faces[part]) for part in (slice(0, 2), slice(2, 3), slice(3, None))
    ]
    torch.testing.assert_close(torch.cat(portions), Covers().learn(frames, faces))


def test_mouths_outside_the_frame_are_no_fault():
    share, redness = lips_look(picture(), SHUT[None] - 1000.0)
    assert 0 <= share.item() <= 1
    assert redness.isfinite().all()


def test_a_covered_mouth_stays_as_it_is_while_the_head_turns():
    opened = landmarks(size=SIZE, at=AT, drop=2.0, yaw=12)
    asked = target(SHUT, opened)
    kept = asked.with_own_mouth(torch.tensor([1.0]))
    assert face.mouth_opening(asked.shape) > 0.3
    torch.testing.assert_close(
        face.mouth_opening(kept.shape), face.mouth_opening(SHUT[None]), atol=0.02, rtol=0
    )
    torch.testing.assert_close(face.eye_openings(kept.shape), face.eye_openings(asked.shape))
    torch.testing.assert_close(kept.moved_pose.rotation, asked.moved_pose.rotation)
    assert asked.with_own_mouth(torch.tensor([0.0])) is asked


def test_a_covered_mouth_is_not_remembered():
    opened = landmarks(size=SIZE, at=AT, drop=2.0)
    frames = torch.cat((with_fingers(picture()), picture()))
    for covered, frame in ((True, frames[:1]), (False, frames[1:])):
        seen = Memory().learn(frame, target(opened, opened))
        assert (seen.mouth_opening.item() == 0) is covered
        assert seen.covered_frames() == ((0,) if covered else ())


def test_what_is_painted_on_a_covered_mouth_is_taken_back():
    seen = Memory().learn(with_fingers(picture()), target(SHUT, SHUT))
    pictures = torch.zeros(2, 3, 4, 4)
    with replace(seen, covered=torch.tensor([1.0, 0.0])).keeping_covered(pictures):
        pictures += 9
    assert pictures[0].eq(0).all()
    assert pictures[1].eq(9).all()


def test_the_upper_lip_and_the_lower_one_are_both_looked_at():
    assert SHUT[UPPER_LIP, 1] == pytest.approx(SHUT[LOWER_LIP, 1].item())
    above, below = picture(), picture()
    y = int(SHUT[UPPER_LIP, 1])
    above[:, :y], below[:, y:] = (
        with_fingers(picture(), -40, 40)[:, part] for part in (slice(0, y), slice(y, None))
    )
    looks = [lips_look(frames, SHUT[None])[1].item() for frames in (picture(), above, below)]
    assert looks[0] > max(looks[1:])


@pytest.mark.slow
def test_a_real_hand_keeps_its_mouth_and_counts(clips, tmp_path):
    hand = Clip(clips["wolfgang"], start=8.3, duration=0.5)  # fingers lie before half of the mouth
    driving = Clip(clips["cap12"], start=10.0, duration=0.5)
    result = animate(hand, driving, engine=create_engine("draft"), output=tmp_path / "out.mp4")
    note = (
        f"source face 0 has something before the mouth, which stays as it is, in frame 0-{result.frames - 1}"
    )
    assert note in result.notes
    own, moved = (
        torch.cat([face.mouth_opening(tracks.face(0)[0]) for _, tracks in track(clip)])
        for clip in (hand, Clip(tmp_path / "out.mp4"))
    )
    assert (moved - own).abs().max() < 0.06  # 0.17 of one that is led


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jwp_intro", "single_face", "obama", "humo", "ltx2"])
def test_no_mouth_of_real_faces_without_a_hand_is_covered(clips, name):
    covers = Covers()
    for part, tracks in track(Clip(clips[name]), cap=48):
        places, present, _ = tracks.face(0)
        if present.any():
            assert not covers.learn(part.frames[present], places[present]).any()
