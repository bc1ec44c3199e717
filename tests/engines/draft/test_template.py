"""Motion templates of the draft engine: a clip's landmarks lead as the clip does."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft.template import DraftTemplate
from liveportrait_v2v.errors import SettingsError, TemplateError
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.run import Result, animate
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.templates import note_of_length, read_template, record_template, write_template

RATE = Fraction(25)
COUNT = 12


@pytest.fixture(scope="module")
def driving(clips) -> torch.Tensor:
    """Frames of a talking head, uint8 [COUNT, H, W, 3]."""
    parts = [chunk.frames for chunk in Clip(clips["jwp_intro"]).chunks(8, cap=COUNT)]
    return torch.cat(parts)


@pytest.fixture(scope="module")
def source(clips) -> Clip:
    """Frames of another face, more than the driving clip has."""
    frames = torch.cat([chunk.frames for chunk in Clip(clips["single_face"]).chunks(8, cap=16)])
    return Clip(Frames(frames[:, 50:290, 200:440].contiguous(), RATE))


@pytest.fixture(scope="module")
def recorded(driving) -> DraftTemplate:
    return record_template(Clip(Frames(driving, RATE)), create_engine("draft"))


def result_of(source, driving, settings=None, **options) -> tuple[torch.Tensor, Result]:
    got = []
    result = animate(
        source,
        driving,
        engine=create_engine("draft"),
        settings=settings,
        options=MotionOptions(**options),
        sink=got.append,
    )
    return torch.cat([part.frames for part in got]), result


@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        ({}, {}),
        ({"mismatch_method": "circle"}, {"reference_frame": 3}),
        ({"mismatch_method": "none"}, {"reference_frame": -1, "smoothing": 0.0}),
    ],
)
def test_a_template_gives_the_pixels_that_its_clip_gives(source, driving, recorded, tmp_path, kinds, options):
    write_template(tmp_path / "t.safetensors", recorded)
    settings = AnimationSettings(**kinds)
    by_clip, first = result_of(source, Clip(Frames(driving, RATE)), settings, **options)
    by_file, second = result_of(source, read_template(tmp_path / "t.safetensors"), settings, **options)
    assert torch.equal(by_clip, by_file)
    assert (first.rate, first.driving_rate) == (second.rate, second.driving_rate)
    assert first.notes == second.notes


def test_a_run_over_fewer_frames_than_were_recorded_hardly_differs(source, driving, recorded):
    """The tracker's last digits depend on where chunks end, and a run that reads fewer frames ends one earlier."""
    five = AnimationSettings(video_frame_load_cap=5)
    clip = Clip(Frames(driving, RATE))
    by_clip, _ = result_of(source, clip, five, reference_frame=3)
    by_file, _ = result_of(source, recorded, five, reference_frame=3)
    difference = (by_clip.int() - by_file.int()).abs()
    assert difference.float().mean() < 0.05
    assert (difference > 8).float().mean() < 1e-5
    by_its_own, _ = result_of(
        source, record_template(clip, create_engine("draft"), five), five, reference_frame=3
    )
    assert torch.equal(by_clip, by_its_own)


def test_a_reference_behind_the_frames_that_lead_is_taken_from_a_template_too(source, driving, recorded):
    short = Clip(Frames(next(source.chunks(4)).frames, RATE))
    by_clip, _ = result_of(short, Clip(Frames(driving, RATE)), reference_frame=9)
    by_file, _ = result_of(short, recorded, reference_frame=9)
    assert torch.equal(by_clip, by_file)
    assert not torch.equal(by_clip, result_of(short, recorded)[0])


def test_lost_frames_and_cuts_of_a_clip_are_those_of_its_template(source, driving, tmp_path):
    frames = driving.clone()
    frames[2] = 128
    frames[7:] = frames[7:].flip(2)
    clip = Clip(Frames(frames, RATE))
    write_template(tmp_path / "t.safetensors", record_template(clip, create_engine("draft")))
    template = read_template(tmp_path / "t.safetensors")
    assert template.present.tolist() == [k != 2 for k in range(COUNT)]
    assert template.begins[[0, 2, 7]].all()
    by_clip, first = result_of(source, clip)
    by_file, second = result_of(source, template)
    assert first.frames_without_driving_face == second.frames_without_driving_face == 1
    assert torch.equal(by_clip, by_file)


def test_a_still_source_takes_length_and_rate_of_a_template(source, recorded):
    still = Clip(Frames(next(source.chunks(1)).frames))
    frames, result = result_of(still, recorded)
    assert (len(frames), result.rate, result.audio_source) == (COUNT, RATE, None)


