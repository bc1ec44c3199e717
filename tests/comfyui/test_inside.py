"""The nodes inside a real ComfyUI, driven over its API, on real clips."""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

import json
import math
import shutil
import time
from fractions import Fraction

import pytest
import torch
from real_comfyui import prompt_of

from liveportrait_v2v.media import Clip
from liveportrait_v2v.templates import read_template

NODES = (
    "LoadVideo",
    "Settings",
    "MotionOptions",
    "AnimateDraft",
    "PreviewFaces",
    "AnotherFace",
    "CropFaces",
    "PasteBack",
    "RecordMotion",
    "LoadMotion",
)


def load(key: str, file: str, **options):
    """A Load Video (LivePortrait) node."""
    widgets = {
        "frame_load_cap": 0,
        "skip_first_frames": 0,
        "select_every_nth": 1,
        "force_rate": 0.0,
        "max_side": 0,
    }
    return key, "LPV2V_LoadVideo", {"file": file, **widgets, **options}


def settings(key: str, comfy, **values):
    """A LivePortrait Settings node with its defaults and these values, quick unless they say otherwise."""
    widgets = comfy.get("/object_info/LPV2V_Settings")["LPV2V_Settings"]["input"]["required"]
    defaults = {name: options["default"] for name, (_, options) in widgets.items()}
    return key, "LPV2V_Settings", {**defaults, "dsize": 128, "video_frame_load_cap": 16, **values}


def animate(key: str, source: tuple, driving: tuple, frames: bool = True, **links):
    return key, "LPV2V_AnimateDraft", {"source": source, "driving": driving, "frames": frames, **links}


def save(key: str, video: tuple, prefix: str):
    return key, "SaveVideo", {"video": video, "filename_prefix": prefix, "format": "auto", "codec": "auto"}


def saved_clip(comfy, run, key: str) -> Clip:
    assert run.status == "success", run.error
    return Clip(comfy.file(run.outputs[key]["images"][0]))


def test_every_node_is_there(comfy):
    known = comfy.get("/object_info")
    assert [f"LPV2V_{name}" in known for name in NODES] == [True] * len(NODES)


def test_a_video_animated_by_a_video_is_saved_with_its_rate_size_and_sound(comfy, clips):
    run = comfy.run(
        prompt_of(
            load("1", "driving.mp4", frame_load_cap=30),
            load("2", "driving.mp4"),
            settings("3", comfy),
            ("4", "LPV2V_MotionOptions", _motion_defaults(comfy)),
            animate("5", ("1", 0), ("2", 0), settings=("3", 0), motion_options=("4", 0)),
            save("6", ("5", 2), "whole"),
        )
    )
    clip, original = saved_clip(comfy, run, "6"), Clip(clips["jwp_intro"]).info
    assert (clip.info.frame_count, clip.info.rate) == (16, original.rate)
    assert (clip.info.width, clip.info.height) == (original.width, original.height)
    assert clip.info.audio.sample_rate == original.audio.sample_rate
    assert clip.audio(clip.info.duration).samples.abs().max() > 0.001


def _motion_defaults(comfy) -> dict:
    widgets = comfy.get("/object_info/LPV2V_MotionOptions")["LPV2V_MotionOptions"]["input"]["required"]
    return {name: options["default"] for name, (_, options) in widgets.items()}


def test_images_and_audio_go_into_cores_create_video(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "driving.mp4", frame_load_cap=20),
            settings("2", comfy),
            animate("3", ("1", 0), ("1", 0), settings=("2", 0)),
            ("4", "CreateVideo", {"images": ("3", 0), "audio": ("3", 1), "fps": ("3", 3)}),
            save("5", ("4", 0), "recreated"),
        )
    )
    clip = saved_clip(comfy, run, "5")
    assert clip.info.frame_count == 16
    assert clip.info.audio is not None


