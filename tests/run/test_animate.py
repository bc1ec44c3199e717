"""The flow of a run, on real faces: frames, times, sound, faces that come and go, and stopping."""

from __future__ import annotations

import gc
import json
import math
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from made_networks import MadeNetworks
from watched_clip import clip_that_notes_its_end

from liveportrait_v2v.concurrency import Behind, HostCopies
from liveportrait_v2v.engines import RenderedFrames, create_engine
from liveportrait_v2v.engines.base import ALL_OPTIONS
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import Cancelled, FaceNotFoundError, MediaError, SettingsError
from liveportrait_v2v.faces import FaceSquare, FaceTracker
from liveportrait_v2v.media import Audio, Clip, Frames, VideoWriter
from liveportrait_v2v.neutral import deviations, measures
from liveportrait_v2v.plan import Role, make_plan
from liveportrait_v2v.run import Progress, Result, animate, run_plan
from liveportrait_v2v.settings import AUTO, AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

pytestmark = pytest.mark.slow

SIZE = 200


class Recorder:
    """An engine that gives the source back brighter by one, and remembers what it was given."""

    name, device, render_threads, supports = "recorder", "cpu", None, ALL_OPTIONS

    def __init__(self) -> None:
        self.driving: list[torch.Tensor] = []
        self.sources: list[int] = []
        self.alive: list[int] = []
        self._chunks: list[weakref.ref] = []

    def add_points(self, chunk):
        return chunk

    def session(self, settings, options, source_rate, driving_rate):
        return self

    def survey(self, chunks):
        pass

    def source(self, chunks):
        yield from chunks

    def motions(self, chunks):
        for chunk in chunks:
            yield from (
                torch.tensor(float(code(frame))) if ok else None
                for frame, ok in zip(chunk.frames, chunk.present.tolist(), strict=True)
            )

    def render(self, chunk: TrackedChunk, driving: torch.Tensor, masks: bool = False) -> RenderedFrames:
        self._chunks.append(weakref.ref(chunk.frames))
        gc.collect()
        self.alive.append(sum(ref() is not None for ref in self._chunks))
        self.sources += [code(frame) for frame in chunk.frames]
        self.driving += driving.tolist()
        count = len(chunk)
        square = FaceSquare(
            torch.full((count, 2), 100.0), torch.eye(2).repeat(count, 1, 1), torch.full((count,), 150.0)
        )
        mask = torch.ones(chunk.frames.shape[:3]) if masks else None
        return RenderedFrames(chunk.frames.clamp(max=254) + 1, mask, (square,))


def mark(frame: torch.Tensor, number: int) -> torch.Tensor:
    """Writes a number into the frame's upper left corner, as eight black or white blocks."""
    frame = frame.clone()
    for bit in range(8):
        frame[:10, bit * 10 : bit * 10 + 10] = 255 if number >> bit & 1 else 0
    return frame


def code(frame: torch.Tensor) -> int:
    return sum(int(frame[5, bit * 10 + 5, 1] > 127) << bit for bit in range(8))


@pytest.fixture(scope="module")
def faces(clips) -> torch.Tensor:
    """Twelve frames of a real face, 200 x 200."""
    with_face = next(Clip(clips["single_face"]).chunks(12)).frames
    return with_face[:, 60:260, 220:420].contiguous()


@pytest.fixture(scope="module")
def make(faces, tmp_path_factory) -> Callable[..., Path]:
    """make(count, rate, tone=None, without=()): a clip of numbered frames with a face, or grey where there is none."""
    folder = tmp_path_factory.mktemp("clips")

    def write(
        count: int, rate: int | Fraction, tone: float | None = None, without: range | tuple = ()
    ) -> Path:
        path = folder / f"{count}_{float(rate):g}_{tone}_{len(without)}_{next(iter(without), 0)}.mp4"
        if path.exists():
            return path
        sound = None
        if tone is not None:
            times = torch.arange(int(48000 * count / rate)) / 48000
            sound = Audio((0.5 * torch.sin(2 * torch.pi * tone * times)).unsqueeze(0), 48000)
        with VideoWriter(path, Fraction(rate), audio=sound, crf=10) as writer:
            for k in range(count):
                frame = torch.full_like(faces[0], 128) if k in without else faces[k % 12]
                writer.write(mark(frame, k).unsqueeze(0))
        return path

    return write


@pytest.fixture(scope="module")
def make_two(faces) -> Callable[..., Clip]:
    """make_two(count, rate): a clip of numbered frames with two faces, mirror images side by side."""

    def frames(count: int, rate: int) -> Clip:
        pair = torch.cat((faces, faces.flip(2)), 2)
        return Clip(Frames(torch.stack([mark(pair[k % 12], k) for k in range(count)]), Fraction(rate)))

    return frames