def test_a_template_of_one_frame_is_a_driving_still(source, driving, tmp_path):
    still = Clip(Frames(driving[:1]))
    of_still = record_template(still, create_engine("draft"))
    of_clip = record_template(
        Clip(Frames(driving, RATE)), create_engine("draft"), AnimationSettings(video_frame_load_cap=1)
    )
    assert of_clip.info.is_still
    expected, _ = result_of(source, still)
    assert len(expected) == 16
    for template in (of_still, of_clip):
        write_template(tmp_path / "t.safetensors", template)
        frames, result = result_of(source, read_template(tmp_path / "t.safetensors"))
        assert result.driving_rate is None
        assert torch.equal(frames, expected)


def test_a_template_of_fewer_frames_than_its_clip_is_noted(driving, recorded):
    clip = Clip(Frames(driving, RATE))
    short = record_template(clip, create_engine("draft"), AnimationSettings(video_frame_load_cap=5))
    assert note_of_length(clip, recorded) is None
    assert note_of_length(clip, short).startswith(
        f"the template has the first 5 of the clip's {COUNT} frames"
    )


def test_an_engine_without_the_draft_s_motion_refuses_it_and_says_which_has_it(source, recorded):
    from made_networks import MadeNetworks

    from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
    from liveportrait_v2v.engines.segmind import SegmindEngine

    for engine in (LivePortraitEngine(MadeNetworks()), SegmindEngine()):
        with pytest.raises(
            SettingsError,
            match=f"made it, draft, got the {engine.name} engine; take the draft engine, or give the driving clip",
        ):
            animate(source, recorded, engine=engine)


def test_a_reference_frame_that_a_template_lacks_is_refused(source, recorded):
    with pytest.raises(SettingsError, match=f"reference_frame .* got {COUNT} of {COUNT} frames"):
        result_of(source, recorded, reference_frame=COUNT)


def test_a_clip_without_the_face_makes_no_template(driving):
    clip, settings = Clip(Frames(driving[:3], RATE)), AnimationSettings(drive_face_index=2)
    with pytest.raises(TemplateError, match="face 2 is in none of the 3 frames read; set drive_face_index"):
        record_template(clip, create_engine("draft"), settings)


def spoilt(template: DraftTemplate, **tensors) -> DraftTemplate:
    class Spoilt(DraftTemplate):
        def tensors(self):
            return {**super().tensors(), **tensors}

    return Spoilt(template.landmarks, template.present, template.scenes, template.size, template.rate)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("landmarks", torch.full((COUNT, 479, 3), torch.nan), "a landmark in it lies far outside"),
        ("landmarks", torch.full((COUNT, 479, 3), 1e30), "a landmark in it lies far outside"),
        ("landmarks", torch.zeros(COUNT, 479, 3), "a face in it has no extent"),
        (
            "landmarks",
            torch.zeros(COUNT, 478, 3),
            r"landmarks has the shape \(\d+, 478, 3\).*record it again",
        ),
        ("scenes", torch.zeros(3), r"scenes has the shape \(3,\)"),
        ("present", torch.zeros(COUNT), "it shows no face"),
        ("size", torch.tensor([0, -5]), "frames of 0x-5 pixels"),
        ("size", torch.zeros(5), "too many values"),
    ],
)
def test_a_spoilt_file_is_refused_by_name(recorded, tmp_path, name, value, fault):
    write_template(tmp_path / "t.safetensors", spoilt(recorded, **{name: value}))
    with pytest.raises(TemplateError, match=rf"t\.safetensors: is no motion template: .*{fault}"):
        read_template(tmp_path / "t.safetensors")


@pytest.mark.parametrize("rate", ["1e999999999", "25/0", "nan", "-25", "100000", "still"])
def test_a_rate_that_is_none_is_refused_at_once(recorded, tmp_path, rate):
    from safetensors.torch import save_file

    from liveportrait_v2v.templates import FORMAT

    about = {"format": FORMAT, "engine": "draft", "rate": rate}
    save_file(recorded.tensors(), tmp_path / "t.safetensors", about)
    with pytest.raises(TemplateError, match=r"t\.safetensors: is no motion template"):
        read_template(tmp_path / "t.safetensors")


def test_a_template_of_an_engine_that_is_not_known_is_refused(recorded, tmp_path):
    write_template(tmp_path / "t.safetensors", replace(recorded))
    data = (tmp_path / "t.safetensors").read_bytes().replace(b'"draft"', b'"other"')
    (tmp_path / "t.safetensors").write_bytes(data)
    with pytest.raises(TemplateError, match="its engine is 'other'; known are draft, liveportrait"):
        read_template(tmp_path / "t.safetensors")