def test_crops_go_through_other_nodes_and_are_pasted_back(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "source.mp4", frame_load_cap=8),
            settings("2", comfy),
            ("3", "LPV2V_CropFaces", {"clip": ("1", 0), "settings": ("2", 0)}),
            (
                "4",
                "ImageScaleBy",
                {"image": ("3", 0), "upscale_method": "bilinear", "scale_by": 2.0},
            ),
            ("5", "ImageInvert", {"image": ("4", 0)}),
            (
                "6",
                "LPV2V_PasteBack",
                {"clip": ("1", 0), "crops": ("5", 0), "placement": ("3", 2), "mask": ("3", 1)},
            ),
            save("7", ("6", 2), "pasted"),
            ("8", "MaskToImage", {"mask": ("3", 1)}),
            ("9", "PreviewImage", {"images": ("8", 0)}),
        )
    )
    clip, source = saved_clip(comfy, run, "7"), Clip(comfy.base / "input" / "source.mp4")
    made, original = (next(part.chunks(8)).frames.int() for part in (clip, source))
    assert clip.info.frame_count == 8
    assert clip.info.audio is not None
    changed = (made - original).abs().amax(-1).float().mean(0)
    assert changed[150, 320] > 30  # the face
    assert changed[:, :40].mean() < 10  # far from it


def test_the_mask_and_the_placement_of_an_animation_go_into_other_nodes(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "source.mp4", frame_load_cap=6),
            load("2", "driving.mp4", frame_load_cap=6),
            settings("3", comfy),
            animate("4", ("1", 0), ("2", 0), settings=("3", 0)),
            ("5", "LPV2V_CropFaces", {"clip": ("4", 0), "settings": ("3", 0)}),
            ("6", "LPV2V_PasteBack", {"clip": ("4", 0), "crops": ("5", 0), "placement": ("4", 7)}),
            save("7", ("6", 2), "again"),
            ("8", "MaskToImage", {"mask": ("4", 6)}),
            ("9", "PreviewImage", {"images": ("8", 0)}),
        )
    )
    assert saved_clip(comfy, run, "7").info.frame_count == 6
    assert len(run.outputs["9"]["images"]) == 6


def test_a_silent_clip_breaks_nothing(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "silent.mp4", frame_load_cap=12),
            settings("2", comfy),
            animate("3", ("1", 0), ("1", 0), settings=("2", 0)),
            ("4", "CreateVideo", {"images": ("3", 0), "audio": ("3", 1), "fps": ("3", 3)}),
            save("5", ("4", 0), "silent"),
            ("6", "PreviewAudio", {"audio": ("3", 1)}),
            ("7", "PreviewAny", {"source": ("3", 5)}),
        )
    )
    clip = saved_clip(comfy, run, "5")
    assert not clip.audio(clip.info.duration).samples.any()
    assert "no sound: the source clip has none" in run.outputs["7"]["text"][0]


@pytest.mark.parametrize(
    ("language", "error", "report", "refusal"),
    [
        ("zh", "找不到人脸 4，只有 1 张人脸", "人脸 0：2 帧中的 2 帧", "请选择动作模板"),
        (
            "ja",
            "顔 4 は見つかりません。あるのは 1 つの顔",
            "顔 0：2 フレーム中 2 フレーム",
            "モーションテンプレートを選ぶか",
        ),
        ("en", "face 4 was found nowhere in", "face 0 in 2 of 2 frames", "choose a motion template"),
    ],
)
def test_a_page_is_answered_in_its_language(comfy, language, error, report, refusal):
    comfy.post("/liveportrait-v2v/language", {"client": language, "language": language})
    clip = load("1", "source.mp4", frame_load_cap=2)
    comfy.post("/free", {"free_memory": True})  # a cached report stays in the language of its run
    wrong = prompt_of(
        clip,
        settings("2", comfy, input_face_index=4),
        animate("3", ("1", 0), ("1", 0), False, settings=("2", 0)),
        save("4", ("3", 2), "wrong"),
    )
    assert error in comfy.wait(comfy.queue(wrong, language)).error
    right = prompt_of(clip, ("2", "LPV2V_PreviewFaces", {"clip": ("1", 0)}))
    assert comfy.wait(comfy.queue(right, language)).outputs["2"]["lpv2v_report"] == [report]
    empty = prompt_of(("1", "LPV2V_LoadMotion", {"file": ""}), ("2", "PreviewAny", {"source": ("1", 1)}))
    code, answer = comfy.post("/prompt", {"prompt": empty, "client_id": language})
    assert (code, refusal in json.dumps(answer, ensure_ascii=False)) == (400, True)


