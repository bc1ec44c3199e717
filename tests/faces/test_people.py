"""The people of a clip, told apart by proportions."""

from __future__ import annotations

import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v.faces.people import SAME_PROPORTIONS, People, proportions


def wide(**changes) -> torch.Tensor:
    """A face that is a quarter wider than the usual one."""
    face = landmarks(**changes)
    return face * torch.tensor([1.25, 1.0, 1.0])


class Names:
    """Gives newcomers the names A, B ..."""

    def __init__(self) -> None:
        self.people: People[str] = People()
        self._next = iter("ABCD")

    def at(self, scene: int, face: torch.Tensor) -> str:
        return self.people.at(scene, face, lambda: next(self._next))


@pytest.mark.parametrize(
    "change", [{"at": (50.0, 90.0)}, {"size": 2.0}, {"yaw": 30, "roll": -20}, {"drop": 1.5}]
)
def test_place_size_pose_and_mouth_change_no_proportions(change):
    before, after = proportions(torch.stack((landmarks(), landmarks(**change))))
    assert (after - before).abs().mean() < SAME_PROPORTIONS / 3


def test_who_comes_back_behind_a_cut_is_known_again():
    names = Names()
    scenes = [landmarks(), wide(), landmarks(at=(80.0, 80.0)), wide(size=3.0)]
    assert [names.at(k, face) for k, face in enumerate(scenes)] == ["A", "B", "A", "B"]


def test_without_a_cut_a_person_stays_the_same():
    names = Names()
    assert [names.at(0, face) for face in (landmarks(), wide())] == ["A", "A"]


def test_a_scene_is_the_same_persons_in_every_pass():
    names = Names()
    assert [names.at(scene, face) for scene, face in ((0, landmarks()), (1, wide()), (0, wide()))] == [
        "A",
        "B",
        "A",
    ]


def test_what_was_added_of_a_scene_is_kept_of_its_person_and_of_none_other():
    names = Names()
    names.people.add(1, wide(), "later")
    assert [names.at(k, face) for k, face in enumerate((landmarks(), wide(), landmarks()))] == [
        "A",
        "later",
        "A",
    ]


@pytest.mark.slow
def test_two_real_people_are_told_apart(frames, tracked):
    names = Names()
    faces = [tracked(frames(name, 0, 1)).landmarks[0, 0] for name in ("jwp_intro", "single_face", "cap12")]
    assert [names.at(k, face) for k, face in enumerate([*faces, *faces])] == ["A", "B", "C", "A", "B", "C"]
