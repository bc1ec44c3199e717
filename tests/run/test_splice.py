"""Frames without a face, and the masks and squares of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from liveportrait_v2v.engines.base import RenderedFrames
from liveportrait_v2v.faces import FaceSquare
from liveportrait_v2v.run.gaps import Shown
from liveportrait_v2v.run.splice import DrivingMotion, splice
from liveportrait_v2v.tracking import TrackedChunk

PRESENT, ABSENT = DrivingMotion(torch.ones(3), None, 0.0), DrivingMotion(None, None, 0.0)


class Renderer:
    """Inverts the frames that it is given, and keeps the chunks."""

    def __init__(self) -> None:
        self.chunks: list[TrackedChunk] = []

    def __call__(self, chunk: TrackedChunk, driving: torch.Tensor, masks: bool = False) -> RenderedFrames:
        self.chunks.append(chunk)
        count = len(chunk)
        square = FaceSquare(torch.ones(count, 2), torch.eye(2).repeat(count, 1, 1), torch.full((count,), 4.0))
        mask = torch.full(chunk.frames.shape[:3], 0.5) if masks else None
        return RenderedFrames(255 - chunk.frames, mask, (square,), covered=(count - 1,), shut=(0,))


def chunk_of(present: list[bool], index: int = 0) -> TrackedChunk:
    count = len(present)
    frames = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1).expand(count, 4, 6, 3).contiguous()
    return TrackedChunk(frames, torch.zeros(count, 478, 3), torch.tensor(present), index)


def test_frames_with_both_faces_are_rendered_and_the_others_stay():
    chunk, render = chunk_of([True, True, False, True, True]), Renderer()
    rendered = splice(render, chunk, [PRESENT, ABSENT, PRESENT, PRESENT, PRESENT])
    assert [int(frame[0, 0, 0]) for frame in rendered.frames] == [255, 1, 2, 252, 251]
    assert torch.equal(chunk.frames, chunk_of([True] * 5).frames), "the source was modified"


def test_an_engine_is_given_runs_of_consecutive_frames_by_their_number():
    render = Renderer()
    splice(render, chunk_of([True, True, False, True], index=8), [PRESENT] * 4)
    assert [(chunk.index, len(chunk)) for chunk in render.chunks] == [(8, 2), (11, 1)]
    assert all(chunk.present.all() for chunk in render.chunks)


def test_the_parts_of_a_held_frame_are_all_that_frame():
    render = Renderer()
    splice(render, chunk_of([True] * 3, index=5).hold(3), [PRESENT, ABSENT, PRESENT])
    assert [(chunk.index, chunk.held) for chunk in render.chunks] == [(7, True), (7, True)]


def test_covered_mouths_and_shut_eyes_are_numbered_in_the_whole_chunk():
    rendered = splice(Renderer(), chunk_of([True, True, False, True]), [PRESENT] * 4)
    assert rendered.covered == (1, 3)
    assert rendered.shut == (0, 3)


def test_masks_and_squares_are_zero_where_nothing_was_pasted():
    rendered = splice(Renderer(), chunk_of([True, False, True]), [PRESENT] * 3, masks=True)
    assert rendered.mask[:, 0, 0].tolist() == [0.5, 0, 0.5]
    assert rendered.squares[0].side.tolist() == [4, 0, 4]


@pytest.mark.parametrize("present", [[True] * 2, [False] * 2, [True, False]])
def test_there_is_no_mask_unless_it_is_asked_for(present):
    assert splice(Renderer(), chunk_of(present), [PRESENT] * 2).mask is None


def test_a_chunk_without_any_face_costs_no_copy():
    chunk, render = chunk_of([False, False]), Renderer()
    assert splice(render, chunk, [PRESENT] * 2).frames is chunk.frames
    assert not render.chunks


def frame(value: float | None, seen: bool = True, opacity: float = 1.0) -> Shown:
    return Shown(None if value is None else torch.tensor([value]), seen, opacity)


LOST = frame(None, seen=False, opacity=0.0)


@pytest.mark.parametrize(
    ("before", "after", "fraction", "motion", "opacity"),
    [
        (frame(1.0), frame(2.0), 0.25, 1.25, 1.0),
        (LOST, frame(2.0), 0.0, None, 0.0),
        (LOST, frame(2.0, opacity=0.5), 0.5, 2.0, 0.25),
        (frame(1.0, opacity=0.5), LOST, 0.5, 1.0, 0.25),
        (LOST, LOST, 0.5, None, 0.0),
    ],
)
def test_a_moment_has_the_motion_and_opacity_between_two_driving_frames(
    before, after, fraction, motion, opacity
):
    moment = DrivingMotion.between(before, after, fraction)
    found = moment.motion()
    assert (None if found is None else found.item()) == motion
    assert moment.opacity == pytest.approx(opacity)


@pytest.mark.parametrize(("fraction", "missing"), [(0.4, False), (0.6, True)])
def test_a_moment_counts_as_missing_by_the_nearer_driving_frame(fraction, missing):
    bridged = frame(2.0, seen=False)
    assert DrivingMotion.between(frame(1.0), bridged, fraction).missing == missing


def test_frames_that_fade_are_blended_with_the_source_and_so_are_their_masks():
    leads = [replace(PRESENT, opacity=opacity) for opacity in (1.0, 0.6, 0.2)]
    rendered = splice(Renderer(), chunk_of([True] * 3), leads, masks=True)
    assert [int(picture[0, 0, 0]) for picture in rendered.frames] == [255, 153, 52]
    assert rendered.mask[:, 0, 0].tolist() == pytest.approx([0.5, 0.3, 0.1])


def test_gaps_of_the_source_fade_as_well():
    opacity = torch.tensor([1.0, 0.5])
    rendered = splice(Renderer(), chunk_of([True] * 2), [PRESENT] * 2, masks=True, opacity=opacity)
    assert rendered.mask[:, 0, 0].tolist() == pytest.approx([0.5, 0.25])
