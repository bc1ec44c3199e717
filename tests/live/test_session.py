"""A live session: what is drawn of a camera's frames."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import made_faces
import pytest
import torch
from live_session import Engine, source
from made_networks import MadeNetworks

from liveportrait_v2v import AnimationSettings, Clip, Expression, MotionOptions, create_engine
from liveportrait_v2v.concurrency import torch_thread
from liveportrait_v2v.engines.draft import face as draft_face
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import FaceNotFoundError, SettingsError
from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.live.controls import Controls
from liveportrait_v2v.live.jitter import Jitter
from liveportrait_v2v.live.looped import LoopedSource
from liveportrait_v2v.live.neutral import NeutralFinder
from liveportrait_v2v.live.session import HOLD_SECONDS, RETURN_SECONDS, LiveSession
from liveportrait_v2v.media import Frames
from liveportrait_v2v.tracking import TrackedChunk

STEP = 1 / 32  # seconds from frame to frame, without rounding


def seen(x: float = 160.0, index: int = 0, **kind: float) -> TrackedChunk:
    """A frame of the camera with a face at a place; `kind` as of `made_faces.landmarks`."""
    landmarks = made_faces.landmarks(at=(x, 120.0), **kind)
    landmarks[0, 0] = x
    frames = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    return TrackedChunk(frames, landmarks[None], torch.ones(1, dtype=torch.bool), index)


def unseen(index: int = 0) -> TrackedChunk:
    return replace(seen(index=index), present=torch.zeros(1, dtype=torch.bool))


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def session(engine) -> LiveSession:
    """A session whose neutral face was set by hand, at time 0, and that smooths nothing."""
    session = LiveSession(engine, source(), Controls(options=MotionOptions(smoothing=0.0)))
    session.set_neutral()
    session.draw(seen(100.0, 5), 0.0)
    return session


def test_until_there_is_a_neutral_face_the_source_is_shown_as_it_is(engine):
    session = LiveSession(engine, source(), Controls())
    drawn = session.draw(seen(), 0.0)
    assert (drawn.found, drawn.neutral) == (True, False)
    assert not drawn.frame.any()
    assert engine.started == []


def test_a_face_that_holds_still_becomes_neutral_by_itself(engine):
    session = LiveSession(engine, source(), Controls())
    drawn = [session.draw(seen(), k * STEP).neutral for k in range(30)]
    assert drawn.index(True) == pytest.approx(0.6 / STEP, abs=1)


def test_the_neutral_face_is_what_the_engine_surveys_and_its_first_driving_frame(session, engine):
    assert engine.surveyed == [5]
    assert engine.driving == [100.0]


def test_the_engine_is_asked_to_hold_no_frame_back(session, engine):
    ((settings, options, source_rate, driving_rate),) = engine.started
    assert (options.smoothing, options.reference_frame) == (0.0, 0)
    assert (source_rate, driving_rate) == (None, 30)
    assert settings == AnimationSettings()
    assert engine.live


def test_each_frame_shows_the_motion_of_that_very_frame(session, engine):
    for k, x in enumerate((101.0, 130.0, 90.0)):
        session.draw(seen(x), (k + 1) * STEP)
    assert engine.driving[1:] == [101.0, 130.0, 90.0]
    assert session.lag == 0


def test_smoothing_weighs_earlier_frames_alone_and_its_lag_is_known(engine):
    session = LiveSession(engine, source(), Controls(options=MotionOptions(smoothing=1e-4)))
    session.set_neutral()
    for k in range(200):
        session.draw(seen(100.0 + k), k * STEP)
    behind = (100.0 + 199) - engine.driving[-1]
    assert behind * STEP == pytest.approx(session.lag, rel=0.01)
    assert session.lag > 0.05


def test_setting_neutral_again_starts_motion_from_the_next_frame_with_a_face(session, engine):
    session.set_neutral()
    session.draw(unseen(6), STEP)
    session.draw(seen(140.0, 7), 2 * STEP)
    assert engine.surveyed == [5, 7]


def test_a_lost_face_keeps_its_motion_for_a_moment_and_then_goes_back_to_neutral(session, engine):
    session.draw(seen(132.0), STEP)
    frames = int((HOLD_SECONDS + RETURN_SECONDS) / STEP) + 2
    lost = [session.draw(unseen(), (2 + k) * STEP) for k in range(frames)]
    assert not any(drawn.found for drawn in lost)
    shown = engine.driving[2:]
    held = int(HOLD_SECONDS / STEP)
    assert shown[:held] == [132.0] * held
    assert shown[-1] == 100.0
    steps = [a - b for a, b in pairwise(shown)]
    assert min(steps) >= 0
    assert max(steps) < 32 / (RETURN_SECONDS / STEP) * 1.5


def test_a_face_that_is_found_again_is_followed_without_a_jump(session, engine):
    for k in range(40):
        session.draw(unseen(), (1 + k) * STEP)
    engine.driving.clear()
    drawn = [session.draw(seen(132.0), (41 + k) * STEP) for k in range(12)]
    assert all(one.found for one in drawn)
    steps = [b - a for a, b in pairwise([100.0, *engine.driving])]
    assert max(steps) < 8
    assert engine.driving[-1] == 132.0


def test_a_short_gap_is_no_reason_to_slow_down(session, engine):
    session.draw(seen(110.0), STEP)
    session.draw(unseen(), 2 * STEP)
    session.draw(seen(120.0), 3 * STEP)
    assert engine.driving[1:] == [110.0, 110.0, 120.0]


@pytest.mark.parametrize(
    "controls",
    [
        Controls(options=MotionOptions(smoothing=0.0, region="lip")),
        Controls(options=MotionOptions(smoothing=0.0, driving_multiplier=1.5)),
        Controls(settings=AnimationSettings(stitching=False), options=MotionOptions(smoothing=0.0)),
    ],
)
def test_other_settings_go_on_from_the_same_neutral_face(session, engine, controls):
    session.set_controls(controls)
    session.draw(seen(120.0), STEP)
    assert engine.surveyed == [5, 5]
    assert engine.started[-1][0] == controls.settings
    assert engine.driving[-1] == 120.0


def test_channels_and_smoothing_start_no_session_anew(session, engine):
    session.set_controls(
        Controls(options=MotionOptions(smoothing=1e-5), expression=Expression.constant(smile=0.7))
    )
    session.draw(seen(), STEP)
    assert len(engine.started) == 1
    edits = engine.edits[-1]
    assert edits is not None
    assert edits("smile").item() == pytest.approx(0.7)


def test_a_clip_is_repeated_by_the_clock(engine):
    session = LiveSession(engine, source(10, Fraction(10)), Controls())
    session.set_neutral()
    for seconds in (0.0, 0.35, 1.0, 2.95):
        session.draw(seen(), seconds)
    # Its resting face is the one of its first frame, whichever comes first.
    assert engine.shown == [0, 0, 3, 0, 9]
    assert engine.started[0][2] == 10


def test_another_source_takes_over_with_the_same_neutral_face(session, engine):
    session.set_source(source(4, Fraction(10)))
    drawn = session.draw(seen(130.0), STEP)
    assert drawn.neutral
    assert engine.surveyed == [5, 5]
    assert engine.started[-1][2] == 10


def test_a_number_beyond_the_sources_faces_is_its_last_face():
    two = source(faces=2)
    assert two.at(5, 0.0).tracked.frames.data_ptr() == two.chunks[1].tracked.frames.data_ptr()


def test_of_a_face_that_never_holds_still_the_most_neutral_is_taken_after_a_while():
    finder, found = NeutralFinder(), None
    for k in range(200):
        drop = 0.2 if k == 40 else 1.5 + (k % 5)
        found = finder.take(seen(160 + 12 * (k % 3), k, drop=drop), k * STEP)
        if found is not None:
            break
    assert found is not None
    assert found.index == 40


@pytest.mark.parametrize("turned", [{"yaw": 30}, {"drop": 3.0}])
def test_a_face_that_is_turned_or_speaks_is_not_taken_at_once(turned):
    finder = NeutralFinder()
    assert all(finder.take(seen(160, k, **turned), k * STEP) is None for k in range(60))


def test_jitter_is_smaller_after_smoothing_and_none_of_steady_motion():
    still = made_faces.landmarks()
    noise = torch.randn(60, 478, 3, generator=torch.Generator().manual_seed(1))
    shaking, moving = Jitter(1e-4), Jitter(1e-4)
    for k in range(60):
        shaking.push(still + 0.3 * noise[k], k * STEP)
        moving.push(still + k, k * STEP)
    raw, smoothed = shaking.get()
    assert 0 < smoothed < raw / 3
    assert moving.get()[0] == pytest.approx(0, abs=0.05)


def test_jitter_is_not_counted_across_a_gap():
    still, jitter = made_faces.landmarks(), Jitter(0.0)
    for k in range(9):
        jitter.push(still + 40 * k, k * STEP)
        if k % 2:
            jitter.interrupt()
    assert jitter.get() is None


def test_frames_far_apart_show_no_jitter():
    noise = torch.randn(9, 478, 3, generator=torch.Generator().manual_seed(1))
    jitter = Jitter(0.0)
    for k in range(9):
        jitter.push(made_faces.landmarks() + noise[k], k / 5)
    assert jitter.get() is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "must be an object"),
        ({"dsize": 300}, "got 'dsize'"),
        ({"region": "nose"}, "region must be one of"),
        ({"driving_multiplier": 9}, "from 0 to 3, got 9"),
        ({"input_face_index": True}, "input_face_index must be"),
        ({"channels": {"smile": 99}}, "smile must be"),
        ({"channels": {"eyes_open": 0.3}}, "no channel 'eyes_open'"),
        ({"channels": [1]}, "channels must be an object"),
        ({"channels": {"smile": "x" * 5000}}, "smile must be"),
    ],
)
def test_controls_out_of_range_are_refused_with_the_rule(engine, values, told):
    with pytest.raises(SettingsError, match=told):
        Controls.of(values, engine)


def test_controls_hold_what_the_page_sets(engine):
    controls = Controls.of({"region": "lip", "stitching": False, "channels": {"smile": 0.5}}, engine)
    assert (controls.options.region, controls.settings.stitching) == ("lip", False)
    assert controls.expression.at(0.0) == {"smile": 0.5}


@pytest.mark.parametrize("rate", [None, Fraction(10)])
def test_the_networks_take_the_cameras_frames_one_by_one(rate):
    engine = LivePortraitEngine(MadeNetworks())
    looped = source(4, rate)
    track = replace(looped.chunks[0].tracked, landmarks=made_faces.landmarks().expand(4, -1, -1).clone())
    looped = replace(looped, chunks=(replace(looped.chunks[0], tracked=track),))
    session = LiveSession(engine, looped, Controls())
    session.set_neutral()
    for k in range(5):
        # Not square, so that the engine cuts it to the face.
        face = replace(seen(150 + k, k), frames=torch.full((1, 240, 320, 3), 40 * k, dtype=torch.uint8))
        drawn = session.draw(face, k * STEP)
        assert (drawn.frame.shape, drawn.neutral) == ((200, 200, 3), True)


@pytest.mark.slow
def test_the_frames_of_a_clip_are_in_memory_once_and_cut_to_a_size(clips):
    engine = create_engine("draft")
    looped = LoopedSource.read(Clip(clips["single_face"]), engine, "clip", max_bytes=20 * 640 * 360 * 3)
    assert (looped.size, looped.faces, len(looped.chunks[0])) == ((640, 360), 1, 20)
    assert looped.notes == ("The source is long: its first 20 of 72 frames are repeated.",)
    at = looped.at(0, 21 / 30 + 0.001).tracked
    assert (at.index, at.held, bool(at.present[0])) == (1, False, True)


def test_a_source_without_a_face_is_refused():
    blank = Clip(Frames(torch.full((1, 300, 300, 3), 90, dtype=torch.uint8)))
    with pytest.raises(FaceNotFoundError, match="no face was found in the frames read of the source clip"):
        LoopedSource.read(blank, create_engine("draft"), "blank")


@pytest.mark.slow
def test_the_result_opens_its_mouth_in_the_very_frame_in_which_the_camera_shows_it_open(clips):
    # As in a live session: small operations wait for each other on several cores.
    with torch_thread(1) as thread:
        wanted, drawn = thread.submit(_drawn, clips).result()
    result = FaceTracker(max_faces=1).track(drawn).face(0)[0]
    openings = [draft_face.mouth_opening(points) for points in (wanted, result)]
    by_delay = {
        delay: torch.corrcoef(torch.stack((openings[0][: FRAMES - delay], openings[1][delay:])))[0, 1].item()
        for delay in range(4)
    }
    assert max(by_delay, key=by_delay.get) == 0
    assert by_delay[0] > 0.9


FRAMES = 45


def _drawn(clips) -> tuple[torch.Tensor, torch.Tensor]:
    """Landmarks of a clip's first frames, and the frames that they lead."""
    engine = create_engine("draft")
    still = LoopedSource.read(Clip(clips["avatar"], duration=0.05), engine, "avatar")
    session = LiveSession(engine, still, Controls())
    session.set_neutral()
    tracker, wanted, drawn = FaceTracker(max_faces=1), [], []
    for chunk in Clip(clips["jwp_intro"]).chunks(1, cap=FRAMES):
        landmarks, present, scenes = tracker.track(chunk.frames).face(0)
        face = TrackedChunk(chunk.frames, landmarks, present, chunk.index, scenes=scenes)
        wanted.append(landmarks)
        drawn.append(session.draw(face, chunk.index / 30).frame)
    return torch.cat(wanted), torch.stack(drawn)
