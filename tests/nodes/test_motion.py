"""Record Motion, Load Motion, and motion in place of driving clips, on real clips."""

from __future__ import annotations

import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_networks import MadeNetworks
from standin_comfyui import VideoFromFile

from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.settings import AnimationSettings

QUICK = AnimationSettings(dsize=128, video_frame_load_cap=6)


@pytest.fixture
def driving(clips):
    return VideoFromFile(str(clips["jwp_intro"]))


@pytest.fixture
def source(clips):
    return VideoFromFile(str(clips["single_face"]), duration=0.5)


def record(nodes, driving, **options):
    given = {"engine": "draft", "filename_prefix": "motion/talk", "settings": QUICK, **options}
    return nodes.RecordMotion.execute(driving=driving, **given)


def animate(nodes, source, driving, **more):
    output = nodes.AnimateDraft.execute(source=source, driving=driving, frames=True, settings=QUICK, **more)
    return output.args


def test_a_recorded_and_loaded_motion_gives_the_images_of_its_clip(nodes, host, source, driving):
    motion, report = record(nodes, driving).args
    lines = report.splitlines()
    assert lines[:2] == [
        "motion for the draft engine: 6 frames, 29.97 fps, 0.20 s, 0 without a face",
        "saved as motion/talk_00001_.safetensors",
    ]
    assert lines[2].startswith(
        "the template has the first 6 of the clip's 173 frames; raise video_frame_load_cap"
    )
    shutil.copy(
        host.base / "output" / "motion" / "talk_00001_.safetensors", host.base / "input" / "t.safetensors"
    )
    assert nodes.LoadMotion.validate_inputs("t.safetensors") is True
    loaded, shown = nodes.LoadMotion.execute("t.safetensors").args
    assert shown == lines[0]
    by_clip, by_motion, by_file = (animate(nodes, source, led)[0] for led in (driving, motion, loaded))
    assert torch.equal(by_clip, by_motion)
    assert torch.equal(by_clip, by_file)


def test_motion_is_saved_under_the_next_number(nodes, host, driving):
    names = [record(nodes, driving).args[1].splitlines()[1] for _ in range(2)]
    assert names == [f"saved as motion/talk_0000{k}_.safetensors" for k in (1, 2)]
    assert sorted(os.listdir(host.base / "output" / "motion")) == [name.split("/")[1] for name in names]


def test_a_picture_s_motion_is_a_driving_still(nodes, clips, source):
    from liveportrait_v2v.media import Clip

    picture = next(Clip(clips["astronaut"]).chunks(1)).frames.float() / 255
    motion, report = record(nodes, picture).args
    assert report.splitlines()[0] == "motion for the draft engine: a still"
    assert animate(nodes, source, motion)[4] == animate(nodes, source, picture)[4] > 6


def test_a_batch_of_images_takes_the_rate_of_the_motion_that_leads_it(nodes, source, driving, clips):
    from liveportrait_v2v.media import Clip

    images = next(Clip(clips["single_face"]).chunks(4)).frames.float() / 255
    assert animate(nodes, images, record(nodes, driving).args[0])[3] == pytest.approx(29.97)


def test_another_face_is_led_by_motion(nodes, clips, driving):
    two = VideoFromFile(str(clips["obama"]), duration=0.3)
    motion = record(nodes, driving).args[0]
    (roles,) = nodes.AnotherFace.execute(motion, 1, 0, settings=QUICK).args
    report = animate(nodes, two, driving, roles=roles)[5]
    assert "role 2 (motion template): source face 1: " in report


@pytest.mark.parametrize("prefix", ["../talk", "/tmp/talk", "a/../../talk", "", "a\0b"])
def test_a_name_that_leads_out_of_the_output_folder_is_refused_before_the_clip_is_read(
    nodes, host, driving, prefix
):
    with pytest.raises(Exception, match="filename_prefix must name a file in ComfyUI's output folder"):
        record(nodes, driving, filename_prefix=prefix)
    assert host.bars == []


def test_a_name_that_no_file_can_have_is_refused(nodes, host, driving):
    with pytest.raises(Exception, match="can't be written: File name too long; change filename_prefix"):
        record(nodes, driving, filename_prefix="x" * 300)
    assert os.listdir(host.base / "output") == []


def test_the_networks_motion_needs_the_model_and_lets_go_of_it(nodes, driving):
    with pytest.raises(Exception, match="`model` is not linked: link Load Model"):
        record(nodes, driving, engine="liveportrait")
    released = []
    model = SimpleNamespace(
        engine=lambda: LivePortraitEngine(MadeNetworks()), release=lambda: released.append(True)
    )
    motion, report = record(nodes, driving, engine="liveportrait", model=model).args
    assert report.startswith("motion for the liveportrait engine: 6 frames, 29.97 fps")
    assert released == [True]
    assert motion.engine == "liveportrait"


def test_motion_of_another_engine_is_refused_with_the_remedy(nodes, source, driving, host):
    motion = record(nodes, driving).args[0]
    model = SimpleNamespace(engine=lambda: LivePortraitEngine(MadeNetworks()), release=lambda: None)
    with pytest.raises(
        Exception, match="made it, draft, got the liveportrait engine; take the draft engine, or"
    ):
        nodes.AnimateLocal.execute(model=model, source=source, driving=motion, frames=False, settings=QUICK)
    with pytest.raises(Exception, match="made it, draft, got the segmind engine; take the draft engine, or"):
        standin_run(nodes.AnimateSegmind, source=source, driving=motion, frames=False, settings=QUICK)


def standin_run(node, **values):
    import asyncio

    return asyncio.run(node.execute(**values))


def test_files_that_may_be_motion_are_offered(nodes, host):
    for name in ("b.safetensors", "a.PKL", "clip.mp4", "notes.txt"):
        (host.base / "input" / name).write_bytes(b"")
    (host.base / "input" / "folder.pkl").mkdir()
    (file,) = nodes.LoadMotion.GET_SCHEMA().inputs
    assert file.options == ["a.PKL", "b.safetensors"]


def test_what_is_no_motion_is_refused_before_a_run(nodes, host):
    inputs = host.base / "input"
    (host.base / "secret.pkl").write_bytes(b"")
    (inputs / "text.safetensors").write_text("Dear reader")
    (inputs / "harm.pkl").write_bytes(pickle.dumps({"motion": [Harm()]}))
    (inputs / "array.pkl").write_bytes(pickle.dumps(np.zeros((4, 70))))
    for name, message in (
        ("", "choose a motion template"),
        ("nowhere.pkl", "nowhere.pkl: there is no such file in ComfyUI's input or output folder"),
        ("../secret.pkl", "secret.pkl: there is no such file in ComfyUI's input or output folder"),
        ("text.safetensors", "text.safetensors: is no motion template"),
        ("harm.pkl", "only numbers and numpy arrays are taken from a pickle"),
        ("array.pkl", "it holds an object of type ndarray; motion in LivePortrait's format is"),
    ):
        assert message in nodes.LoadMotion.validate_inputs(name)
    assert not (inputs / "harmed").exists()


class Harm:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_another_file_of_the_name_is_loaded_again(nodes, host):
    file = host.base / "input" / "t.pkl"
    file.write_bytes(b"1")
    before = nodes.LoadMotion.fingerprint_inputs("t.pkl")
    file.write_bytes(b"12")
    assert nodes.LoadMotion.fingerprint_inputs("t.pkl") != before
