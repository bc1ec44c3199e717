"""The nodes at work inside a stand-in of ComfyUI, on real clips."""

from __future__ import annotations

import importlib
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import standin_comfyui as standin
import torch
from standin_comfyui import InterruptProcessingException, VideoFromFile

from liveportrait_v2v.media import Clip

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


def temp_files(host) -> list[str]:
    return [path.name for path in (host.base / "temp").iterdir()]


def test_the_outputs_agree_with_each_other(nodes, source, driving, quick):
    images, audio, video, fps, count = nodes.AnimateDraft.execute(source, driving, True, quick).args
    info = Clip(video.file).info
    assert images.shape == (count, 360, 640, 3)
    assert images.dtype == torch.float32
    assert (info.frame_count, float(info.rate), (info.width, info.height)) == (count, fps, (640, 360))
    assert audio is None or audio["waveform"].shape[2] == round(count / fps * audio["sample_rate"])


def test_the_images_are_the_frames_that_are_in_the_video(nodes, source, driving, quick):
    images, _, video, _, _ = nodes.AnimateDraft.execute(source, driving, True, quick).args
    shown = torch.cat([chunk.frames for chunk in Clip(video.file).chunks(8)]).float() / 255
    assert (images - shown).abs().mean() < 0.01
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_batch_with_alpha_keeps_it_in_images_and_video(nodes, clips, driving, quick):
    frames = next(Clip(clips["single_face"]).chunks(4)).frames.float() / 255
    cut_out = torch.cat((frames, torch.ones(*frames.shape[:3], 1)), 3)
    cut_out[:, :, :100, 3] = 0
    images, _, video, _, count = nodes.AnimateDraft.execute(cut_out, driving, True, quick).args
    assert images.shape == (count, 360, 640, 4)
    assert (images[:, :, :100, 3].max(), images[:, :, 110:, 3].min()) == (0, 1)
    kept = next(Clip(video.file).chunks(alpha=True)).frames[..., 3].float()
    assert kept[:, :, :98].mean() < 2
    assert kept[:, :, 102:].mean() > 253


def test_sound_is_as_long_as_the_video(nodes, clips, quick):
    talking = VideoFromFile(str(clips["jwp_intro"]), duration=0.3)
    _, audio, _, fps, count = nodes.AnimateDraft.execute(talking, talking, False, quick).args
    assert audio["waveform"].shape[2] == round(count / fps * audio["sample_rate"])
    assert audio["waveform"].abs().max() > 0


def test_with_frames_off_a_linked_image_is_refused_at_once_by_the_name_of_the_switch(
    nodes, host, source, driving, quick, monkeypatch
):
    link = {"9": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}}}
    monkeypatch.setattr(nodes.AnimateDraft.hidden, "prompt", link)
    with pytest.raises(Exception, match="switch `frames` on"):
        nodes.AnimateDraft.execute(source, driving, False, quick)
    assert host.bars == []


def test_with_frames_off_the_images_are_a_block_that_names_the_switch(nodes, source, driving, quick):
    images = nodes.AnimateDraft.execute(source, driving, False, quick).args[0]
    assert isinstance(images, standin.ExecutionBlocker)
    assert "switch `frames` on" in images.message


def test_a_still_source_is_animated_for_as_long_as_the_driving_clip(nodes, clips, driving, quick):
    still = next(Clip(clips["astronaut"]).chunks(1)).frames.float() / 255
    images, _, _, fps, count = nodes.AnimateDraft.execute(still, driving, True, quick).args
    assert count == len(images) == 12
    assert fps == pytest.approx(float(Clip(clips["jwp_intro"]).info.rate))


def test_the_node_shows_how_far_it_is_and_what_it_did(nodes, host, source, driving, quick):
    count = nodes.AnimateDraft.execute(source, driving, False, quick).args[4]
    assert host.bars[-1][:2] == (count, count)
    assert any(picture is not None and picture[0] == "JPEG" for _, _, picture in host.bars)
    assert any("frames a second" in text and "without a face" in text for text in host.texts)
    assert host.texts[-1].startswith(f"{count} frames in ")


def test_an_interrupt_ends_the_run_and_leaves_no_file(nodes, host, source, driving, quick):
    host.stop = True
    with pytest.raises(InterruptProcessingException):
        nodes.AnimateDraft.execute(source, driving, True, quick)
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
        images = nodes.AnimateDraft.execute(source, driving, True, quick).args[0]
    assert images.mean() > 0.1


def test_a_video_that_is_not_changed_is_passed_on_as_it_is(nodes, host, clips):
    shutil.copy(clips["jwp_intro"], host.base / "input" / "driving.mp4")
    video, audio, fps, count = nodes.LoadVideo.execute("driving.mp4", **LOAD).args
    info = Clip(clips["jwp_intro"]).info
    assert Path(video.file) == host.base / "input" / "driving.mp4"
    assert (count, fps) == (info.frame_count, float(info.rate))
    assert audio["waveform"].shape[2] == round(info.duration * audio["sample_rate"])


def test_a_video_is_shortened_resampled_and_scaled_as_asked(nodes, host, clips):
    shutil.copy(clips["jwp_intro"], host.base / "input" / "driving.mp4")
    asked = {**LOAD, "frame_load_cap": 10, "skip_first_frames": 5, "force_rate": 12.5, "max_side": 160}
    video, audio, fps, count = nodes.LoadVideo.execute("driving.mp4", **asked).args
    info = Clip(video.file).info
    assert (count, fps) == (10, 12.5) == (info.frame_count, float(info.rate))
    assert max(info.width, info.height) == 160
    assert audio["waveform"].shape[2] == round(Fraction(10, 1) / Fraction("12.5") * audio["sample_rate"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing.mp4", "no such file in ComfyUI's input folder; upload it"),
        ("../secret.mp4", "no such file in ComfyUI's input folder"),
        ("text.mp4", "not a video or picture"),
        ("still.png", "load it with the node Load Image"),
    ],
)
def test_a_file_that_is_no_video_is_refused_before_anything_runs(nodes, host, clips, name, reason):
    (host.base / "secret.mp4").write_bytes(b"x")
    (host.base / "input" / "text.mp4").write_text("hello")
    shutil.copy(clips["astronaut"], host.base / "input" / "still.png")
    assert reason in nodes.LoadVideo.validate_inputs(file=name)


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
    sheet, count = output.args
    assert count == 2
    assert sheet.ndim == 4
    assert sheet.dtype == torch.float32
    assert output.ui.image is sheet
    assert "face 0" in host.texts[-1]
    assert "face 1" in host.texts[-1]


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
    alone = nodes.AnimateDraft.execute(two_faces, driving, True, quick).args[0]
    both, _, _, _, count = nodes.AnimateDraft.execute(two_faces, driving, True, quick, roles=roles).args
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
    nodes.AnimateDraft.execute(two_faces, driving, False, quick, roles=roles)
    first, second = plans[0].roles
    assert first.driving is second.driving


def test_a_face_that_has_a_driving_clip_already_is_refused_by_the_name_of_the_role(
    nodes, two_faces, driving, clips
):
    (roles,) = nodes.AnotherFace.execute(driving, 0, 0).args
    name = clips["jwp_intro"].name
    with pytest.raises(Exception, match=rf"^role 2 \({name}\): face 0 of the source is animated by role 1"):
        nodes.AnimateDraft.execute(two_faces, driving, False, roles=roles)
