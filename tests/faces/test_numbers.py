"""Several faces, each with a number that it keeps."""

from __future__ import annotations

import pytest
import torch

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


def test_only_one_face_is_followed_under_its_own_number(trio, tracked):
    tracks = tracked(scene(*trio, count=4), order="left-right", only=1)
    assert tracks.present.shape == (4, 3)
    assert tracks.present.all(0).tolist() == [False, True, False]
    assert not tracks.present[:, [0, 2]].any()
    assert places(tracks, 0, **MIDDLES)[1] == "large"


@pytest.mark.parametrize("away", [12, 50])
def test_while_the_only_face_is_away_no_other_face_has_its_number(heads, tracked, away):
    a, b = heads("jwp_intro", 200, 1), heads("single_face", 200, 1)
    both, alone = scene((a, 40, 80), (b, 380, 80)), scene((b, 380, 80))
    clip = then((both, 4), (alone, away), (both, 6))
    _, present = tracked(clip, order="left-right", only=0).face(0)
    assert present[:4].all()
    assert not present[4 : 4 + away].any()
    assert present[-3:].all()


def test_an_only_face_that_is_not_there_yet_is_followed_once_it_comes(heads, tracked):
    a, b = heads("jwp_intro", 200, 1), heads("single_face", 200, 1)
    clip = then((scene((a, 40, 80)), 4), (scene((a, 40, 80), (b, 380, 80)), 14))
    landmarks, present = tracked(clip, only=1).face(1)
    assert not present[:4].any()
    assert present[-3:].all()
    assert landmarks[-1, :, 0].mean() > 380
