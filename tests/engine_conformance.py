"""The contract of a streaming engine, as tests that every engine runs.

A test module of an engine has a class with `make_engine`:

    class TestMyEngine(EngineConformance):
        def make_engine(self):
            return MyEngine()
"""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.engines.base import ALL_OPTIONS, Engine, RenderedFrames
from liveportrait_v2v.errors import Cancelled, SettingsError
from liveportrait_v2v.expression import ALL_CHANNELS, CHANNELS, Expression
from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.plan import Role
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

OTHER_VALUES = {
    "pairing": "frame",
    "region": "lip",
    "driving_multiplier": 0.5,
    "driving_option": "expression-friendly",
    "reference_frame": 1,
    "smoothing": 0.0,
    "source_motion": "add",
    "source_eye_retargeting": True,
    "face_order": "left-right",
    "still_audio": False,
}
"""A value other than the default for each motion option."""
COUNT = 10  # frames of a clip
WITHOUT = slice(1, 9)  # those of the gap clip without a face, for more than 0.2 s
WITH = [0, 9]


class EngineConformance:
    """Tests of an engine; a subclass makes it."""

    def make_engine(self) -> Engine:
        """Return a new engine."""
        raise AssertionError("a subclass makes the engine")

    @pytest.fixture
    def face(self, clips) -> torch.Tensor:
        """Real frames of a face, uint8 [COUNT, 240, 240, 3]."""
        frames = next(Clip(clips["single_face"]).chunks(COUNT)).frames
        return frames[:, 50:290, 200:440].contiguous()

    @pytest.fixture
    def clip(self, face) -> Clip:
        return Clip(Frames(face, Fraction(25)))

    @pytest.fixture
    def leading(self, face) -> Clip:
        """A driving clip that moves otherwise than `clip`."""
        return Clip(Frames(face.flip(0).flip(2), Fraction(25)))

    @pytest.fixture
    def gap(self, face) -> Clip:
        """A clip whose face is gone for more than 0.2 s."""
        frames = face.clone()
        frames[WITHOUT] = 128
        return Clip(Frames(frames, Fraction(25)))

    def rendered(
        self, source: Clip, driving: Clip, engine: Engine | None = None, **options
    ) -> RenderedFrames:
        """The whole result, in one piece, with its mask."""
        got: list[RenderedFrames] = []
        animate(
            source,
            driving,
            engine=engine or self.make_engine(),
            settings=AnimationSettings(video_frame_load_cap=0),
            sink=got.append,
            masks=True,
            **options,
        )
        assert all(part.mask is not None for part in got)
        return RenderedFrames(
            torch.cat([part.frames for part in got]), torch.cat([part.mask for part in got])
        )

    def test_it_declares_what_it_is(self):
        engine = self.make_engine()
        assert engine.name
        assert torch.device(engine.device)
        assert engine.supports <= ALL_OPTIONS
        assert engine.channels <= ALL_CHANNELS

    def test_the_result_has_the_sources_frames_size_and_type(self, clip, leading):
        frames = self.rendered(clip, leading).frames
        assert frames.shape == (COUNT, 240, 240, 3)
        assert frames.dtype == torch.uint8

    def test_pixels_outside_the_mask_are_the_sources_own(self, clip, leading, face):
        result = self.rendered(clip, leading)
        assert result.mask.shape == (COUNT, 240, 240)
        assert 0 <= result.mask.min() <= result.mask.max() <= 1
        outside = result.mask == 0
        assert torch.equal(result.frames[outside], face[outside])
        assert (result.frames != face).any()

    def test_a_session_does_not_modify_the_frames_that_it_is_given(self, clip, leading, monkeypatch):
        engine, unchanged = self.make_engine(), []
        begin = engine.session

        def watched(*arguments):
            session = begin(*arguments)
            render = session.render

            def compared(chunk, driving, masks=False):
                before = chunk.frames.clone()
                result = render(chunk, driving, masks)
                unchanged.append(torch.equal(chunk.frames, before))
                return result

            session.render = compared
            return session

        monkeypatch.setattr(engine, "session", watched)
        self.rendered(clip, leading, engine)
        assert unchanged
        assert all(unchanged)

    def test_points_of_its_own_come_after_the_trackers_and_change_nothing_else(self, face):
        present = torch.ones(COUNT, dtype=torch.bool)
        present[WITHOUT] = False
        tracked = TrackedChunk(face, torch.rand(COUNT, 478, 3) * 240, present, index=16)
        chunk = self.make_engine().add_points(tracked)
        assert torch.equal(chunk.landmarks[:, :478], tracked.landmarks)
        assert torch.equal(chunk.present, present)
        assert (chunk.frames is face, chunk.index, chunk.held) == (True, 16, False)

    def test_its_points_are_added_in_the_threads_that_track(self, clip, leading, monkeypatch):
        engine, threads = self.make_engine(), []
        add_points = engine.add_points

        def watched(chunk):
            threads.append((threading.current_thread(), len(chunk)))
            return add_points(chunk)

        monkeypatch.setattr(engine, "add_points", watched)
        self.rendered(clip, leading, engine)
        assert sum(count for _, count in threads) == 2 * COUNT
        assert threading.current_thread() not in {thread for thread, _ in threads}

    def test_a_wide_driving_clip_is_tracked_once(self, clip, clips, monkeypatch):
        wide, tracked = next(Clip(clips["single_face"]).chunks(COUNT)).frames, []
        assert wide.shape[1:] == (360, 640, 3)
        track = FaceTracker.track

        def watched(tracker, frames):
            tracked.append(tuple(frames.shape))
            return track(tracker, frames)

        monkeypatch.setattr(FaceTracker, "track", watched)
        self.rendered(clip, Clip(Frames(wide, Fraction(25))), options=MotionOptions(reference_frame=1))
        assert sum(shape[0] for shape in tracked if shape[2] == 640) == COUNT

    @pytest.mark.parametrize("which", ["source", "driving"])
    def test_frames_without_a_face_show_the_source(self, clip, leading, gap, face, which):
        result = self.rendered(gap, leading) if which == "source" else self.rendered(clip, gap)
        shown = face.clone()
        if which == "source":
            shown[WITHOUT] = 128
        assert torch.equal(result.frames[WITHOUT], shown[WITHOUT])
        assert result.mask[WITHOUT].max() == 0
        assert (result.mask[WITH].amax((1, 2)) > 0).all()

    @pytest.mark.parametrize("which", ["source", "driving"])
    def test_a_face_that_is_lost_for_a_frame_is_animated_on(self, clip, leading, face, which):
        flickers = (face if which == "source" else face.flip(0).flip(2)).clone()
        flickers[4] = 128
        lost = Clip(Frames(flickers, Fraction(25)))
        result = self.rendered(lost, leading) if which == "source" else self.rendered(clip, lost)
        assert (result.mask.amax((1, 2)) == 1).all()

    def test_a_still_is_animated_for_as_long_as_the_driving_clip(self, face, leading):
        still = Clip(Frames(face[:1]))
        assert len(self.rendered(still, leading).frames) == COUNT

    def test_a_driving_still_leads_every_frame(self, clip, face):
        still = Clip(Frames(face[-1:].flip(2)))
        assert len(self.rendered(clip, still).frames) == COUNT

    def test_the_same_run_gives_the_same_bytes(self, clip, leading):
        engine = self.make_engine()
        first, second = (self.rendered(clip, leading, engine).frames for _ in range(2))
        assert torch.equal(first, second)

    def test_where_chunks_end_hardly_matters(self, clip, leading):
        whole, parts = (self.rendered(clip, leading, chunk=size).frames.int() for size in (COUNT, 3))
        # The rectangles that are sampled differ, and with them the rounding of a pixel here and there.
        assert (whole - parts).abs().float().mean() < 0.05
        assert ((whole - parts).abs() > 8).float().mean() < 1e-3

    def test_runs_of_one_engine_side_by_side_do_not_disturb_each_other(self, clip, leading):
        engine, results = self.make_engine(), {}
        alone = self.rendered(clip, leading, engine).frames

        def run(name: str, source: Clip, driving: Clip) -> None:
            results[name] = self.rendered(source, driving, engine).frames

        threads = [
            threading.Thread(target=run, args=("same", clip, leading)),
            threading.Thread(target=run, args=("other", leading, clip)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.equal(results["same"], alone)

    @pytest.mark.parametrize("name", sorted(ALL_OPTIONS))
    def test_an_option_is_honoured_or_refused_by_name(self, clip, leading, name):
        engine, options = self.make_engine(), MotionOptions(**{name: OTHER_VALUES[name]})
        if name in engine.supports:
            assert len(self.rendered(clip, leading, engine, options=options).frames) == COUNT
            return
        with pytest.raises(SettingsError, match=f"{name} must be .*{engine.name} engine"):
            self.rendered(clip, leading, engine, options=options)

    @pytest.mark.parametrize("name", sorted(ALL_CHANNELS))
    def test_a_channel_is_edited_without_a_driving_clip_or_refused_by_name(self, clip, face, name):
        engine, channel = self.make_engine(), CHANNELS[name]
        role = Role(
            expression=Expression.constant(**{name: channel.low if name == "source" else channel.high})
        )
        got: list[RenderedFrames] = []
        if name not in engine.channels:
            with pytest.raises(SettingsError, match=f"{engine.name} engine does not edit {name}"):
                animate(clip, roles=[role], engine=engine)
            return
        animate(clip, roles=[role], engine=engine, sink=got.append, masks=True)
        assert torch.cat([part.frames for part in got]).shape == face.shape
        assert all((part.mask.amax((1, 2)) == 1).all() for part in got)

    def test_a_run_that_is_cancelled_leaves_no_file(self, clip, leading, tmp_path):
        answers = iter([False, True])
        with pytest.raises(Cancelled):
            self.rendered(
                clip,
                leading,
                output=tmp_path / "out.mp4",
                cancelled=lambda: next(answers, True),
                chunk=2,
            )
        assert list(tmp_path.iterdir()) == []


def test_every_motion_option_has_another_value_here():
    defaults = MotionOptions().to_dict()
    assert set(OTHER_VALUES) == set(defaults) == set(ALL_OPTIONS)
    assert all(OTHER_VALUES[name] != default for name, default in defaults.items())