def test_videos_come_from_cores_load_video_from_create_video_and_from_a_trim(comfy, clips):
    run = comfy.run(
        prompt_of(
            ("1", "LoadVideo", {"file": "driving.mp4"}),
            (
                "2",
                "Video Slice",
                {"video": ("1", 0), "start_time": 0.5, "duration": 0.4, "strict_duration": False},
            ),
            ("3", "LoadImage", {"image": "source.png"}),
            ("4", "RepeatImageBatch", {"image": ("3", 0), "amount": 9}),
            ("5", "CreateVideo", {"images": ("4", 0), "fps": 25.0}),
            settings("6", comfy, mismatch_method="none"),
            animate("7", ("2", 0), ("1", 0), False, settings=("6", 0)),
            animate("8", ("5", 0), ("2", 0), False, settings=("6", 0)),
            save("9", ("7", 2), "from_trim"),
            save("10", ("8", 2), "from_images"),
        )
    )
    rate = Clip(clips["jwp_intro"]).info.rate
    trimmed, made = saved_clip(comfy, run, "9").info, saved_clip(comfy, run, "10").info
    # 16 driving frames outlast the 12 that are left of the source, whose last one is held.
    assert (trimmed.frame_count, trimmed.rate) == (16, rate)
    # And these 12 outlast 9 images.
    assert (made.frame_count, made.rate) == (math.ceil(12 / rate * 25), Fraction(25))


def test_a_still_is_animated(comfy, clips):
    run = comfy.run(
        prompt_of(
            ("1", "LoadImage", {"image": "source.png"}),
            load("2", "driving.mp4"),
            settings("3", comfy),
            animate("4", ("1", 0), ("2", 0), settings=("3", 0)),
            save("5", ("4", 2), "still"),
        )
    )
    info = saved_clip(comfy, run, "5").info
    assert (info.frame_count, info.rate) == (16, Clip(clips["jwp_intro"]).info.rate)
    assert (info.width, info.height) == (512, 512)


def test_an_unchanged_graph_is_served_from_the_cache_and_a_changed_file_runs_again(comfy, clips):
    prompt = prompt_of(
        load("1", "changing.mp4", frame_load_cap=8),
        settings("2", comfy),
        animate("3", ("1", 0), ("1", 0), False, settings=("2", 0)),
        save("4", ("3", 2), "changing"),
    )
    path = comfy.base / "input" / "changing.mp4"
    path.write_bytes(clips["jwp_intro"].read_bytes())
    first = comfy.run(prompt)
    again = comfy.run(prompt)
    path.write_bytes(clips["single_face"].read_bytes())
    changed = comfy.run(prompt)
    assert not {"1", "3"} & set(first.cached)
    assert {"1", "2", "3"} <= set(again.cached)
    assert not {"1", "3"} & set(changed.cached)
    assert saved_clip(comfy, changed, "4").info.width == Clip(clips["single_face"]).info.width


def test_with_frames_off_a_linked_image_ends_with_an_error_that_names_the_switch(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "source.mp4", frame_load_cap=8),
            animate("2", ("1", 0), ("1", 0), False),
            ("3", "PreviewImage", {"images": ("2", 0)}),
        )
    )
    assert run.status == "error"
    assert "switch `frames` on" in run.error


def test_images_that_are_linked_after_a_run_are_built_by_the_next(comfy):
    nodes = [load("1", "source.mp4", frame_load_cap=8), animate("2", ("1", 0), ("1", 0))]
    first = comfy.run(prompt_of(*nodes, save("3", ("2", 2), "linked_later")))
    assert first.status == "success", first.error
    link = ("4", "PreviewImage", {"images": ("2", 0)})
    linked = comfy.run(prompt_of(*nodes, save("3", ("2", 2), "linked_later"), link))
    assert linked.status == "success", linked.error
    assert len(linked.outputs["4"]["images"]) == 8
    again = comfy.run(prompt_of(*nodes, save("3", ("2", 2), "linked_later"), link))
    assert "2" in again.cached


