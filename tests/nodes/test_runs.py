"""The nodes at work inside a stand-in of ComfyUI, on real clips."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import os
import re
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import standin_comfyui as standin
import torch
from standin_comfyui import InterruptProcessingException, VideoFromFile

from liveportrait_v2v.media import Clip
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

LOAD = {
    "frame_load_cap": 0,
    "skip_first_frames": 0,
    "select_every_nth": 1,
    "force_rate": 0.0,
    "max_side": 0,
}


@pytest.fixture
def quick(nodes):
    """Settings that make a run short."""
    values = {item.id: item.default for item in nodes.Settings.GET_SCHEMA().inputs}
    (settings,) = nodes.Settings.execute(**{**values, "dsize": 128, "video_frame_load_cap": 12}).args
    return settings


@pytest.fixture
def source(clips):
    return VideoFromFile(str(clips["single_face"]), duration=1.0)


@pytest.fixture
def driving(clips):
    return VideoFromFile(str(clips["jwp_intro"]))


def show_prompt(nodes, monkeypatch, slot: int) -> None:
    """Have the node run in a prompt where something takes this output of it."""
    prompt = {"7": {"inputs": {}}, "9": {"class_type": "PreviewAny", "inputs": {"source": ["7", slot]}}}
    monkeypatch.setattr(nodes.AnimateDraft.hidden, "prompt", prompt)


def animate(nodes, source, driving, settings, frames=True, **more):
    """Run Animate Draft."""
    return nodes.AnimateDraft.execute(
        source=source, driving=driving, frames=frames, settings=settings, **more
    )


def temp_files(host) -> list[str]:
    return [path.name for path in (host.base / "temp").iterdir()]


def test_the_outputs_agree_with_each_other(nodes, source, driving, quick):
    images, audio, video, fps, count, *_ = animate(nodes, source, driving, quick).args
    info = Clip(video.file).info
    assert images.shape == (count, 360, 640, 3)
    assert images.dtype == torch.float32
    assert (info.frame_count, float(info.rate), (info.width, info.height)) == (count, fps, (640, 360))
    assert audio["waveform"].shape[2] == round(count / fps * audio["sample_rate"])


def test_the_images_are_the_frames_that_are_in_the_video(nodes, source, driving, quick):
    images, _, video, *_ = animate(nodes, source, driving, quick).args
    shown = torch.cat([chunk.frames for chunk in Clip(video.file).chunks(8)]).float() / 255
    assert (images - shown).abs().mean() < 0.01
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_batch_with_alpha_keeps_it_in_images_and_video(nodes, clips, driving, quick):
    frames = next(Clip(clips["single_face"]).chunks(4)).frames.float() / 255
    cut_out = torch.cat((frames, torch.ones(*frames.shape[:3], 1)), 3)
    cut_out[:, :, :100, 3] = 0
    images, _, video, _, count, *_ = animate(nodes, cut_out, driving, quick, frames=True).args
    assert images.shape == (count, 360, 640, 4)
    assert (images[:, :, :100, 3].max(), images[:, :, 110:, 3].min()) == (0, 1)
    kept = next(Clip(video.file).chunks(alpha=True)).frames[..., 3].float()
    assert kept[:, :, :98].mean() < 2
    assert kept[:, :, 102:].mean() > 253


def test_sound_is_as_long_as_the_video(nodes, clips, quick):
    talking = VideoFromFile(str(clips["jwp_intro"]), duration=0.3)
    _, audio, _, fps, count, *_ = animate(nodes, talking, talking, quick, frames=False).args
    assert audio["waveform"].shape[2] == round(count / fps * audio["sample_rate"])
    assert audio["waveform"].abs().max() > 0


def test_with_frames_off_a_linked_image_is_refused_at_once_by_the_name_of_the_switch(
    nodes, host, source, driving, quick, monkeypatch
):
    show_prompt(nodes, monkeypatch, 0)
    with pytest.raises(Exception, match="switch `frames` on"):
        animate(nodes, source, driving, quick, frames=False)
    assert host.bars == []


def test_images_that_nothing_takes_are_not_built_even_if_there_is_no_room_for_them(
    nodes, host, source, driving, quick, monkeypatch
):
    show_prompt(nodes, monkeypatch, 2)
    host.free = 0
    images, _, video, *_ = animate(nodes, source, driving, quick).args
    assert isinstance(images, standin.ExecutionBlocker)
    assert Clip(video.file).info.frame_count > 0


def test_a_node_runs_again_once_its_images_are_linked(nodes, monkeypatch):
    show_prompt(nodes, monkeypatch, 2)
    before = nodes.AnimateDraft.fingerprint_inputs(frames=True)
    show_prompt(nodes, monkeypatch, 0)
    assert nodes.AnimateDraft.fingerprint_inputs(frames=True) != before


def test_a_still_source_is_animated_for_as_long_as_the_driving_clip(nodes, clips, driving, quick):
    still = next(Clip(clips["astronaut"]).chunks(1)).frames.float() / 255
    images, _, _, fps, count, *_ = animate(nodes, still, driving, quick).args
    assert count == len(images) == 12
    assert fps == pytest.approx(float(Clip(clips["jwp_intro"]).info.rate))


def test_the_node_shows_how_far_it_is_and_what_it_did(pack, nodes, host, source, driving, quick, monkeypatch):
    # A quick machine is done before a second line is due.
    monkeypatch.setattr(sys.modules[f"{pack.__name__}.nodes.host.reports"], "_TEXT_SECONDS", 0.0)
    count = animate(nodes, source, driving, quick, frames=False).args[4]
    assert host.bars[-1][:2] == (count, count)
    assert any(picture is not None and picture[0] == "JPEG" for _, _, picture in host.bars)
    assert any(re.fullmatch(rf"\d+/{count}, [\d.]+ fps, \d+ s left", text) for text in host.texts)
    assert host.texts[-1] == f"{count} frames, 640x360, 30 fps, {count / 30:.2f} s"


def test_the_report_says_what_came_out_and_stays_on_the_node(nodes, source, driving, quick):
    output = animate(nodes, source, driving, quick, frames=False)
    count, report = output.args[4:6]
    assert output.ui == {"lpv2v_report": [report]}
    facts, sound, source_face, driving_face, *_, took = report.splitlines()
    assert facts.startswith(f"{count} frames, 640x360, ")
    assert sound == "sound of the source clip"
    assert source_face.startswith("source face 0: ")
    assert driving_face.startswith("driving face 0: ")
    assert took.startswith("took ")


def test_a_silent_result_says_why_and_its_audio_is_silence(nodes, clips, driving, quick):
    silent = VideoFromFile(str(clips["cap13"]), duration=1.0)
    _, audio, _, fps, count, report, *_ = animate(nodes, silent, driving, quick, frames=False).args
    assert "no sound: the source clip has none; switch driving_audio on" in report
    assert audio["waveform"].shape == (1, 2, round(count / fps * audio["sample_rate"]))
    assert not audio["waveform"].any()


def test_a_picture_speaks_with_the_driving_clip_s_voice(nodes, clips, driving, quick):
    still = next(Clip(clips["astronaut"]).chunks(1)).frames.float() / 255
    output = animate(nodes, still, driving, quick, frames=False).args
    assert output[1]["waveform"].abs().max() > 0
    assert "sound of the driving clip" in output[5]


def test_a_batch_of_images_has_the_rate_and_the_sound_that_are_given(nodes, driving, quick, clips):
    images = next(Clip(clips["single_face"]).chunks(8)).frames.float() / 255
    audio = {"waveform": torch.ones(1, 1, 8000), "sample_rate": 8000}
    output = animate(nodes, images, driving, quick, frames=False, source_audio=audio, source_fps=12.5).args
    assert output[3] == 12.5
    assert output[1]["sample_rate"] == 8000
    assert output[1]["waveform"].min() == 1


def test_sound_beside_a_video_is_refused(nodes, source, driving, quick):
    audio = {"waveform": torch.ones(1, 1, 8000), "sample_rate": 8000}
    with pytest.raises(Exception, match="its clip is a video: unlink it"):
        animate(nodes, source, driving, quick, source_audio=audio)


def test_an_error_is_a_sentence_without_the_path_of_a_class(nodes, host, source, driving, quick):
    settings = dataclasses.replace(quick, input_face_index=3)
    with pytest.raises(Exception, match="but 1 face, number 0") as caught:
        animate(nodes, source, driving, settings)
    kind = type(caught.value)
    assert (kind.__module__, kind.__qualname__) == ("builtins", "LivePortrait")
    assert host.texts[-1] == str(caught.value)
    assert host.events == [("lpv2v.report", {"node": "7", "text": host.texts[-1], "error": True})]
    assert "see the numbers with the node Preview Faces" in host.texts[-1]
    assert temp_files(host) == []


def test_a_missing_key_has_a_name_that_opens_its_dialog(pack, nodes, source, driving, monkeypatch):
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    with pytest.raises(Exception, match="Extensions > LivePortrait > Set Segmind API key") as caught:
        asyncio.run(nodes.AnimateSegmind.execute(source=source, driving=driving, frames=False))
    kind = type(caught.value)
    assert (kind.__module__, kind.__qualname__) == ("builtins", "LivePortraitKey")


def test_an_interrupt_is_the_last_line_of_a_node(nodes, host, source, driving, quick):
    host.stop = True
    with pytest.raises(InterruptProcessingException):
        animate(nodes, source, driving, quick)
    assert host.texts[-1] == "stopped"


def test_an_interrupt_ends_the_run_and_leaves_no_file(nodes, host, source, driving, quick):
    host.stop = True
    with pytest.raises(InterruptProcessingException):
        animate(nodes, source, driving, quick)
    assert temp_files(host) == []
    assert host.stop is False


def test_an_interrupt_ends_loading_and_leaves_no_file(nodes, host, clips):
    shutil.copy(clips["single_face"], host.base / "input" / "source.mp4")
    host.stop = True
    with pytest.raises(InterruptProcessingException):
        nodes.LoadVideo.execute("source.mp4", **{**LOAD, "max_side": 100})
    assert temp_files(host) == []


def test_nodes_work_under_inference_mode(nodes, source, driving, quick):
    with torch.inference_mode():
        images = animate(nodes, source, driving, quick).args[0]
    assert images.mean() > 0.1


def test_a_video_that_is_not_changed_is_passed_on_as_it_is(nodes, host, clips):
    shutil.copy(clips["jwp_intro"], host.base / "input" / "driving.mp4")
    video, audio, fps, count, _ = nodes.LoadVideo.execute("driving.mp4", **LOAD).args
    info = Clip(clips["jwp_intro"]).info
    assert Path(video.file) == host.base / "input" / "driving.mp4"
    assert (count, fps) == (info.frame_count, float(info.rate))
    assert audio["waveform"].shape[2] == round(info.duration * audio["sample_rate"])


def test_a_video_is_shortened_resampled_and_scaled_as_asked(nodes, host, clips):
    shutil.copy(clips["jwp_intro"], host.base / "input" / "driving.mp4")
    asked = {**LOAD, "frame_load_cap": 10, "skip_first_frames": 5, "force_rate": 12.5, "max_side": 160}
    video, audio, fps, count, _ = nodes.LoadVideo.execute("driving.mp4", **asked).args
    info = Clip(video.file).info
    assert (count, fps) == (10, 12.5) == (info.frame_count, float(info.rate))
    assert max(info.width, info.height) == 160
    assert audio["waveform"].shape[2] == round(Fraction(10, 1) / Fraction("12.5") * audio["sample_rate"])
    assert Path(video.file).name == "driving.mp4"  # which messages name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing.mp4", "no such file in ComfyUI's input folder; upload it"),
        ("../secret.mp4", "no such file in ComfyUI's input folder"),
        ("text.mp4", "not a video or picture"),
    ],
)
def test_a_file_that_is_no_video_is_refused_before_anything_runs(nodes, host, clips, name, reason):
    (host.base / "secret.mp4").write_bytes(b"x")
    (host.base / "input" / "text.mp4").write_text("hello")
    assert reason in nodes.LoadVideo.validate_inputs(file=name)


def test_without_a_file_the_node_asks_for_one(nodes):
    assert nodes.LoadVideo.validate_inputs() == "choose a video, or upload one with the node's button"


def test_a_picture_is_loaded_as_one_frame_that_is_animated(nodes, host, clips, driving, quick):
    shutil.copy(clips["astronaut"], host.base / "input" / "still.png")
    assert nodes.LoadVideo.validate_inputs(file="still.png") is True
    video, audio, _, count, report = nodes.LoadVideo.execute("still.png", **LOAD).args
    assert count == 1
    assert audio["waveform"].shape[2] == round(44100 / 25)
    assert "a picture, 512x512: loaded as one frame" in report
    assert animate(nodes, video, driving, quick, frames=False).args[4] == 12


def test_loading_ends_with_what_was_loaded(nodes, host, clips):
    shutil.copy(clips["single_face"], host.base / "input" / "source.mp4")
    *_, report = nodes.LoadVideo.execute("source.mp4", **{**LOAD, "frame_load_cap": 8}).args
    assert host.texts[-1] == report.splitlines()[0]
    assert report.startswith("8 frames, 640x360, ")


def test_what_can_t_be_loaded_is_named_by_file_and_widget(nodes, host, clips):
    shutil.copy(clips["single_face"], host.base / "input" / "source.mp4")
    with pytest.raises(Exception, match=r"^source.mp4: the clip has \d+ frames, and 5000 are to be skipped"):
        nodes.LoadVideo.execute("source.mp4", **{**LOAD, "skip_first_frames": 5000})


OUTSIDE = [
    "../secret.mp4",
    "../secret.mp4 [output]",
    "../secret.mp4 [temp]",
    "../output/made.mp4",
    "sub/../../secret.mp4",
    "/absolute/secret.mp4",
    "link.mp4",
    "folder/secret.mp4",
    "nul\0.mp4",
    "long" * 2000,
    "circle.mp4",
    ".",
    "pipe.mp4",
]


@pytest.mark.skipif(os.name == "nt", reason="no links")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_of_a_names_folder_is_read_or_told(nodes, host, clips, name, there):
    for folder in ("input/sub", "output", "temp"):
        (host.base / folder).mkdir(parents=True, exist_ok=True)
    if there:
        for place in ("secret.mp4", "output/made.mp4"):
            shutil.copy(clips["jwp_intro"], host.base / place)
    (host.base / "input" / "link.mp4").symlink_to(host.base / "secret.mp4")
    (host.base / "input" / "folder").symlink_to(host.base)
    (host.base / "input" / "circle.mp4").symlink_to(host.base / "input" / "circle.mp4")
    os.mkfifo(host.base / "input" / "pipe.mp4")
    name = name.replace("/absolute", str(host.base))
    message = nodes.LoadVideo.validate_inputs(file=name)
    assert "there is no such file in ComfyUI's input folder" in message
    with pytest.raises(Exception, match="there is no such file"):
        nodes.LoadVideo.fingerprint_inputs(file=name)


def test_a_video_of_the_output_folder_is_loaded_under_its_full_name(nodes, host, clips):
    (host.base / "output").mkdir()
    shutil.copy(clips["jwp_intro"], host.base / "output" / "made.mp4")
    assert nodes.LoadVideo.validate_inputs(file="made.mp4 [output]") is True
    assert "no such file" in nodes.LoadVideo.validate_inputs(file="made.mp4")


def test_a_file_that_is_a_video_is_accepted(nodes, host, clips):
    shutil.copy(clips["jwp_intro"], host.base / "input" / "driving.mp4")
    assert nodes.LoadVideo.validate_inputs(file="driving.mp4") is True


def test_another_file_under_the_same_name_has_another_fingerprint(nodes, host, clips):
    path = host.base / "input" / "clip.mp4"
    shutil.copy(clips["jwp_intro"], path)
    before = nodes.LoadVideo.fingerprint_inputs(file="clip.mp4", **LOAD)
    assert nodes.LoadVideo.fingerprint_inputs(file="clip.mp4", **LOAD) == before
    shutil.copy(clips["single_face"], path)
    assert nodes.LoadVideo.fingerprint_inputs(file="clip.mp4", **LOAD) != before


def test_faces_are_counted_and_shown(nodes, host, clips):
    two = VideoFromFile(str(clips["obama"]), duration=0.5)
    output = nodes.PreviewFaces.execute(two)
    sheet, count, report = output.args
    assert count == 2
    assert sheet.ndim == 4
    assert sheet.dtype == torch.float32
    assert output.ui["images"] == [sheet]
    assert output.ui["lpv2v_report"] == [report]
    assert "face 0 in " in report
    assert "face 1 in " in report


@pytest.mark.parametrize("kind", ["file", "images"])
def test_faces_are_looked_for_again_only_if_the_sheet_would_be_another(nodes, host, clips, kind):
    def looked(**changed) -> bool:
        before = len(host.bars)
        options = {"settings": AnimationSettings(), "motion_options": MotionOptions(), **changed}
        nodes.PreviewFaces.execute(value, **options)
        return len(host.bars) > before

    value = VideoFromFile(str(clips["single_face"]), duration=0.3)
    if kind == "images":
        value = next(Clip(clips["single_face"]).chunks(8)).frames.float() / 255
    assert looked()
    assert not looked()
    # Sound, length and motion don't show on it.
    assert not looked(settings=AnimationSettings(driving_audio=True, video_frame_load_cap=7))
    assert not looked(motion_options=MotionOptions(driving_multiplier=0.5))
    assert looked(settings=AnimationSettings(scale=3.0))
    assert looked(motion_options=MotionOptions(face_order="left-right"))
    assert not looked()
    value = VideoFromFile(str(clips["single_face"]), duration=0.2) if kind == "file" else value.clone()
    assert looked()


@pytest.fixture
def two_faces(clips):
    """A VIDEO with two faces, mirror images at the left and the right edge of 660 columns."""
    frames = next(Clip(clips["single_face"]).chunks(8)).frames[:, 60:260, 220:420].float() / 255
    between = torch.full((8, 200, 260, 3), 0.5)
    images = torch.cat((frames, between, frames.flip(2)), 2)
    return standin.VideoFromComponents(standin.VideoComponents(images, Fraction(30), None))


def test_another_face_has_a_driving_clip_of_its_own(nodes, host, two_faces, driving, quick, clips):
    other = VideoFromFile(str(clips["test_movie"]))
    (roles,) = nodes.AnotherFace.execute(other, 1, 0, quick).args
    alone = animate(nodes, two_faces, driving, quick).args[0]
    both, _, _, _, count, *_ = animate(nodes, two_faces, driving, quick, roles=roles).args
    changed = ((both - alone).abs() > 4 / 255).any(-1).any(1).any(0)  # by column
    assert count == len(both) == 8
    assert sorted((changed[:330].any().item(), changed[330:].any().item())) == [False, True]


def test_faces_are_chained_in_their_order(nodes, driving, quick):
    (first,) = nodes.AnotherFace.execute(driving, 1, 0).args
    (both,) = nodes.AnotherFace.execute(driving, 2, 3, quick, roles=first).args
    assert [(face.source_face, face.drive_face) for face in both] == [(1, 0), (2, 3)]
    assert both[1].settings is quick


def test_faces_that_one_video_leads_share_its_clip(nodes, two_faces, driving, quick, monkeypatch):
    plans = []
    make_plan = importlib.import_module(f"{standin.NAME}.liveportrait_v2v.plan").make_plan
    monkeypatch.setattr(
        f"{standin.NAME}.liveportrait_v2v.plan.make_plan",
        lambda *arguments: plans.append(make_plan(*arguments)) or plans[0],
    )
    (roles,) = nodes.AnotherFace.execute(driving, 1, 0, quick).args
    animate(nodes, two_faces, driving, quick, frames=False, roles=roles)
    first, second = plans[0].roles
    assert first.driving is second.driving


def test_a_face_that_has_a_driving_clip_already_is_refused_by_the_name_of_the_role(
    nodes, two_faces, driving, clips
):
    (roles,) = nodes.AnotherFace.execute(driving, 0, 0).args
    name = clips["jwp_intro"].name
    with pytest.raises(Exception, match=rf"^role 2 \({name}\): face 0 of the source is animated by role 1"):
        animate(nodes, two_faces, driving, None, frames=False, roles=roles)
