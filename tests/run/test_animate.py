"""The flow of a run, on real faces: frames, times, sound, and stopping."""

from __future__ import annotations

import json
import threading
import time
from fractions import Fraction

import pytest
import torch
from made_networks import MadeNetworks
from recording_engine import SIZE, Recorder, Unsettled, code, none_more_than, run
from watched_clip import clip_that_notes_its_end

from liveportrait_v2v.concurrency import Behind, HostCopies
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import Cancelled, MediaError, SettingsError
from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.media import Audio, Clip, VideoWriter
from liveportrait_v2v.run import Progress, animate
from liveportrait_v2v.settings import MotionOptions

pytestmark = pytest.mark.slow


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
    assert result.audio.count == round(result.duration * result.audio.rate)
    assert pitch(result.audio.read()) == pytest.approx(440, rel=0.05)


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


@pytest.mark.parametrize("without", [(), range(5, 8)])
def test_sinks_and_files_show_settled_frames(make, tmp_path, without):
    source, driving = make(20, 25), make(20, 25, without=without)
    _, expected, _ = run(source, driving)
    _, frames, _ = run(source, driving, Unsettled(), output=tmp_path / "out.mp4")
    assert torch.equal(frames, expected)
    assert code(next(Clip(tmp_path / "out.mp4").chunks(20)).frames[15]) == 15


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
    _, _, seen = run(make(100, 25), make(12, 25), mismatch_method="circle")
    assert len(seen.sources) == 100
    assert max(seen.alive) <= 6


def test_the_draft_engine_writes_a_video_in_which_the_face_moves(make, faces, tmp_path):
    from PIL import Image

    Image.fromarray(faces[0].numpy()).save(tmp_path / "still.png")
    output = tmp_path / "out.mp4"
    run(tmp_path / "still.png", make(12, 25), create_engine("draft"), output=output, driving_audio=True)
    frames = torch.cat([chunk.frames for chunk in Clip(output).chunks()])
    assert len(frames) == 12
    assert (frames[9].int() - frames[0].int()).abs().amax(-1).float().quantile(0.95) > 8


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


class Noise(MadeNetworks):
    """Networks whose picture differs from the source at every pixel."""

    def render(self, volume, kp_source, kp_driving):
        return 1 - super().render(volume, kp_source, kp_driving).round()


@pytest.mark.parametrize("kind", ["draft", "liveportrait"])
def test_the_mask_covers_every_pixel_that_changed(make, kind):
    engine = create_engine("draft") if kind == "draft" else LivePortraitEngine(Noise())
    source, got = make(6, 25, without=(0,)), []
    animate(source, make(6, 25), engine=engine, sink=got.append, masks=True)
    decoded = torch.cat([chunk.frames for chunk in Clip(source).chunks()])
    frames, mask = torch.cat([r.frames for r in got]), torch.cat([r.mask for r in got])
    changed = (frames != decoded).any(-1)
    assert changed.any()
    assert not (changed & (mask == 0)).any()
    assert mask[0].max() == 0
    assert mask.amax() == 1
