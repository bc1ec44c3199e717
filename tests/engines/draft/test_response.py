"""What is found of a motion that is drawn, learned from inferences."""

from __future__ import annotations

import pytest
import torch

from liveportrait_v2v.engines.draft.response import RESPONSE, Response

DRAWN = torch.linspace(-0.8, 0.4, 40)


def learned(drawn: torch.Tensor, found: torch.Tensor, believed: torch.Tensor | None = None) -> Response:
    """What is learned of inferences of motion [N] one after the other."""
    believed = torch.ones_like(drawn) if believed is None else believed
    return Response.of(drawn, drawn - found, believed).after(None)


def test_nothing_learned_corrects_nothing():
    silent = learned(DRAWN, DRAWN / 2, torch.zeros_like(DRAWN))
    assert not silent.correction(DRAWN, found_share=0.5).any()
    assert not learned(DRAWN, DRAWN / 2).none().correction(DRAWN).any()


def test_one_inference_is_answered_in_full():
    first = learned(torch.tensor([0.3]), torch.tensor([0.1]))
    torch.testing.assert_close(first.correction(torch.tensor([0.3])), torch.tensor([0.2]))
    torch.testing.assert_close(first.correction(torch.tensor([0.5])), torch.tensor([0.2]))


@pytest.mark.parametrize(("share", "offset"), [(0.7, 0.0), (1.2, -0.1), (1.0, 0.3)])
def test_motion_is_drawn_by_what_is_found_of_it(share, offset):
    response = learned(DRAWN, share * DRAWN + offset)[-1:]
    for wanted in (-0.7, 0.0, 0.3):
        drawn = wanted + response.correction(torch.tensor([wanted])).item()
        assert share * drawn + offset == pytest.approx(wanted, abs=0.03)


def test_a_share_that_another_look_finds_less_of_is_made_up_for():
    response = learned(DRAWN, DRAWN)[-1:]
    assert response.correction(torch.tensor([0.4]), found_share=0.8).item() == pytest.approx(0.1, abs=0.01)


def test_motion_that_is_hardly_found_is_exaggerated_up_to_a_limit():
    response = learned(DRAWN, 0.1 * DRAWN)[-1:]
    least = RESPONSE.limits[0]
    further = response.correction(torch.tensor([0.3, -0.5])).diff().item()
    assert further == pytest.approx(-0.8 * (1 / least - 1), abs=0.01)


def test_motion_that_hardly_varies_tells_nothing_of_its_share():
    still = 0.2 + 0.01 * torch.tensor([1.0, -1.0]).repeat(20)
    noise = 0.02 * torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(10)
    response = learned(still, still + noise)[-1:]
    assert response.correction(torch.tensor([0.8])).abs() < 0.05


def test_a_face_that_holds_still_gets_one_correction_from_the_first_inference_on():
    response = learned(torch.full((30,), 0.3), torch.full((30,), 0.1))
    torch.testing.assert_close(response.correction(torch.full((30,), 0.3)), torch.full((30,), 0.2))


def test_older_inferences_count_less():
    was, now = torch.full((60,), 0.1), torch.full((200,), 0.3)
    response = learned(torch.zeros(260), -torch.cat((was, now)))[-1:]
    assert response.correction(torch.tensor([0.0])).item() == pytest.approx(0.3, abs=0.01)


def test_it_makes_no_difference_in_which_portions_inferences_come():
    found = 0.7 * DRAWN + 0.1
    whole = learned(DRAWN, found)
    first = learned(DRAWN[:13], found[:13])
    rest = Response.of(DRAWN[13:], DRAWN[13:] - found[13:], torch.ones(27)).after(first)
    torch.testing.assert_close(rest.sums, whole.sums[13:])


def test_between_two_inferences_it_is_between_them():
    before, later = learned(DRAWN, 0.7 * DRAWN)[[3, 4]].sums.unbind(0)
    between = Response(before[None]).towards(Response(later[None]), torch.tensor([[0.5]]))
    torch.testing.assert_close(between.sums[0], (before + later) / 2)
