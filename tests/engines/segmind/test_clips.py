"""Uploaded clips and results: frames, rate, size and audio equal those of a local engine."""

from __future__ import annotations

import base64
import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from faulty_server import Answer
from PIL import Image
from shades import make_clip, numbers_of

from liveportrait_v2v.engines.segmind.conform import max_result_pixels
from liveportrait_v2v.media import Audio, Clip
from liveportrait_v2v.plan.pairing import pair
from liveportrait_v2v.settings import AnimationSettings, MotionOptions


def tone(seconds: float, hertz: float = 440.0) -> Audio:
    times = torch.arange(int(48000 * seconds)) / 48000
    return Audio((0.5 * torch.sin(2 * torch.pi * hertz * times)).unsqueeze(0), 48000)


def pitch(audio: Audio) -> float:
    spectrum = torch.fft.rfft(audio.samples[0]).abs()
    return (spectrum.argmax() * audio.rate / audio.samples.shape[1]).item()


def uploaded(server, number: int, folder: Path) -> Clip:
    """Return an upload, counted from 1, as the server received it."""
    (data,) = json.loads(server.uploads[f"/upload-{number}.mp4"])["data_urls"]
    head, _, text = data.partition(",")
    assert head == "data:video/mp4;base64"
    path = folder / f"got{number}.mp4"
    path.write_bytes(base64.b64decode(text, validate=True))
    return Clip(path)


def test_a_run_uploads_orders_waits_and_saves(bench, server):
    outcome = bench.run()
    assert outcome.error is None, outcome.error
    assert Clip(bench.output).info.frame_count == 6
    assert (server.billed, bench.job.state) == (1, "SAVED")


TIMINGS = {
    "same": ((6, 25), (6, 25), {}, "time"),
    "shorter source": ((4, 25), (9, 25), {}, "time"),
    "shorter driving": ((9, 25), (4, 25), {}, "time"),
    "driving twice as fast": ((6, 25), (12, 50), {}, "time"),
    "driving half as fast": ((6, 25), (3, Fraction(25, 2)), {}, "time"),
    "odd rates": ((9, 24), (8, Fraction(30000, 1001)), {}, "time"),
    "by frame": ((6, 25), (12, 50), {}, "frame"),
    "capped": ((9, 25), (12, 50), {"video_frame_load_cap": 4}, "time"),
    "circle": ((3, 25), (8, 25), {"mismatch_method": "circle"}, "time"),
    "circle of the driving clip": ((8, 25), (3, 25), {"mismatch_method": "circle"}, "time"),
    "none": ((3, 25), (8, 25), {"mismatch_method": "none"}, "time"),
    "none of the driving clip": ((8, 25), (3, 25), {"mismatch_method": "none"}, "time"),
}


@pytest.mark.parametrize("name", TIMINGS)
def test_both_clips_go_up_frame_for_frame_as_the_result_shows_them(bench, server, name):
    (frames, rate), (driving_frames, driving_rate), settings, how = TIMINGS[name]
    bench.source = make_clip(bench.folder / "a.mp4", frames, rate)
    bench.driving = make_clip(bench.folder / "b.mp4", driving_frames, driving_rate, shade=16)
    given = {"settings": AnimationSettings(**settings), "options": MotionOptions(pairing=how)}
    pairing = pair(Clip(bench.source).info, Clip(bench.driving).info, *given.values())
    outcome = bench.run(given=given)
    assert outcome.error is None, outcome.error
    source, driving = (uploaded(server, number, bench.folder) for number in (1, 2))
    assert source.info.rate == driving.info.rate == pairing.rate
    assert numbers_of(source) == [pairing.source_at(k)[1] for k in range(pairing.frames)]
    places = [pairing.driving_at(k)[1] for k in range(pairing.frames)]
    assert all(abs(got - place) <= 0.5 for got, place in zip(numbers_of(driving, 16), places, strict=True))
    info = Clip(bench.output).info
    assert (
        (info.frame_count, info.rate)
        == (outcome.result.frames, outcome.result.rate)
        == (pairing.frames, pairing.rate)
    )
    assert json.loads(json.dumps(outcome.result.to_dict()))["job"]["request_id"] == "job-1"


def test_an_mp4_that_fits_already_goes_up_untouched(bench, server):
    assert bench.run().error is None
    for number, path in enumerate((bench.source, bench.driving), 1):
        (data,) = json.loads(server.uploads[f"/upload-{number}.mp4"])["data_urls"]
        assert base64.b64decode(data.partition(",")[2]) == path.read_bytes()


def test_a_trimmed_clip_goes_up_trimmed(bench, server):
    trimmed = Clip(bench.source, start=Fraction(2, 25), duration=Fraction(3, 25))
    assert bench.run(given={"source": trimmed}).error is None
    assert numbers_of(uploaded(server, 1, bench.folder)) == [2, 3, 4]
    assert bench.run(given={"source": Clip(bench.source, start=Fraction(1, 25))}).error is None
    assert server.billed == 2


def test_a_clip_from_memory_goes_up(bench, server):
    with bench.source.open("rb") as file:
        assert bench.run(given={"source": Clip(file)}).error is None
    assert numbers_of(uploaded(server, 1, bench.folder)) == list(range(6))


@pytest.mark.parametrize("which", ["source", "driving"])
def test_a_still_goes_up_as_a_clip_as_long_as_the_other(bench, server, which):
    Image.new("RGB", (64, 48), (80, 80, 80)).save(bench.folder / "still.png")
    outcome = bench.run(given={which: bench.folder / "still.png"})
    assert outcome.error is None, outcome.error
    clips = [uploaded(server, number, bench.folder).info for number in (1, 2)]
    assert [(info.frame_count, info.rate) for info in clips] == [(6, 25), (6, 25)]


