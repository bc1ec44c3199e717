"""Several faces, each with a number that it keeps."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.faces.boxes import ORDERS
from liveportrait_v2v.faces.scenes import CutFinder
from liveportrait_v2v.faces.tracker import FaceTracker
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.tracking import TrackedClip

pytestmark = pytest.mark.slow


def scene(*placed, size=(360, 640), count=None):
    """Return a grey clip with heads on it: (head [n, s, s, 3], x, y), x and y for all frames or one per frame."""
    count = count or max(len(head) for head, _, _ in placed)
    clip = torch.full((count, *size, 3), 90, dtype=torch.uint8)
    for head, xs, ys in placed:
        side = head.shape[1]
        for at in range(count):
            x, y = (int(v[at]) if hasattr(v, "__len__") else v for v in (xs, ys))
            clip[at, y : y + side, x : x + side] = head[min(at, len(head) - 1)]
    return clip


def then(*parts):
    """Return stills [1, H, W, 3] in sequence, each for its count of frames."""
    return torch.cat([still.expand(count, -1, -1, -1) for still, count in parts])


def columns(tracks):
    """Return the mean x of every face on every frame, None where it is absent."""
    x = tracks.landmarks[..., 0].mean(2).round().tolist()
    return [
        [value if here else None for value, here in zip(*pair, strict=True)]
        for pair in zip(x, tracks.present.tolist(), strict=True)
    ]


def places(tracks, frame, **middles):
    """Return the names of the middles (x, y) nearest to the faces of a frame, by number."""
    found = []
    for k in range(tracks.present.shape[1]):
        if tracks.present[frame, k]:
            x, y = tracks.landmarks[frame, k, :, :2].mean(0).tolist()
            found.append(min(middles, key=lambda n: (middles[n][0] - x) ** 2 + (middles[n][1] - y) ** 2))
        else:
            found.append(None)
    return found


@pytest.fixture(scope="module")
def trio(heads):
    """Three people: small in the upper left, large in the middle, middling below on the right."""
    small, large, middling = heads("cap12", 120), heads("jwp_intro", 240), heads("single_face", 170)
    return (small, 20, 10), (large, 180, 50), (middling, 450, 185)


MIDDLES = {"small": (75, 80), "large": (290, 180), "middling": (530, 285)}


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("large-small", ["large", "middling", "small"]),
        ("small-large", ["small", "middling", "large"]),
        ("left-right", ["small", "large", "middling"]),
        ("right-left", ["middling", "large", "small"]),
        ("top-bottom", ["small", "large", "middling"]),
        ("bottom-top", ["middling", "large", "small"]),
    ],
)
def test_the_first_frame_numbers_the_faces_in_the_chosen_order(trio, tracked, order, names):
    assert places(tracked(scene(*trio), order=order), 0, **MIDDLES) == names


def test_no_more_numbers_are_given_than_asked_for(trio, tracked):
    assert places(tracked(scene(*trio), max_faces=2), 0, **MIDDLES) == ["large", "middling"]


def test_two_people_side_by_side_are_followed_both_and_stay_themselves(frames, tracked):
    left, right = frames("jwp_intro", 0, 24)[:, 60:420], frames("single_face", 0, 24)
    tracks = tracked(torch.cat((left, right), 2), order="left-right")
    assert tracks.present.shape == (24, 2)
    assert tracks.present.all()
    x = tracks.landmarks[..., 0].mean(2)
    assert (x[:, 0] < 640).all()
    assert (x[:, 1] > 640).all()


def test_two_speakers_of_a_real_clip_keep_their_numbers(frames, tracked):
    tracks = tracked(frames("obama", 0, 40))
    assert tracks.present.shape == (40, 2)
    assert tracks.present.float().mean(0).min() >= 0.99
    assert (tracks.landmarks[:, 0, :, 0].mean(1) > tracks.landmarks[:, 1, :, 0].mean(1)).all()


def test_people_who_cross_keep_their_numbers(heads, tracked):
    count = 48
    back = heads("jwp_intro", 190, count), torch.linspace(10, 440, count), 60
    front = heads("single_face", 160, count), torch.linspace(470, 10, count), 90
    tracks = tracked(scene(back, front), order="left-right")
    assert tracks.present.shape[1] == 2
    x = columns(tracks)
    assert x[0][0] < x[0][1]
    assert x[-1][0] > x[-1][1]
    assert tracks.present[:, 1].all()  # in front all the time
    for here in x:  # never two numbers on one person
        assert None in here or abs(here[0] - here[1]) > 30


def test_a_face_behind_another_is_absent_meanwhile(heads, tracked):
    count = 24
    still = heads("jwp_intro", 190, count), 225, 65
    passing = heads("single_face", 200, count), [430] * 6 + [220] * 12 + [430] * 6, 60
    tracks = tracked(scene(still, passing), order="left-right")
    assert not tracks.present[8:18].all(1).any()
    assert tracks.present[8:18].any(1).all()
    assert tracks.present[-1].all()


def test_a_lost_face_gets_its_own_number_back_not_that_of_the_other(heads, tracked):
    a, b = heads("jwp_intro", 200, 1), heads("single_face", 200, 1)
    both, alone = scene((a, 40, 80), (b, 380, 80)), scene((b, 380, 80))
    tracks = tracked(then((both, 6), (alone, 12), (both, 8)), order="left-right")
    assert tracks.present[:, 1].all()
    assert tracks.present.shape[1] == 2
    assert not tracks.present[6:18, 0].any()
    assert tracks.present[-4:, 0].all()
    assert columns(tracks)[-1][0] < 250


def test_who_comes_later_gets_the_next_number(heads, tracked):
    a, b = heads("cap12", 150, 1), heads("jwp_intro", 230, 1)
    one, two = scene((a, 40, 80)), scene((a, 40, 80), (b, 380, 80))
    tracks = tracked(then((one, 8), (two, 36)))
    assert tracks.present[:, 0].all()
    assert columns(tracks)[-1][0] < 250
    assert tracks.present[-8:, 1].all()
    assert not tracks.present[:8, 1].any()


@pytest.mark.parametrize("alone", [5, 40])
def test_who_comes_into_a_quiet_picture_is_found_within_fifteen_frames(heads, tracked, alone):
    a, b = heads("cap12", 150, 1), heads("jwp_intro", 230, 1)
    one, two = scene((a, 40, 80)), scene((a, 40, 80), (b, 380, 80))
    tracks = tracked(then((one, alone), (two, 20)))
    assert tracks.present[alone + 15 :, 1].all()


def test_in_a_quiet_picture_newcomers_are_seldom_searched_for(heads, tracked, monkeypatch):
    searched, search = [], FaceTracker._search
    monkeypatch.setattr(
        FaceTracker, "_search", lambda self, *given: searched.append(self._frame) or search(self, *given)
    )
    tracked(then((scene((heads("cap12", 150, 1), 40, 80)), 120)))
    assert len(searched) <= 3


def test_after_a_scene_cut_numbers_are_given_as_at_the_start(heads, tracked):
    a, b = heads("jwp_intro", 240, 1), heads("single_face", 150, 1)
    first = scene((a, 20, 60), (b, 440, 100)).expand(6, -1, -1, -1)
    second = (255 - scene(count=1)).expand(6, -1, -1, -1).clone()
    second[:, 100:250, 20:170], second[:, 60:300, 380:620] = b, a
    tracks = tracked(torch.cat((first, second)))
    assert tracks.present.shape == (12, 2)
    assert tracks.present.all()
    x = columns(tracks)
    assert x[5][0] < x[5][1]
    assert x[6][0] > x[6][1]


def test_a_cut_to_another_person_continues_with_number_0(frames, tracked):
    clip = torch.cat((frames("jwp_intro", 0, 10)[:, 60:420], frames("wolfgang", 0, 10)))
    tracks = tracked(clip)
    assert tracks.present.shape == (20, 1)
    assert tracks.present.all()


def test_a_flash_is_not_a_cut_and_swaps_no_numbers(heads, tracked):
    a, b = heads("jwp_intro", 190, 1), heads("single_face", 200, 1)
    clip = scene((a, 40, 80), (b, 380, 80)).expand(12, -1, -1, -1).clone()
    clip[6] = 255
    tracks = tracked(clip, order="right-left")
    x = columns(tracks)
    assert x[6] == [None, None]
    assert x[7] == x[5]
    assert x[5][0] > x[5][1]


@pytest.mark.parametrize("away", [12, 50])
def test_while_a_face_is_away_no_other_face_has_its_number(heads, tracked, away):
    a, b = heads("jwp_intro", 200, 1), heads("single_face", 200, 1)
    both, alone = scene((a, 40, 80), (b, 380, 80)), scene((b, 380, 80))
    clip = then((both, 4), (alone, away), (both, 14))
    present = tracked(clip, order="left-right").present[:, 0]
    assert present[:4].all()
    assert not present[4 : 4 + away].any()
    assert present[-3:].all()


TILE = slice(320, 640)
"""Columns of the right half of a scene."""


@pytest.fixture(scope="module")
def call(heads):
    """Two halves of a video call [8, 360, 640, 3], each with a person before a background of its own."""
    clip = scene((heads("jwp_intro", 190), 60, 85), (heads("single_face", 240), 370, 60), count=8)
    clip[:, :60, TILE], clip[:, 300:, TILE] = 200, 30
    return clip


@pytest.mark.parametrize("order", ORDERS)
def test_who_stays_keeps_the_number_while_another_part_of_the_picture_goes_off(call, tracked, order):
    off = call.clone()
    off[:, :, TILE] = 220
    tracks = tracked(torch.cat((call, off, off, call)), order=order)
    left, right = (0, 1) if columns(tracks)[0][0] < 320 else (1, 0)
    assert tracks.present[:, left].all()
    assert tracks.present[:, right].tolist() == [True] * 8 + [False] * 16 + [True] * 8
    assert all(x[left] < 320 for x in columns(tracks))


def test_a_part_of_the_picture_that_returns_begins_no_scene(call, tracked):
    off = call.clone()
    off[:, :, TILE] = 220
    tracks = tracked(torch.cat((call, off, call)))
    assert tracks.present[-1].all()
    assert not tracks.scenes.any()


def test_a_person_in_a_part_of_the_picture_that_goes_on_has_the_next_number(call, tracked):
    off = call.clone()
    off[:, :, TILE] = 0
    tracks = tracked(torch.cat((off, call)))
    assert tracks.present.tolist() == [[True, False]] * 8 + [[True, True]] * 8
    assert columns(tracks)[-1][0] < 320


def test_another_person_in_a_part_of_the_picture_begins_a_scene_of_that_number_alone(call, heads, tracked):
    other = call.clone()
    other[:, :, TILE] = 235
    other[:, 60:300, 370:610] = heads("cap12", 240)
    tracks = tracked(torch.cat((call, other)))
    assert tracks.present.all()
    right = 0 if columns(tracks)[0][0] > 320 else 1
    assert tracks.scenes[:, right].tolist() == [0] * 8 + [1] * 8
    assert not tracks.scenes[:, 1 - right].any()


def test_a_cut_to_another_person_at_the_same_place_begins_a_scene(heads, tracked):
    clip = torch.cat((heads("jwp_intro", 256, 10), heads("single_face", 256, 10)))
    tracks = tracked(clip)
    assert tracks.present.all()
    assert tracks.scenes[:, 0].tolist() == [0] * 10 + [1] * 10


def test_a_cut_that_is_too_dark_to_be_seen_as_a_whole_begins_a_scene(heads, tracked):
    clip = torch.cat((heads("jwp_intro", 256, 10), heads("single_face", 256, 10))) // 6
    assert not any(glance.cut for glance in CutFinder().find(clip))
    tracks = tracked(clip)
    assert tracks.present.all()
    assert tracks.scenes[:, 0].tolist() == [0] * 10 + [1] * 10


def test_a_flash_begins_no_scene(heads, tracked):
    clip = scene((heads("jwp_intro", 190), 40, 80), (heads("single_face", 200), 380, 80), count=12)
    clip[6] = 255
    tracks = tracked(clip)
    assert tracks.present[7:].all()
    assert not tracks.scenes.any()


CLIPS = (
    "jwp_intro", "test_movie", "wolfgang", "single_face", "face_noface", "cap12", "cap13", "obama", "carphone",
    "astronaut", "humo", "ltx2", "avatar", "wan2", "ltxv",
)  # fmt: skip


def tracks_of(clip, order, *numbers):
    """Return landmarks, `present` and `scenes` of each number, over the whole clip, as a run reads them."""
    names = "landmarks", "present", "scenes"
    with TrackedClip(Clip(Frames(clip, Fraction(25))), numbers, order=order) as passes:
        columns = list(zip(*passes.chunks(), strict=True))
    return [[torch.cat([getattr(part, name) for part in parts]) for name in names] for parts in columns]


def assert_same_however_many_are_asked_for(clip, everyone, order):
    for number in range(everyone.present.shape[1] + 1):
        (alone,), (_, beside, _) = tracks_of(clip, order, number), tracks_of(clip, order, 5, number, 0)
        for one, same, all_faces in zip(alone, beside, everyone.face(number), strict=True):
            assert torch.equal(one, same)
            assert torch.equal(one, all_faces)


def clips_and_orders():
    """Return each clip with an order, the orders in turn; the one with two faces with all of them."""
    return [
        (name, order)
        for at, name in enumerate(CLIPS)
        for turn, order in enumerate(ORDERS)
        if name == "obama" or turn == at % len(ORDERS)
    ]


@pytest.mark.parametrize(("name", "order"), clips_and_orders())
def test_a_face_has_the_same_track_however_many_are_asked_for(frames, tracked, name, order):
    clip = frames(name, 0, 10)
    assert_same_however_many_are_asked_for(clip, tracked(clip, order=order), order)


@pytest.mark.parametrize("order", ORDERS)
def test_each_of_three_people_has_the_same_track_however_many_are_asked_for(trio, tracked, order):
    clip = scene(*trio, count=4)
    assert_same_however_many_are_asked_for(clip, tracked(clip, order=order), order)


def test_the_face_of_a_number_is_the_same_in_a_still_and_in_a_clip(trio, tracked):
    clip = scene(*trio, count=6)
    still = tracked(clip[:1])
    assert torch.equal(still.landmarks[0], tracked(clip).landmarks[0])