def test_a_picture_in_load_video_is_animated_with_the_driver_s_voice(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "source.png"),
            load("2", "driving.mp4"),
            settings("3", comfy),
            animate("4", ("1", 0), ("2", 0), settings=("3", 0)),
            save("5", ("4", 2), "picture"),
        )
    )
    clip = saved_clip(comfy, run, "5")
    assert clip.info.frame_count == 16
    assert clip.audio(clip.info.duration).samples.abs().max() > 0.001


def test_an_interrupt_in_the_middle_ends_the_run_soon_and_leaves_no_file(comfy):
    before = comfy.temp_files()
    prompt = comfy.queue(
        prompt_of(
            load("1", "two_faces.mp4"),
            settings("2", comfy, video_frame_load_cap=0, dsize=512, mismatch_method="circle"),
            animate("3", ("1", 0), ("1", 0), False, settings=("2", 0)),
            save("4", ("3", 2), "interrupted"),
        )
    )
    end = time.monotonic() + 60
    while not (comfy.temp_files() - before) and time.monotonic() < end:
        time.sleep(0.05)
    # The hidden file that grows beside the video to be.
    assert comfy.temp_files() - before
    comfy.interrupt()
    run = comfy.wait(prompt, 30)
    assert run.interrupted
    assert "4" not in run.outputs
    assert comfy.temp_files() == before
    after = comfy.run(prompt_of(load("1", "source.mp4", frame_load_cap=4), save("2", ("1", 0), "after")))
    assert after.status == "success"


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (load("1", "nothing.mp4"), "no such file in ComfyUI's input folder"),
        (load("1", "../../comfyui.db"), "no such file in ComfyUI's input folder"),
        (load("1", "broken.mp4"), "truncated or damaged"),
        (load("1", "source.mp4", select_every_nth=0), "smaller than min of 1"),
        (load("1", "source.mp4", max_side="large"), "invalid literal for int"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(comfy, clips, node, reason):
    (comfy.base / "input" / "broken.mp4").write_bytes(clips["jwp_intro"].read_bytes()[:20_000])
    text = comfy.refusal(prompt_of(node, save("2", ("1", 0), "bad")))
    assert reason in text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"scale": 9.0}, "bigger than max of 4"),
        ({"mismatch_method": "stretch"}, "not in"),
        ({"preset": "magic"}, "not in"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(comfy, values, reason):
    prompt = prompt_of(
        load("1", "source.mp4"),
        settings("2", comfy, **values),
        ("3", "LPV2V_PreviewFaces", {"clip": ("1", 0), "settings": ("2", 0)}),
    )
    assert reason in comfy.refusal(prompt)


def test_a_face_that_is_not_there_is_an_error_that_says_what_to_do(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "source.mp4", frame_load_cap=8),
            settings("2", comfy, input_face_index=4),
            animate("3", ("1", 0), ("1", 0), settings=("2", 0)),
            save("4", ("3", 2), "nobody"),
        )
    )
    assert run.status == "error"
    assert "face 4 was found nowhere" in run.error
    assert "Preview Faces" in run.error


def test_two_people_are_numbered(comfy):
    run = comfy.run(
        prompt_of(
            load("1", "two_faces.mp4", frame_load_cap=8),
            ("2", "LPV2V_PreviewFaces", {"clip": ("1", 0)}),
            ("3", "PreviewAny", {"source": ("2", 1)}),
        )
    )
    assert run.status == "success", run.error
    assert run.outputs["3"]["text"] == ["2"]
    assert comfy.file(run.outputs["2"]["images"][0]).stat().st_size > 10_000


def test_graph_after_graph_memory_does_not_grow(comfy):
    def run(number: int) -> None:
        done = comfy.run(
            prompt_of(
                load("1", "source.mp4", frame_load_cap=24, skip_first_frames=number),
                settings("2", comfy),
                animate("3", ("1", 0), ("1", 0), settings=("2", 0)),
                save("4", ("3", 2), "memory"),
            )
        )
        assert done.status == "success", done.error

    for number in range(3):
        run(number)
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    before = comfy.memory()
    for number in range(3, 9):
        run(number)
    comfy.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(1)
    # One result as IMAGE is 44 MB: six that stayed would be 265.
    assert comfy.memory() - before < 100e6