def run(source, driving, engine=None, **kinds) -> tuple[Result, torch.Tensor, Recorder]:
    """A run into memory; kinds holds settings by name, and `options`."""
    engine, got = engine or Recorder(), []
    options = kinds.pop("options", None)
    output = kinds.pop("output", None)
    settings = AnimationSettings(**{"video_frame_load_cap": 0, **kinds})
    result = animate(
        source, driving, engine=engine, settings=settings, options=options, sink=got.append, output=output
    )
    return result, torch.cat([rendered.frames for rendered in got]), engine


def none_more_than(threads: int) -> bool:
    """Whether all threads but so many end, within a minute."""
    end = time.monotonic() + 60
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    return threading.active_count() <= threads


def pitch(audio: Audio) -> float:
    """The strongest frequency in hertz."""
    spectrum = torch.fft.rfft(audio.samples[0]).abs()
    return (spectrum.argmax() * audio.rate / audio.samples.shape[1]).item()


def test_frames_go_out_in_order_with_the_driving_frames_of_their_time(make):
    result, frames, seen = run(make(20, 25), make(20, 25))
    assert (result.frames, len(frames), result.rate, result.duration) == (20, 20, 25, Fraction(20, 25))
    assert seen.sources == list(range(20))
    assert seen.driving == list(range(20))


def test_both_clips_are_read_from_the_start(make):
    reading = threading.Event()

    class Driving(Clip):
        def chunks(self, *args, **options):
            reading.set()
            yield from super().chunks(*args, **options)

    class Source(Clip):
        def chunks(self, *args, **options):
            assert reading.wait(60)
            yield from super().chunks(*args, **options)

    result, _, _ = run(Source(make(20, 25)), Driving(make(20, 25)))
    assert result.frames == 20


def test_a_driving_clip_of_another_rate_is_met_in_time(make):
    _, _, seen = run(make(12, 24), make(20, 30))
    assert seen.driving == pytest.approx([k * 30 / 24 for k in range(12)])


def test_frame_pairing_ignores_the_rates(make):
    _, _, seen = run(make(12, 24), make(20, 30), options=MotionOptions(pairing="frame"))
    assert seen.driving == list(range(12))


def test_circle_starts_the_shorter_clip_again(make):
    _, _, seen = run(make(7, 25), make(18, 25), mismatch_method="circle")
    assert seen.sources == [k % 7 for k in range(18)]
    _, _, seen = run(make(18, 25), make(7, 25), mismatch_method="circle")
    assert seen.driving == [k % 7 for k in range(18)]


@pytest.mark.parametrize(("source", "driving"), [(7, 18), (18, 7)])
def test_what_circle_repeats_is_tracked_once(make, monkeypatch, source, driving):
    tracked, track = [], FaceTracker.track

    def watched(tracker, frames):
        tracked.append(len(frames))
        return track(tracker, frames)

    monkeypatch.setattr(FaceTracker, "track", watched)
    run(make(source, 25), make(driving, 25), mismatch_method="circle")
    assert sum(tracked) == source + driving


def test_none_holds_the_shorter_clips_last_frame(make):
    _, _, seen = run(make(7, 25), make(18, 25), mismatch_method="none")
    assert seen.sources == [min(k, 6) for k in range(18)]
    _, _, seen = run(make(18, 25), make(7, 25), mismatch_method="none")
    assert seen.driving == [min(k, 6) for k in range(18)]


def test_the_cap_counts_driving_frames(make):
    result, _, _ = run(make(18, 25), make(18, 25), video_frame_load_cap=5)
    assert result.frames == 5


def test_a_still_is_animated_at_the_driving_clips_rate(faces, make, tmp_path):
    from PIL import Image

    Image.fromarray(faces[0].numpy()).save(tmp_path / "still.png")
    result, frames, _ = run(tmp_path / "still.png", make(10, 30))
    assert (result.frames, result.rate, result.source_rate, result.audio_source) == (10, 30, None, None)
    assert frames.shape == (10, SIZE, SIZE, 3)


def test_a_driving_still_lasts_as_long_as_the_source(faces, make, tmp_path):
    from PIL import Image

    Image.fromarray(faces[0].numpy()).save(tmp_path / "still.png")
    result, _, seen = run(make(10, 30), tmp_path / "still.png")
    assert (result.frames, result.rate, result.driving_rate) == (10, 30, None)
    assert len(seen.driving) == 10
    assert len(set(seen.driving)) == 1


class White(Recorder):
    """Gives white frames."""

    def render(self, chunk, driving, masks=False):
        rendered = super().render(chunk, driving, masks)
        return replace(rendered, frames=torch.full_like(rendered.frames, 255))


UNBRIDGED = pytest.mark.parametrize(
    "without", [range(0, 4), range(7, 15), range(16, 20)], ids=["start", "middle", "end"]
)
"""Gaps that are longer than 0.2 s, or not between two frames with a face."""


