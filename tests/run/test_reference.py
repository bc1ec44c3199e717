"""The driving frame that relative motion starts from."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from recording_engine import Recorder, run

from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.media import Clip
from liveportrait_v2v.neutral import deviations, measures
from liveportrait_v2v.settings import AUTO, MotionOptions

pytestmark = pytest.mark.slow


class Options(Recorder):
    """Keeps the options of its sessions."""

    def session(self, settings, options, source_rate, driving_rate):
        self.options = options
        return self


@pytest.fixture
def speaks_first(clips) -> Clip:
    """A clip that begins with an open mouth and shut eyes, and ends with a calm face."""
    return Clip(clips["jwp_intro"], start=Fraction(39, 10))


def test_auto_gives_the_engine_the_number_of_a_neutral_frame_and_notes_it(make, speaks_first):
    result, _, seen = run(make(50, 25), speaks_first, Options(), options=MotionOptions(reference_frame=AUTO))
    number = seen.options.reference_frame
    frames = speaks_first.output_count()
    assert result.notes == (
        f"reference_frame auto: took driving frame {number}, the most neutral of {frames}",
    )
    tracks = FaceTracker().track(torch.cat([chunk.frames for chunk in speaks_first.chunks()]))
    landmarks, present, _ = tracks.face(0)
    away = deviations(measures(landmarks, present))
    assert away[number] < 1 < 4 < away[0]


def test_auto_looks_at_no_more_frames_than_are_read(make, speaks_first):
    options = MotionOptions(reference_frame=AUTO)
    result, _, seen = run(make(20, 25), speaks_first, Options(), options=options, video_frame_load_cap=10)
    assert seen.options.reference_frame < 10
    assert "of 10" in result.notes[0]


def test_auto_tracks_the_driving_clip_once(make, monkeypatch):
    tracked, track = [], FaceTracker.track

    def watched(tracker, frames):
        tracked.append(len(frames))
        return track(tracker, frames)

    monkeypatch.setattr(FaceTracker, "track", watched)
    run(make(20, 25), make(20, 25), options=MotionOptions(reference_frame=AUTO))
    assert sum(tracked) == 40


def test_a_clip_that_begins_far_from_neutral_gets_a_note_with_the_frame_that_auto_takes(make, speaks_first):
    source = make(60, 25)
    _, _, seen = run(source, speaks_first, Options(), options=MotionOptions(reference_frame=AUTO))
    plain, _, _ = run(source, speaks_first)
    assert plain.notes == (
        "the driving clip's first face is far from neutral, and relative motion starts from it; "
        f"reference_frame auto would take frame {seen.options.reference_frame}",
    )


def test_there_is_no_note_where_the_first_face_is_neutral_or_does_not_matter(make, speaks_first):
    assert run(make(20, 25), make(20, 25))[0].notes == ()
    assert run(make(60, 25), speaks_first, relative=False)[0].notes == ()
    assert run(make(60, 25), speaks_first, options=MotionOptions(reference_frame=1))[0].notes == ()