def test_another_face_is_animated_in_the_same_run_and_the_same_face_twice_is_an_error(comfy, clips):
    def graph(face: int):
        return prompt_of(
            load("1", "two_faces.mp4", frame_load_cap=8),
            load("2", "driving.mp4"),
            load("3", "silent.mp4"),
            settings("4", comfy),
            (
                "5",
                "LPV2V_AnotherFace",
                {"driving": ("3", 0), "source_face": face, "drive_face": 0, "settings": ("4", 0)},
            ),
            animate("6", ("1", 0), ("2", 0), False, settings=("4", 0), roles=("5", 0)),
            save("7", ("6", 2), "faces"),
        )

    info = saved_clip(comfy, comfy.run(graph(1)), "7").info
    # As long as the shortest: 16 frames of driving.mp4.
    assert info.frame_count == math.ceil(16 / Clip(clips["jwp_intro"]).info.rate * info.rate)
    run = comfy.run(graph(0))
    assert run.status == "error"
    assert (
        "role 2 (silent.mp4): face 0 of the source is animated by role 1 (driving.mp4) already" in run.error
    )


def record(key: str, driving: tuple, prefix: str, **links):
    return (
        key,
        "LPV2V_RecordMotion",
        {"driving": driving, "engine": "draft", "filename_prefix": prefix, **links},
    )


@pytest.fixture(scope="module")
def recorded(comfy):
    """The run of a graph that records a motion and animates by its clip and by the motion."""
    run = comfy.run(
        prompt_of(
            load("1", "source.mp4", frame_load_cap=12),
            load("2", "driving.mp4", frame_load_cap=8),
            settings("3", comfy),
            record("4", ("2", 0), "motion/talk", settings=("3", 0)),
            animate("5", ("1", 0), ("2", 0), settings=("3", 0)),
            animate("6", ("1", 0), ("4", 0), settings=("3", 0)),
            save("7", ("5", 2), "by_clip"),
            save("8", ("6", 2), "by_motion"),
        )
    )
    assert run.status == "success", run.error
    return run


def test_a_recorded_motion_is_saved_and_leads_as_its_clip_does(comfy, recorded):
    assert len(read_template(comfy.base / "output" / "motion" / "talk_00001_.safetensors")) == 8
    report = recorded.outputs["4"]["lpv2v_report"][0]
    assert report.startswith("motion for the draft engine: 8 frames, 29.97 fps")
    assert "saved as motion/talk_00001_.safetensors" in report
    by_clip, by_motion = (
        torch.cat([chunk.frames for chunk in saved_clip(comfy, recorded, key).chunks(8)])
        for key in ("7", "8")
    )
    assert len(by_clip) == 9  # 8 of 29.97 fps, at 30
    assert torch.equal(by_clip, by_motion)


def test_a_loaded_motion_leads_another_face_and_a_name_outside_is_refused(comfy, recorded):
    shutil.copy(comfy.base / "output" / "motion" / "talk_00001_.safetensors", comfy.base / "input")
    graph = (
        load("1", "two_faces.mp4", frame_load_cap=4),
        ("2", "LPV2V_LoadMotion", {"file": "talk_00001_.safetensors"}),
        settings("3", comfy),
        ("4", "LPV2V_AnotherFace", {"driving": ("2", 0), "source_face": 1, "drive_face": 0}),
        animate("5", ("1", 0), ("2", 0), settings=("3", 0), roles=("4", 0)),
        save("6", ("5", 2), "both"),
    )
    assert saved_clip(comfy, comfy.run(prompt_of(*graph)), "6").info.frame_count == 4
    bad = list(graph)
    bad[1] = ("2", "LPV2V_LoadMotion", {"file": "../output/motion/talk_00001_.safetensors"})
    assert "there is no such file in ComfyUI's input or output folder" in comfy.refusal(prompt_of(*bad))
