"""Gaps in a track, frame by frame."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from made_faces import landmarks

from liveportrait_v2v.run.gaps import Shown, bridge_and_fade, mend_source
from liveportrait_v2v.tracking import TrackedChunk

RATE = Fraction(25)  # 0.2 s are 5 frames


def show(present: str, rate: Fraction = RATE, cut_after_gap: bool = False) -> list[Shown]:
    """Mend a track, "x" for a frame with the face and "." for one without; the value is the frame's number."""
    sightings = [
        (torch.tensor([float(k)]), not (cut_after_gap and present[k - 1] == "."))
        if seen == "x"
        else (None, False)
        for k, seen in enumerate(present)
    ]
    return list(bridge_and_fade(sightings, rate))


def values(shown: list[Shown]) -> list[float | None]:
    return [None if frame.value is None else frame.value.item() for frame in shown]


def opacities(shown: list[Shown]) -> list[float]:
    return [frame.opacity for frame in shown]


def test_a_track_without_gaps_stays_as_it_is():
    shown = show("xxxxxx")
    assert values(shown) == list(range(6))
    assert opacities(shown) == [1.0] * 6


@pytest.mark.parametrize(("rate", "longest"), [(25, 5), (Fraction(24000, 1001), 4), (60, 12), (4, 0)])
def test_gaps_of_up_to_a_fifth_of_a_second_are_bridged(rate, longest):
    bridged, wider = (show("xx" + "." * gap + "xx", Fraction(rate)) for gap in (longest, longest + 1))
    assert values(bridged) == pytest.approx(range(longest + 4))
    assert [frame.seen for frame in bridged] == [True] * 2 + [False] * longest + [True] * 2
    assert values(wider) == [0, 1] + [None] * (longest + 1) + [longest + 3, longest + 4]


def test_bridged_frames_do_not_fade():
    assert opacities(show("xxx.xxx")) == [1.0] * 7


def test_a_gap_with_a_cut_is_not_bridged():
    assert values(show("xx.xx", cut_after_gap=True)) == [0, 1, None, 3, 4]


@pytest.mark.parametrize("present", [".xx", "xx."])
def test_a_gap_with_frames_on_one_side_only_is_not_bridged(present):
    assert [frame.value is None for frame in show(present)] == [seen == "." for seen in present]


def test_the_animation_fades_within_a_tenth_of_a_second_on_both_sides_of_a_long_gap():
    assert opacities(show("xxxx......xxxx")) == pytest.approx([1, 1, 0.8, 0.4, *[0] * 6, 0.4, 0.8, 1, 1])


def test_a_face_that_shows_up_for_a_moment_does_not_flash():
    assert max(opacities(show("......x......"))) == pytest.approx(0.4)


@pytest.mark.parametrize(("present", "ahead"), [("x" * 40, 2), ("xxxx." * 8, 8), ("x" + "." * 39, 8)])
def test_no_more_frames_are_held_back_than_may_still_change(present, ahead):
    given = 0

    def sightings():
        nonlocal given
        for seen in present:
            given += 1
            yield (torch.zeros(1), True) if seen == "x" else (None, False)

    held = [given - done for done, _ in enumerate(bridge_and_fade(sightings(), RATE), 1)]
    assert max(held) <= ahead


def test_a_sources_chunks_come_out_as_they_went_in_but_for_the_bridged_frames():
    track = torch.stack([landmarks(at=(160 + k, 120)) for k in range(9)])
    present = torch.ones(9, dtype=torch.bool)
    present[4] = False
    lost = track.clone()
    lost[4] = 0
    frames = torch.zeros(9, 2, 2, 3, dtype=torch.uint8)
    chunks = [TrackedChunk(frames[k : k + 3], lost[k : k + 3], present[k : k + 3], k) for k in (0, 3, 6)]
    mended = list(mend_source(chunks, iter, RATE))
    assert [chunk.tracked.index for chunk in mended] == [0, 3, 6]
    assert mended[0].tracked is chunks[0]
    torch.testing.assert_close(torch.cat([chunk.tracked.landmarks for chunk in mended]), track)
    assert torch.cat([chunk.tracked.present for chunk in mended]).all()
    assert torch.equal(torch.cat([chunk.seen for chunk in mended]), present)
    assert not chunks[1].present[1], "the chunk was modified"


def test_a_held_source_frame_fades_and_counts_as_the_frame_itself():
    chunk = TrackedChunk(
        torch.zeros(4, 2, 2, 3, dtype=torch.uint8),
        landmarks().expand(4, -1, -1),
        torch.tensor([False, False, False, True]),
    )
    (mended,) = mend_source([chunk], iter, RATE)
    held = mended.hold(3)
    assert held.opacity.tolist() == pytest.approx([0.4] * 3)
    assert held.seen.tolist() == [True] * 3