@UNBRIDGED
def test_frames_without_the_source_face_pass_unchanged_and_shift_nothing(make, without):
    source = make(20, 25, without=without)
    result, frames, _ = run(source, make(20, 25), create_engine("draft"))
    decoded = torch.cat([chunk.frames for chunk in Clip(source).chunks()])
    assert result.frames_without_source_face == len(without)
    assert result.frames == 20
    same = {k for k in range(20) if torch.equal(frames[k], decoded[k])}
    assert set(without) <= same
    assert len(same) < 20


@UNBRIDGED
def test_frames_without_the_driving_face_show_the_source_and_shift_nothing(make, without):
    source = make(20, 25)
    result, frames, seen = run(source, make(20, 25, without=without), White())
    decoded = torch.cat([chunk.frames for chunk in Clip(source).chunks()])
    absent = [k for k in range(20) if torch.equal(frames[k], decoded[k])]
    assert absent == list(without)
    assert result.frames_without_driving_face == len(absent)
    assert seen.driving == seen.sources == [k for k in range(20) if k not in without]


def test_a_short_gap_in_the_driving_face_is_bridged_and_counted(make):
    result, _, seen = run(make(20, 25), make(20, 25, without=range(8, 12)))
    assert seen.sources == list(range(20))
    assert seen.driving == pytest.approx(range(20))  # a recorder's motion is the number of the frame
    assert result.frames_without_driving_face == 4


def test_a_short_gap_in_the_source_face_is_bridged_and_counted(make):
    result, _, seen = run(make(20, 25, without=range(8, 12)), make(20, 25))
    assert seen.sources == list(range(20))
    assert result.frames_without_source_face == 4


def test_a_bridged_source_face_lies_between_its_neighbours(make):
    class Tracks(Recorder):
        def render(self, chunk, driving, masks=False):
            landmarks.extend(chunk.landmarks)
            return super().render(chunk, driving, masks)

    landmarks: list[torch.Tensor] = []
    run(make(20, 25, without=(9,)), make(20, 25), Tracks())
    torch.testing.assert_close(landmarks[9], (landmarks[8] + landmarks[10]) / 2)


def test_a_gap_at_the_end_of_a_lap_is_not_bridged_to_the_next(make):
    result, _, seen = run(make(18, 25), make(9, 25, without=(8,)), mismatch_method="circle")
    assert [k for k in range(18) if k not in seen.sources] == [8, 17]
    assert result.frames_without_driving_face == 2


def test_the_animation_fades_out_before_a_long_gap_and_in_after_it(make):
    source, got = make(20, 25), []
    settings = AnimationSettings(video_frame_load_cap=0)
    driving = make(20, 25, without=range(7, 15))
    animate(source, driving, engine=White(), settings=settings, sink=got.append, masks=True)
    masks = torch.cat([rendered.mask for rendered in got])[:, 0, 0]
    # 0.1 s are 2.5 frames.
    wanted = [1.0] * 5 + [0.8, 0.4] + [0.0] * 8 + [0.4, 0.8] + [1.0] * 3
    assert masks.tolist() == pytest.approx(wanted)
    own = torch.cat([chunk.frames for chunk in Clip(source).chunks()])[6].float()
    frames = torch.cat([rendered.frames for rendered in got])
    assert (frames[6] - (own + 0.4 * (255 - own))).abs().max() <= 0.51