def test_two_stills_make_one_frame(bench, server):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48), (80, 80, 80)).save(bench.folder / name)
    outcome = bench.run(given={"source": bench.folder / "a.png", "driving": bench.folder / "b.png"})
    assert outcome.error is None
    assert outcome.result.frames == 1
    assert uploaded(server, 1, bench.folder).info.frame_count == 1


@pytest.mark.parametrize(("driving_audio", "hertz"), [(False, 440), (True, 1000)])
def test_the_audio_is_that_of_the_chosen_clip_whatever_the_model_returns(bench, server, driving_audio, hertz):
    bench.source = make_clip(bench.folder / "a.mp4", 20, audio=tone(0.8))
    bench.driving = make_clip(bench.folder / "b.mp4", 15, audio=tone(0.6, 1000))
    outcome = bench.run(given={"settings": AnimationSettings(driving_audio=driving_audio)})
    made = Clip(bench.output)
    assert outcome.result.audio_source == ("driving" if driving_audio else "source")
    assert made.info.frame_count == 15
    assert pitch(made.audio(made.info.duration)) == pytest.approx(hertz, rel=0.02)
    assert server.jobs["job-1"]["driving_audio"] is driving_audio


def test_no_audio_is_requested_if_no_clip_has_any(bench, server):
    assert bench.run(given={"settings": AnimationSettings(driving_audio=True)}).error is None
    assert server.jobs["job-1"]["driving_audio"] is False
    assert Clip(bench.output).info.audio is None


def test_an_odd_size_comes_back_as_it_is(bench, server):
    Image.new("RGB", (63, 47), (80, 80, 80)).save(bench.folder / "odd.png")
    shapes = []
    outcome = bench.run(
        given={
            "source": bench.folder / "odd.png",
            "sink": lambda rendered: shapes.append(rendered.frames.shape),
        }
    )
    assert outcome.error is None
    assert outcome.result.size == (63, 47)
    assert outcome.result.notes == ("frames of 63x47 become 64x48 in the file: its sides are even",)
    assert {tuple(shape[1:]) for shape in shapes} == {(47, 63, 3)}


@pytest.mark.parametrize(
    ("source", "largest"),
    [((640, 360), (3840, 2160)), ((1920, 1080), (3840, 2160)), ((3840, 2160), (7680, 4320))],
)
def test_a_result_may_have_four_times_the_pixels_of_its_source_or_those_of_4k(source, largest):
    assert max_result_pixels(source) == largest[0] * largest[1]


def test_a_sink_gets_the_frames_without_a_file(bench):
    got = []
    outcome = bench.run(given={"output": None, "sink": got.append, "chunk": 4})
    assert outcome.result.output is None
    assert [len(frames) for frames in got] == [4, 2]
    assert (
        round(torch.cat([rendered.frames for rendered in got])[:, 0, 0, 0].float().diff().mean().item()) == 8
    )


def test_a_public_url_goes_out_untouched_and_is_not_uploaded(bench, server):
    url = f"{server.files}/driving.mp4?signature=1"
    server.script["file"] = [Answer(200, bench.driving.read_bytes())]
    outcome = bench.run(given={"driving": url})
    assert outcome.error is None, outcome.error
    payload = server.jobs["job-1"]
    assert payload["driving_video"] == url
    assert len(server.uploads) == 1
    assert payload["video_frame_load_cap"] == 120
    server.script["file"] = [Answer(200, bench.driving.read_bytes())]
    assert bench.run(given={"driving": url}).error is None
    assert server.billed == 1


def test_a_driving_url_of_another_rate_is_refused_unless_it_is_paired_by_frame(bench, server):
    made = make_clip(bench.folder / "fast.mp4", 12, 50).read_bytes()
    server.script["file"] = [Answer(200, made), Answer(200, made)]
    url = f"{server.files}/fast.mp4"
    assert "pairing must be 'frame'" in bench.run(given={"driving": url}).message
    assert server.count("submit") == len(server.uploads) == 0
    outcome = bench.run(given={"driving": url, "options": MotionOptions(pairing="frame")})
    assert outcome.error is None, outcome.error


@pytest.mark.parametrize(
    "url", ["https://10.0.0.8/a.mp4", "http://files.example/a.mp4", "https://u:p@files.example/a"]
)
def test_an_input_url_against_the_rules_is_refused_before_anything_is_sent(bench, server, url):
    outcome = bench.run(given={"source": url})
    assert outcome.error is not None
    assert server.requests == []


def test_an_input_url_without_a_video_is_refused_and_leaves_no_file(bench, server, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(bench.folder / "temporary"))
    (bench.folder / "temporary").mkdir()
    server.script["file"] = [Answer(200, b"<html>login</html>")]
    assert "not a video" in bench.run(given={"source": f"{server.files}/a.mp4"}).message
    assert server.count("submit") == 0
    assert list((bench.folder / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"region": "lip"}, {"driving_multiplier": 2.0}, {"smoothing": 0.0}, {"source_motion": "add"},
                {"face_order": "left-right"}]
)  # fmt: skip
def test_what_only_local_engines_can_do_is_refused_by_name(bench, server, options):
    outcome = bench.run(given={"options": MotionOptions(**options)})
    assert f"{next(iter(options))} must be" in outcome.message
    assert server.requests == []
