"""The choice of a neutral face."""

from __future__ import annotations

import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v.neutral import FAR_FROM_NEUTRAL, deviations, measures


def away(*faces: torch.Tensor | None) -> torch.Tensor:
    """How far each face of a clip is from neutral; None is a frame without one."""
    marks = torch.stack([torch.zeros(478, 3) if face is None else face for face in faces])
    return deviations(measures(marks, torch.tensor([face is not None for face in faces])))


def raised_brows() -> torch.Tensor:
    face = landmarks()
    face[[105, 334], 1] -= 3  # half a centimetre
    return face


@pytest.mark.parametrize(
    "other",
    [
        landmarks(drop=1.0),
        landmarks(lids=0.2),
        landmarks(yaw=15),
        landmarks(pitch=-15),
        landmarks(roll=15),
        raised_brows(),
    ],
    ids=["mouth", "eyes", "yaw", "pitch", "roll", "brows"],
)
def test_whatever_moves_takes_a_face_away_from_neutral(other):
    neutral, moved, _ = away(landmarks(), other, landmarks())
    assert moved > neutral + 1


def test_a_face_that_speaks_with_its_eyes_shut_is_far_from_neutral_and_a_resting_one_is_not():
    resting, speaking, _ = away(landmarks(), landmarks(drop=1.5, lids=0.1), landmarks())
    assert resting < FAR_FROM_NEUTRAL < speaking


def test_place_and_size_do_not_count():
    here, there, _ = away(landmarks(), landmarks(at=(300, 40), size=12), landmarks())
    assert here.item() == pytest.approx(there.item(), abs=0.01)


def test_eyes_that_are_shut_in_most_frames_are_not_neutral_for_it():
    assert away(*[landmarks(lids=0.1)] * 5, landmarks()).argmin() == 5


def test_a_frame_without_a_face_is_never_the_most_neutral():
    assert away(None, landmarks(yaw=40)).tolist()[0] == float("inf")
    assert away(None, None).tolist() == [float("inf")] * 2


def test_a_measure_that_is_unknown_throughout_does_not_count():
    found = measures(torch.stack([landmarks(drop=1), landmarks(yaw=10)]), torch.tensor([True, True]))
    found[:, 2] = torch.nan
    assert deviations(found).argmin() == 0