@pytest.mark.parametrize("which", ["source", "driving"])
def test_a_clip_without_any_face_is_an_error_that_names_the_parameter(make, tmp_path, which):
    clips = {"source": make(6, 25), "driving": make(6, 25), which: make(6, 25, without=range(6))}
    parameter = {"source": "input_face_index", "driving": "drive_face_index"}[which]
    with pytest.raises(FaceNotFoundError, match=f"of the {which} clip.*{parameter}"):
        run(**clips, output=tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_face_number_that_nobody_has_is_an_error(make):
    with pytest.raises(FaceNotFoundError, match=r"face 3 .*input_face_index"):
        run(make(6, 25), make(6, 25), input_face_index=3)


@pytest.mark.parametrize(
    ("driving_audio", "whose", "tone"), [(False, "source", 440), (True, "driving", 1000)]
)
def test_the_sound_is_the_chosen_clips_and_as_long_as_the_picture(make, tmp_path, driving_audio, whose, tone):
    output = tmp_path / "out.mp4"
    result, _, _ = run(make(20, 25, 440), make(15, 25, 1000), driving_audio=driving_audio, output=output)
    made = Clip(output)
    sound = made.audio(made.info.duration)
    assert result.audio_source == whose
    assert pitch(sound) == pytest.approx(tone, rel=0.01)
    assert made.info.duration == Fraction(15, 25)
    assert made.info.frame_count == 15


def test_a_silent_clip_makes_a_silent_result(make, tmp_path):
    result, _, _ = run(make(6, 25), make(6, 25, 1000), output=tmp_path / "out.mp4")
    assert result.audio is None
    assert Clip(tmp_path / "out.mp4").info.audio is None


def test_sound_is_repeated_with_the_picture_by_circle_and_ends_with_it_by_none(make, tmp_path):
    source, driving = make(10, 25, 440), make(20, 25)
    heard = {}
    for method in ("circle", "none"):
        run(source, driving, mismatch_method=method, output=tmp_path / f"{method}.mp4")
        heard[method] = Clip(tmp_path / f"{method}.mp4").audio(Fraction(3, 10), start=Fraction(1, 2)).samples
    assert heard["circle"].std() > 0.2
    assert heard["none"].std() < 0.01


@pytest.mark.parametrize("method", ["cut", "circle", "none"])
def test_the_sound_that_is_reported_is_exactly_as_long_as_the_result(make, method):
    result, _, _ = run(make(11, 25, 440), make(17, 30), mismatch_method=method)
    assert result.audio.samples.shape[1] == round(result.duration * result.audio.rate)
    assert pitch(result.audio) == pytest.approx(440, rel=0.05)


def test_a_silent_result_reports_no_sound(make):
    result, _, _ = run(make(6, 25), make(6, 25))
    assert result.audio is None


def test_the_file_has_the_frames_the_rate_and_the_size_that_are_reported(make, tmp_path):
    output = tmp_path / "out.mkv"
    result, _, _ = run(make(9, Fraction(24000, 1001)), make(20, 30), output=output)
    info = Clip(output).info
    assert (info.frame_count, info.rate, (info.width, info.height)) == (
        result.frames,
        result.rate,
        result.size,
    )
    assert result.rate == Fraction(24000, 1001)
    assert result.output == output


def test_the_report_can_be_written_as_json(make):
    result, _, _ = run(make(6, Fraction(30000, 1001)), make(6, 25))
    report = json.loads(json.dumps(result.to_dict()))
    assert report["rate"] == "30000/1001"
    assert report["frames"] == result.frames
    assert set(report["seconds"]) == {
        *("decode", "track", "render", "write", "copy", "total"),
        *("wait source", "wait driving", "wait sink"),
    }


class Late(Clip):
    """A clip whose first frames come half a second after `due` is set."""

    due: threading.Event

    def chunks(self, *arguments, **options):
        assert self.due.wait(60)
        time.sleep(0.5)
        yield from super().chunks(*arguments, **options)


def test_the_report_says_how_long_the_run_waited_for_the_source(make):
    late = Late(make(20, 25))
    late.due = threading.Event()

    class Waiting(Recorder):
        def source(self, chunks):
            late.due.set()
            yield from chunks

    assert animate(late, make(20, 25), engine=Waiting()).seconds["wait source"] > 0.3


def test_the_report_says_how_long_the_run_waited_for_the_driving_clip(make):
    late = Late(make(20, 25))
    late.due = threading.Event()

    class Waiting(Recorder):
        def source(self, chunks):
            for chunk in chunks:
                late.due.set()
                yield chunk

    assert animate(make(20, 25), late, engine=Waiting()).seconds["wait driving"] > 0.3


def test_the_report_says_how_long_the_run_waited_for_the_sinks(make, monkeypatch):
    put, puts, full = Behind.put, [], threading.Event()

    def counted(behind, item):
        puts.append(item)
        if len(puts) == 4:  # one with the sink, two waiting
            full.set()
        put(behind, item)

    def sink(rendered):
        if not full.is_set():
            assert full.wait(60)
            time.sleep(0.5)

    monkeypatch.setattr(Behind, "put", counted)
    result = animate(make(20, 25), make(20, 25), engine=Recorder(), sink=sink, chunk=4)
    assert result.seconds["wait sink"] > 0.3


def test_progress_counts_up_to_the_total(make):
    seen: list[Progress] = []
    animate(make(20, 25), make(20, 25), engine=Recorder(), on_progress=seen.append, chunk=8)
    assert [p.frames for p in seen] == [8, 16, 20]
    assert {p.total for p in seen} == {20}


def test_cancelling_leaves_no_file_and_no_thread(make, tmp_path):
    threads, calls = threading.active_count(), []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 1

    with pytest.raises(Cancelled, match="after 8 of 20 frames"):
        animate(make(20, 25), make(20, 25), engine=Recorder(), output=tmp_path / "out.mp4", cancelled=stop)
    assert list(tmp_path.iterdir()) == []
    assert none_more_than(threads)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_whatever_breaks_a_run_leaves_no_file_and_no_thread(make, tmp_path, error):
    class Broken(Recorder):
        def render(self, chunk, driving, masks=False):
            if self.sources:
                raise error("in the middle")
            return super().render(chunk, driving, masks)

    threads = threading.active_count()
    with pytest.raises(error):
        animate(make(20, 25), make(20, 25), engine=Broken(), output=tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
    assert none_more_than(threads)


def test_frames_and_masks_are_copied_to_the_host_once_for_all_sinks(make, tmp_path, monkeypatch):
    copied, written, got = [], [], []

    class Counted(HostCopies):
        def start(self, *tensors):
            copies = tuple(tensor.clone() for tensor in tensors)
            copied.append([copy.data_ptr() for copy in copies])
            return super().start(*copies)

    def write(writer, frames):
        written.append(frames.data_ptr())
        encode(writer, frames)

    encode = VideoWriter.write
    source, driving, output = make(20, 25), make(20, 25), tmp_path / "out.mp4"
    monkeypatch.setattr("liveportrait_v2v.run.HostCopies", Counted)
    monkeypatch.setattr(VideoWriter, "write", write)
    animate(source, driving, engine=Recorder(), sink=got.append, masks=True, output=output)
    assert [[part.frames.data_ptr(), part.mask.data_ptr()] for part in got] == copied
    assert [frames for frames, _ in copied] == written
    assert len(copied) == 3


class Unsettled(Recorder):
    """A recorder that hands out black frames, and finds the right ones when it is asked to settle them."""

    def render(self, chunk, driving, masks=False):
        rendered = super().render(chunk, driving, masks)
        return replace(rendered, frames=torch.zeros_like(rendered.frames), check=lambda: rendered.frames)


@pytest.mark.parametrize("without", [(), range(5, 8)])
def test_sinks_and_files_show_settled_frames(make, tmp_path, without):
    source, driving = make(20, 25), make(20, 25, without=without)
    _, expected, _ = run(source, driving)
    _, frames, _ = run(source, driving, Unsettled(), output=tmp_path / "out.mp4")
    assert torch.equal(frames, expected)
    assert code(next(Clip(tmp_path / "out.mp4").chunks(20)).frames[15]) == 15


def test_a_role_draws_over_settled_frames(make, make_two):
    frames = []
    for engine in (Recorder(), Unsettled()):
        got = []
        whole = AnimationSettings(video_frame_load_cap=0)
        roles = [Role(Clip(make(20, 25)), whole, source_face=face) for face in range(2)]
        run_plan(make_plan(make_two(20, 25), roles), engine=engine, sink=got.append)
        frames.append(torch.cat([rendered.frames for rendered in got]))
    assert torch.equal(*frames)


def test_an_error_of_the_sink_ends_the_run(make, tmp_path):
    def full(frames):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        animate(make(20, 25), make(20, 25), engine=Recorder(), output=tmp_path / "out.mp4", sink=full)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_stays_when_a_run_is_stopped(make, tmp_path):
    output = tmp_path / "out.mp4"
    output.write_bytes(b"earlier")
    with pytest.raises(Cancelled):
        animate(make(6, 25), make(6, 25), engine=Recorder(), output=output, cancelled=lambda: True)
    assert output.read_bytes() == b"earlier"


class Surveyor(Recorder):
    """Takes this many chunks of the driving clip before the run."""

    def __init__(self, chunks: int) -> None:
        super().__init__()
        self.wanted, self.surveyed = chunks, []

    def survey(self, chunks):
        for chunk, _ in zip(chunks, range(self.wanted), strict=False):
            self.surveyed += [code(frame) for frame in chunk.frames]


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
    result, _, seen = run(make(20, 25), speaks_first, Options(), options=MotionOptions(reference_frame=AUTO))
    number = seen.options.reference_frame
    frames = speaks_first.output_count()
    assert result.notes == (
        f"reference_frame auto: took driving frame {number}, the most neutral of {frames}",
    )
    found = FaceTracker(only=0).track(torch.cat([chunk.frames for chunk in speaks_first.chunks()]))
    away = deviations(measures(*found.face(0)))
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


@pytest.mark.parametrize(("chunks", "frames"), [(0, 0), (1, 8), (100, 20)])
def test_an_engine_sees_the_driving_clip_before_the_run_as_far_as_it_wants(make, chunks, frames):
    _, _, seen = run(make(20, 25), make(20, 25), Surveyor(chunks))
    assert seen.surveyed[:frames] == list(range(frames))
    assert seen.driving == list(range(20))


def test_what_an_engine_does_not_look_at_is_not_decoded_on(make):
    ended = []

    class Once(Surveyor):
        def source(self, chunks):
            ended_by_now.append(len(ended))
            return super().source(chunks)

    ended_by_now: list[int] = []
    animate(make(40, 25), clip_that_notes_its_end(ended)(make(40, 25)), engine=Once(1))
    assert ended_by_now == [1]
    assert len(ended) == 2


def test_a_run_can_be_cancelled_while_an_engine_looks_at_the_driving_clip(make, tmp_path):
    threads = threading.active_count()
    answers = iter((False, False))
    with pytest.raises(Cancelled, match="looking at the driving clip"):
        animate(
            make(20, 25),
            make(20, 25),
            engine=Surveyor(100),
            output=tmp_path / "o.mp4",
            cancelled=lambda: next(answers, True),
        )
    assert list(tmp_path.iterdir()) == []
    assert none_more_than(threads)


def test_a_clip_that_cannot_be_read_is_an_error_before_anything_is_written(make, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad.mp4"):
        run(tmp_path / "bad.mp4", make(6, 25), output=tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.mp4"]


def test_no_more_than_a_few_chunks_are_alive_however_long_the_clip(make):
    _, _, seen = run(make(200, 25), make(12, 25), mismatch_method="circle")
    assert len(seen.sources) == 200
    assert max(seen.alive) <= 6


def test_the_draft_engine_writes_a_video_in_which_the_face_moves(make, faces, tmp_path):
    from PIL import Image

    Image.fromarray(faces[0].numpy()).save(tmp_path / "still.png")
    output = tmp_path / "out.mp4"
    run(tmp_path / "still.png", make(12, 25), create_engine("draft"), output=output, driving_audio=True)
    frames = torch.cat([chunk.frames for chunk in Clip(output).chunks()])
    assert len(frames) == 12
    assert (frames[9].int() - frames[0].int()).abs().amax(-1).float().quantile(0.95) > 8


class Half(Recorder):
    """Draws a number over the left or the right half of the frame: the role's `dsize` says which."""

    def session(self, settings, options, source_rate, driving_rate):
        session = Half()
        session.left = settings.dsize == 64
        return session

    def render(self, chunk: TrackedChunk, driving: torch.Tensor, masks: bool = False) -> RenderedFrames:
        rendered = super().render(chunk, driving, masks)
        half = slice(0, SIZE) if self.left else slice(SIZE, 2 * SIZE)
        frames = chunk.frames.clone()
        frames[:, 20:, half] = driving.to(torch.uint8).view(-1, 1, 1, 1)
        mask = torch.zeros(frames.shape[:3])
        mask[:, 20:, half] = 1
        return RenderedFrames(frames, mask if masks else None, rendered.squares)


class Counted(Clip):
    """A clip that counts the passes through it."""

    passes = 0

    def chunks(self, *arguments, **options):
        self.passes += 1
        yield from super().chunks(*arguments, **options)


def halves(*driving: Clip, **values) -> list[Role]:
    """A role for each half of a clip with two faces."""
    return [
        Role(clip, AnimationSettings(dsize=size, video_frame_load_cap=0, **values), source_face=face)
        for face, (clip, size) in enumerate(zip(driving, (64, 512), strict=True))
    ]


def shown(got: list[RenderedFrames]) -> list[list[int]]:
    """What `Half` drew into the left and the right half."""
    frames = torch.cat([rendered.frames for rendered in got])
    return [frames[:, 100, SIZE * k + 50, 0].tolist() for k in range(2)]


def test_roles_are_chained_over_one_pass_of_the_source(make, make_two):
    source, got = make_two(20, 25), []
    source.__class__ = Counted
    roles = halves(Clip(make(20, 25)), Clip(make(20, 50)))
    result = animate(source, roles=roles, engine=Half(), sink=got.append, masks=True)
    assert result.frames == 10
    assert source.passes == 1
    assert shown(got) == [list(range(10)), list(range(0, 20, 2))]
    mask = torch.cat([rendered.mask for rendered in got])
    assert mask[:, 20:].min() == 1
    assert mask[:, :20].max() == 0
    assert [len(square) for square in got[0].squares] == [8, 8]


@pytest.mark.parametrize(("method", "frames"), [("cut", 7), ("circle", 20)])
def test_roles_with_the_same_driving_clip_decode_and_track_it_once(
    make, make_two, monkeypatch, method, frames
):
    tracked, track = [], FaceTracker.track
    monkeypatch.setattr(
        FaceTracker, "track", lambda tracker, chunk: tracked.append(len(chunk)) or track(tracker, chunk)
    )
    driving, got = Counted(make(7, 25)), []
    roles = halves(driving, driving, mismatch_method=method)
    result = animate(make_two(20, 25), roles=roles, engine=Half(), sink=got.append)
    assert driving.passes == math.ceil(frames / 7)
    assert sum(tracked) == 7 + frames
    assert result.frames == frames
    assert shown(got) == [[k % 7 for k in range(frames)]] * 2


def test_roles_that_share_a_driving_clip_end_each_pass_together_whatever_they_look_ahead(make, make_two):
    class Lagging(Half):
        def motions(self, chunks):
            motions = super().motions(chunks)
            yield from list(motions) if self.left else motions

        def session(self, *arguments):
            session = Lagging()
            session.left = arguments[0].dsize == 64
            return session

    for sides in ((64, 512), (512, 64)):
        driving, got = Clip(make(18, 50)), []
        roles = [
            Role(
                driving,
                AnimationSettings(dsize=side, video_frame_load_cap=0, mismatch_method="circle"),
                source_face=k,
            )
            for k, side in enumerate(sides)
        ]
        animate(make_two(20, 25), roles=roles, engine=Lagging(), sink=got.append)
        assert shown(got) == [[2 * k % 18 for k in range(20)]] * 2


def test_a_role_for_all_faces_animates_each_of_them_by_one_reading_of_the_driving_clip(make, make_two):
    read = []

    class All(Recorder):
        def motions(self, chunks):
            for motion in super().motions(chunks):
                read.append(motion)
                yield motion

    engine, got = All(), []
    role = Role(Clip(make(20, 25)), AnimationSettings(video_frame_load_cap=0), source_face="all")
    result = animate(make_two(20, 25), roles=[role], engine=engine, sink=got.append)
    assert engine.driving == [
        k for start in (0, 8, 16) for _ in range(2) for k in range(start, min(start + 8, 20))
    ]
    assert len(read) == 20
    sides = torch.stack([square.side for square in got[0].squares])
    assert (sides > 0).tolist() == [[True] * 8] * 2 + [[False] * 8] * 4
    assert (result.frames_without_source_face, result.frames_without_driving_face) == (0, 0)


def test_a_role_for_all_faces_needs_one_that_is_found(make):
    role = Role(Clip(make(6, 25)), source_face="all")
    with pytest.raises(FaceNotFoundError, match="no face was found in the frames read of the source clip"):
        animate(make(6, 25, without=range(6)), roles=[role], engine=Recorder())


@pytest.mark.parametrize(
    ("face", "driver"), [({"source_face": 4}, "source_face"), ({"drive_face": 4}, "drive_face")]
)
def test_a_face_that_nobody_has_is_an_error_that_names_the_role(make, make_two, face, driver):
    path = make(6, 25)
    roles = [Role(Clip(path)), Role(Clip(path), **{"source_face": 1, **face})]
    with pytest.raises(FaceNotFoundError, match=rf"^role 2 \({path.name}\): face 4 .* set {driver}$"):
        animate(make_two(6, 25), roles=roles, engine=Recorder())


def test_an_option_that_an_engine_does_not_support_is_refused_by_the_name_of_the_role(make):
    path = make(6, 25)
    roles = [
        Role(Clip(path)),
        Role(Clip(path), options=MotionOptions(source_eye_retargeting=True), source_face=1),
    ]
    with pytest.raises(SettingsError, match=rf"^role 2 \({path.name}\): source_eye_retargeting must be"):
        animate(path, roles=roles, engine=create_engine("draft"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "got neither; give one of them"),
        ({"driving": "x.mp4", "roles": []}, "got both; give one of them"),
        ({"roles": [], "settings": AnimationSettings()}, "beside roles; give them to Role"),
        ({"roles": []}, "needs one role at least"),
    ],
)
def test_animate_takes_one_driving_clip_or_roles(make, arguments, message):
    with pytest.raises(SettingsError, match=message):
        animate(make(6, 25), engine=Recorder(), **arguments)


def test_one_role_is_what_a_driving_clip_alone_is(make):
    settings = AnimationSettings(dsize=128)
    results = []
    for arguments in (
        {"driving": make(12, 25), "settings": settings},
        {"roles": [Role(Clip(make(12, 25)), settings)]},
    ):
        got = []
        animate(make(12, 25), engine=create_engine("draft"), sink=got.append, **arguments)
        results.append(torch.cat([rendered.frames for rendered in got]))
    assert torch.equal(*results)


class LedNetworks(MadeNetworks):
    """Networks whose pictures are brighter or darker as the keypoints of the driving face are."""

    def render(self, volume, kp_source, kp_driving):
        change = (kp_driving - kp_source).abs().mean(dim=(1, 2)).view(-1, 1, 1, 1)
        return super().render(volume, kp_source, kp_driving) * (1 - 4 * change).clamp(min=0)


@pytest.fixture(params=["draft", "liveportrait"])
def local_engine(request):
    """Each local engine; LivePortrait's has made networks."""
    return create_engine("draft") if request.param == "draft" else LivePortraitEngine(LedNetworks())


def both_and_each(source: Clip, drivings: tuple[Clip, Clip], engine, **settings) -> list[torch.Tensor]:
    """The result of two roles, and of each alone; int32 [N, H, W, 3]."""
    values, order = AnimationSettings(dsize=128, scale=1, **settings), MotionOptions(face_order="left-right")
    roles = [Role(driving, values, order, source_face=face) for face, driving in enumerate(drivings)]
    results = []
    for chosen in (roles, roles[:1], roles[1:]):
        got = []
        animate(source, roles=chosen, engine=engine, sink=got.append)
        results.append(torch.cat([rendered.frames for rendered in got]).int())
    return results


def check_halves(both: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Check that each half is as in a run of its own, in which the other one stays as it is."""
    # Faces that are tracked together differ in their last digits from one that is tracked alone.
    assert (both[:, :, :SIZE] - left[:, :, :SIZE]).abs().max() <= 2
    assert (both[:, :, SIZE:] - right[:, :, SIZE:]).abs().max() <= 2
    assert (left - right)[:, :, :SIZE].abs().max() > 20
    assert (left - right)[:, :, SIZE:].abs().max() > 20


def test_each_face_is_animated_as_in_a_run_of_its_own(make, faces, make_two, local_engine):
    drivings = Clip(make(3, 25)), Clip(Frames(faces[[0, 11, 5]], Fraction(25)))
    check_halves(*both_and_each(make_two(3, 25), drivings, local_engine))


def test_networks_with_random_weights_animate_each_face_as_in_a_run_of_its_own(make, faces, make_two):
    drivings = Clip(make(3, 25)), Clip(Frames(faces[[7, 11]], Fraction(25)))
    engine = create_engine("liveportrait", random_weights=1)
    check_halves(*both_and_each(make_two(1, 25), drivings, engine, relative=False))


def test_all_faces_with_one_driver_are_animated_as_by_a_role_each(make, make_two, local_engine):
    driving, settings = Clip(make(3, 25)), AnimationSettings(dsize=128)
    each = [Role(driving, settings, source_face=face) for face in range(2)]
    results = []
    for roles in ([Role(driving, settings, source_face="all")], each):
        got = []
        animate(make_two(3, 25), roles=roles, engine=local_engine, sink=got.append)
        results.append(torch.cat([rendered.frames for rendered in got]))
    assert torch.equal(*results)


def test_masks_are_given_only_where_asked_for(make):
    for masks in (False, True):
        got = []
        animate(make(20, 25), make(20, 25), engine=Recorder(), sink=got.append, masks=masks)
        assert {rendered.mask is not None for rendered in got} == {masks}


@pytest.mark.parametrize(
    ("option", "value"), [("driving_option", "expression-friendly"), ("source_eye_retargeting", True)]
)
def test_an_option_that_an_engine_does_not_support_is_refused_by_name(make, tmp_path, option, value):
    options = MotionOptions(**{option: value})
    with pytest.raises(SettingsError, match=f"{option} must be .* for the draft engine"):
        run(make(6, 25), make(6, 25), create_engine("draft"), options=options, output=tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["draft", "liveportrait"])
def test_the_mask_covers_every_pixel_that_changed(make, kind):
    engine = create_engine(kind, **({} if kind == "draft" else {"random_weights": 1}))
    source, got = make(6, 25, without=(0,)), []
    animate(source, make(6, 25), engine=engine, sink=got.append, masks=True)
    decoded = torch.cat([chunk.frames for chunk in Clip(source).chunks()])
    frames, mask = torch.cat([r.frames for r in got]), torch.cat([r.mask for r in got])
    changed = (frames != decoded).any(-1)
    assert changed.any()
    assert not (changed & (mask == 0)).any()
    assert mask[0].max() == 0
    assert mask.amax() == 1


def lost_in_source(seen: Recorder, count: int) -> str:
    """Return the span of the frames, of so many, that were not rendered."""
    lost = [k for k in range(count) if k not in seen.sources]
    assert lost == list(range(lost[0], lost[-1] + 1))
    return f"{lost[0]}-{lost[-1]}"


def test_the_result_has_the_faces_that_were_taken_and_where_they_were_lost(make):
    result, _, seen = run(make(12, 25, without=range(5, 7)), make(12, 25))
    source, driving = result.faces
    assert str(source).startswith("source face 0: ")
    assert (driving.clip, driving.first.number, driving.first.frame) == ("driving", 0, 0)
    _, top, _, bottom = source.first.box
    assert SIZE / 2 < bottom - top < SIZE
    assert result.notes == (f"source face 0 is lost in frame {lost_in_source(seen, 12)}",)
    assert result.to_dict()["faces"][0] == {"clip": "source", **source.first.to_dict()}


def test_what_circle_repeats_is_noted_once(make):
    result, _, seen = run(make(12, 25, without=range(5, 7)), make(20, 25), mismatch_method="circle")
    assert result.frames == 20
    assert result.notes == (f"source face 0 is lost in frame {lost_in_source(seen, 12)}",)
