"""Motion templates: ours, and the pickles that upstream publishes."""

from __future__ import annotations

import codecs
import os
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from made_networks import MadeNetworks

from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.keypoints import rotation_matrix
from liveportrait_v2v.engines.liveportrait.motion import Motion
from liveportrait_v2v.engines.liveportrait.template import LivePortraitTemplate
from liveportrait_v2v.errors import Cancelled, SettingsError, TemplateError
from liveportrait_v2v.media import Clip, Frames, VideoWriter
from liveportrait_v2v.run import animate
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.templates import read_template, record_template, write_template

N = 4
MAKE = torch.Generator().manual_seed(0)
ROTATION = rotation_matrix(*(torch.rand(3, N, generator=MAKE) * 30))
EXP = torch.randn(N, 21, 3, generator=MAKE) * 0.02
SCALE, T = torch.rand(N, 1, generator=MAKE) + 1, torch.randn(N, 3, generator=MAKE) * 0.1
EYES, LIPS = torch.rand(N, 2, generator=MAKE), torch.rand(N, 1, generator=MAKE)


def published(old_names: bool = False, ratios: bool = True, count: int = 4) -> dict:
    """A template as upstream pickles it."""
    rotation = "R_d" if old_names else "R"
    items = [
        {
            "scale": SCALE[k : k + 1].numpy(),
            rotation: ROTATION[k : k + 1].numpy(),
            "exp": EXP[k : k + 1].numpy(),
            "t": T[k : k + 1].numpy(),
            "kp": np.zeros((1, 21, 3), np.float32),
            "x_s": np.zeros((1, 21, 3), np.float32),
        }
        for k in range(count)
    ]
    data = {"n_frames": count, "output_fps": 25, "motion": items}
    if ratios:
        d = "d_" if old_names else ""
        data[f"c_{d}eyes_lst"] = [EYES[k : k + 1].numpy() for k in range(count)]
        data[f"c_{d}lip_lst"] = [LIPS[k : k + 1].numpy() for k in range(count)]
    return data


@pytest.fixture
def dump(tmp_path):
    """dump(data, protocol=4): the path of a pickle."""

    def write(data, protocol: int = 4):
        path = tmp_path / "template.pkl"
        path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data, protocol))
        return path

    return write


def template(rate: Fraction = Fraction(30000, 1001)) -> LivePortraitTemplate:
    present, begins = torch.ones(2, N, dtype=torch.bool)
    present, begins = present.clone(), begins.clone()
    present[2], begins[1] = False, False
    return LivePortraitTemplate(Motion(ROTATION, EXP, SCALE, T, EYES, LIPS), present, begins, rate)


def same(found: Motion, eyes=EYES, lips=LIPS) -> bool:
    wanted = Motion(ROTATION, EXP, SCALE, T, eyes, lips)
    return torch.equal(found.pack(), wanted.pack())


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_published_templates_are_read(dump, old_names, protocol):
    found = read_template(dump(published(old_names), protocol))
    assert same(found.motion)
    assert found.rate == 25
    assert found.present.all()
    assert not found.begins.any()


def test_templates_of_numpy_before_2_are_read(dump):
    data = pickle.dumps(published(), 2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core" in data
    assert same(read_template(dump(data)).motion)


def test_motion_that_a_speech_model_made_is_read_as_published_motion_is(dump):
    """JoyVASA's form, with angles beside the rotation and without openings, and KDTalker's, without rate and count."""
    joyvasa, kdtalker = published(ratios=False), published(old_names=True, ratios=False)
    joyvasa.update(c_eyes_lst=[], c_lip_lst=[])
    for item in joyvasa["motion"]:
        item.update(pitch=np.zeros((1, 1)), yaw=np.zeros((1, 1)), roll=np.zeros((1, 1)))
    kdtalker = {"motion": kdtalker["motion"], "c_d_eyes_lst": [], "c_d_lip_lst": []}
    for data in (joyvasa, kdtalker):
        found = read_template(dump(data))
        assert torch.equal(
            found.motion.pack()[:, :76], read_template(dump(published())).motion.pack()[:, :76]
        )
        assert found.motion.lips.isnan().all()
        assert found.rate == 25


def test_a_head_s_angles_stand_for_its_rotation(dump):
    data, angles = published(), torch.rand(3, N, generator=MAKE) * 30
    for item, (pitch, yaw, roll) in zip(data["motion"], angles.T.numpy(), strict=True):
        del item["R"]
        item.update(pitch=pitch, yaw=yaw, roll=roll)
    assert torch.allclose(read_template(dump(data)).motion.rotation, rotation_matrix(*angles))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"exp": np.zeros((4, 21, 3))}, "holds a dict with 'exp'; motion in LivePortrait's format is"),
        ([1, 2], "holds an object of type list; motion in LivePortrait's format is"),
        ({"motion": np.zeros((4, 70))}, "holds a dict with 'motion'; motion in LivePortrait's format is"),
        ({"motion": [{"exp": np.zeros((21, 3)), "t": np.zeros(3)}]}, "frame 0 has no 'pitch'; motion in"),
    ],
)
def test_motion_of_another_form_is_refused_in_words(dump, data, message):
    with pytest.raises(TemplateError, match=message):
        read_template(dump(data))


class Asks:
    """Is pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Asks(np.ndarray, (10**12,)), "not callable"),
        (Asks(codecs.encode, "a", "hex"), "it asks for the encoding 'hex'"),
        (np.array([None, 1]), "it has an array of object, not of numbers"),
        (np.zeros(64), "'exp' of frame 0 has 64 numbers, and must have 63"),
        (np.array(["a"] * 63), "could not convert string"),
    ],
)
def test_a_pickle_gets_no_more_memory_than_it_has_numbers(dump, value, message, protocol):
    data = published()
    data["motion"][0]["exp"] = value
    with pytest.raises(TemplateError, match=message):
        read_template(dump(data, protocol))


def test_a_frame_that_a_pickle_repeats_endlessly_is_refused(dump):
    data = published()
    data["motion"] = data["motion"][:1] * 1_000_001
    with pytest.raises(TemplateError, match="it has 1000001 frames; at most 1000000 are read"):
        read_template(dump(data))


def test_tensors_in_a_pickle_are_refused_with_the_remedy(dump):
    data = published()
    data["motion"][0]["t"] = torch.zeros(3)
    with pytest.raises(
        TemplateError, match="only numbers and numpy arrays are taken from a pickle, so make arrays"
    ):
        read_template(dump(data))


def test_a_published_template_without_openings_is_read_without_them(dump):
    found = read_template(dump(published(ratios=False)))
    assert torch.equal(found.motion.exp, EXP)
    assert found.motion.eyes.isnan().all()
    assert found.motion.lips.isnan().all()


class Evil:
    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_whatever_else_a_pickle_asks_for_is_refused_by_name_and_not_done(
    dump, tmp_path, monkeypatch, protocol
):
    monkeypatch.chdir(tmp_path)
    data = published()
    data["motion"][2]["more"] = Evil()
    with pytest.raises(TemplateError, match=r"asks for (posix|nt)\.system"):
        read_template(dump(data, protocol))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("asked", ["builtins eval", "numpy load", "collections OrderedDict", "torch load"])
def test_nothing_by_any_other_name_is_made(dump, asked):
    with pytest.raises(TemplateError, match=asked.replace(" ", r"\.")):
        read_template(dump(b"c" + asked.replace(" ", "\n").encode() + b"\n."))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("motion"),
        lambda data: data["motion"].clear(),
        lambda data: data["motion"][1].pop("exp"),
        lambda data: data["motion"][1].update(exp=np.zeros((1, 20, 3), np.float32)),
        lambda data: data["motion"][1].update(t=np.array(["a", "b", "c"])),
        lambda data: data["motion"][1].update(t=np.array([np.nan, 0, 0])),
        lambda data: data["motion"][1].update(R=np.zeros((1, 3, 3))),
        lambda data: data.update(output_fps=0),
        lambda data: data.update(c_lip_lst=data["c_lip_lst"][:2]),
    ],
)
def test_a_spoilt_template_is_an_error_that_names_the_file(dump, spoil):
    data = published()
    spoil(data)
    with pytest.raises(TemplateError, match=r"template.pkl: is no motion template"):
        read_template(dump(data))


@pytest.mark.parametrize("name", ["t.pkl", "t.safetensors"])
def test_a_file_that_is_something_else_is_an_error(tmp_path, name):
    for content in (b"", b"Dear reader", pickle.dumps([1, 2]), os.urandom(200)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TemplateError, match=name):
            read_template(tmp_path / name)
    with pytest.raises(TemplateError, match=r"can't be read|No such file"):
        read_template(tmp_path / "nowhere" / name)


def test_what_is_written_is_read_again(tmp_path):
    write_template(tmp_path / "t.safetensors", template())
    found = read_template(tmp_path / "t.safetensors")
    assert same(found.motion)
    assert found.rate == Fraction(30000, 1001)
    assert torch.equal(found.present, template().present)
    assert torch.equal(found.begins, template().begins)
    assert os.listdir(tmp_path) == ["t.safetensors"]


def test_a_published_template_can_be_converted(dump, tmp_path):
    write_template(tmp_path / "t.safetensors", read_template(dump(published(ratios=False))))
    assert read_template(tmp_path / "t.safetensors").motion.lips.isnan().all()


def test_a_template_has_the_facts_of_a_clip():
    info = template().info
    assert (info.frame_count, info.rate, info.is_still, info.audio) == (N, Fraction(30000, 1001), False, None)
    assert info.duration == N / info.rate


@pytest.fixture
def recorded(clips):
    engine = LivePortraitEngine(MadeNetworks())
    return record_template(clips["jwp_intro"], engine, AnimationSettings(video_frame_load_cap=10))


@pytest.mark.parametrize("reference_frame", [0, 3])
@pytest.mark.parametrize("method", ["cut", "circle"])
def test_a_recorded_template_leads_as_its_clip_does(clips, recorded, tmp_path, reference_frame, method):
    write_template(tmp_path / "t.safetensors", recorded)
    settings = AnimationSettings(video_frame_load_cap=10, mismatch_method=method)
    options = MotionOptions(reference_frame=reference_frame)
    targets = []
    for driving in (clips["jwp_intro"], read_template(tmp_path / "t.safetensors")):
        networks = MadeNetworks()
        result = animate(
            clips["astronaut"],
            driving,
            engine=LivePortraitEngine(networks),
            settings=settings,
            options=options,
        )
        assert result.frames == 10
        assert result.rate == recorded.rate
        targets.append(torch.cat([call[2] for call in networks.calls_of("render")]))
    torch.testing.assert_close(*targets, atol=1e-5, rtol=0)


def test_a_gap_in_a_recorded_template_is_bridged_as_in_its_clip(clips):
    frames = next(Clip(clips["jwp_intro"]).chunks(10)).frames.clone()
    frames[4] = 128
    clip, targets = Clip(Frames(frames, Fraction(25))), []
    driver = record_template(clip, LivePortraitEngine(MadeNetworks()))
    for driving in (clip, driver):
        networks = MadeNetworks()
        result = animate(clips["astronaut"], driving, engine=LivePortraitEngine(networks))
        assert result.frames_without_driving_face == 1
        targets.append(torch.cat([call[2] for call in networks.calls_of("render")]))
    assert len(targets[0]) == 10
    torch.testing.assert_close(*targets, atol=1e-5, rtol=0)


def test_recording_can_be_cancelled(clips):
    with pytest.raises(Cancelled):
        record_template(clips["jwp_intro"], LivePortraitEngine(MadeNetworks()), cancelled=lambda: True)


def test_frames_of_a_template_without_a_face_show_the_source(clips):
    result = animate(clips["astronaut"], template(), engine=LivePortraitEngine(MadeNetworks()))
    assert (result.frames, result.frames_without_driving_face) == (N, 1)


def test_retargeting_needs_openings(clips, dump):
    without = read_template(dump(published(ratios=False)))
    engine = LivePortraitEngine(MadeNetworks())
    with pytest.raises(SettingsError, match="lip_retargeting needs the lip openings"):
        animate(clips["astronaut"], without, engine=engine, settings=AnimationSettings(lip_retargeting=True))
    assert animate(clips["astronaut"], without, engine=engine).frames == N


def turned(without_openings: bool = False) -> LivePortraitTemplate:
    """A template of N frames whose head is turned in all but the last."""
    turn = torch.tensor([30.0, 25.0, 20.0, 0.0])
    still, unknown = torch.zeros(N), torch.full((N, 3), torch.nan)
    motion = Motion(
        rotation_matrix(still, turn, still),
        torch.zeros(N, 21, 3),
        torch.ones(N, 1),
        torch.zeros(N, 3),
        torch.full((N, 2), 0.3),
        torch.zeros(N, 1),
    )
    if without_openings:
        motion = replace(motion, eyes=unknown[:, :2], lips=unknown[:, :1])
    return LivePortraitTemplate(motion, torch.ones(N).bool(), torch.zeros(N).bool(), Fraction(25))


@pytest.mark.parametrize("without_openings", [False, True])
def test_auto_takes_the_most_neutral_frame_of_a_template(clips, without_openings):
    targets = []
    for number in (-1, N - 1):
        networks = MadeNetworks()
        engine, options = LivePortraitEngine(networks), MotionOptions(reference_frame=number)
        result = animate(clips["astronaut"], turned(without_openings), engine=engine, options=options)
        targets.append(torch.cat([call[2] for call in networks.calls_of("render")]))
        note = f"reference_frame auto: took driving frame {N - 1}, the most neutral of {N}"
        assert result.notes == ((note,) if number < 0 else ())
    assert torch.equal(*targets)


def test_a_template_that_begins_far_from_neutral_gets_a_note(clips):
    result = animate(clips["astronaut"], turned(), engine=LivePortraitEngine(MadeNetworks()))
    assert len(result.notes) == 1
    assert f"auto would take frame {N - 1}" in result.notes[0]


def test_a_reference_frame_that_a_template_lacks_is_refused(clips):
    engine, options = LivePortraitEngine(MadeNetworks()), MotionOptions(reference_frame=N)
    with pytest.raises(SettingsError, match=f"reference_frame .* got {N} of {N}"):
        animate(clips["astronaut"], template(), engine=engine, options=options)


def test_another_engine_refuses_a_template(clips):
    with pytest.raises(SettingsError, match="liveportrait, got the draft engine"):
        animate(clips["astronaut"], template(), engine=create_engine("draft"))


def test_a_stills_template_leads_as_the_still_does(clips, tmp_path):
    recorded = record_template(clips["astronaut"], LivePortraitEngine(MadeNetworks()))
    assert (len(recorded), recorded.rate, recorded.info.is_still) == (1, None, True)
    write_template(tmp_path / "t.safetensors", recorded)
    targets = []
    for driving in (clips["astronaut"], read_template(tmp_path / "t.safetensors")):
        networks = MadeNetworks()
        source = Clip(clips["jwp_intro"], duration=Fraction(1, 5))
        result = animate(source, driving, engine=LivePortraitEngine(networks))
        assert result.frames == source.info.frame_count
        targets.append(torch.cat([arguments[2] for arguments in networks.calls_of("render")]))
    torch.testing.assert_close(*targets)


def test_a_template_of_one_frame_of_a_clip_leads_as_a_still_does(clips):
    one = AnimationSettings(video_frame_load_cap=1)
    recorded = record_template(clips["jwp_intro"], LivePortraitEngine(MadeNetworks()), one)
    assert recorded.info.is_still
    still = Clip(Frames(next(Clip(clips["jwp_intro"]).chunks(1)).frames))
    source, targets = Clip(clips["jwp_intro"], duration=Fraction(1, 5)), []
    for driving in (recorded, still):
        networks = MadeNetworks()
        result = animate(source, driving, engine=LivePortraitEngine(networks))
        assert result.frames == source.info.frame_count
        targets.append(torch.cat([arguments[2] for arguments in networks.calls_of("render")]))
    torch.testing.assert_close(*targets, atol=1e-5, rtol=0)


def test_a_published_template_of_one_frame_is_a_still(dump):
    found = read_template(dump(published(count=1)))
    assert (len(found), found.rate, found.info.is_still, found.info.duration) == (1, None, True, None)


def test_a_scale_of_nothing_is_refused(tmp_path):
    flat = template()
    flat.motion.scale[1] = 0
    write_template(tmp_path / "t.safetensors", flat)
    with pytest.raises(TemplateError, match="a scale in it is 0, and must be above 0"):
        read_template(tmp_path / "t.safetensors")


def test_a_clip_without_a_face_makes_no_template(tmp_path):
    engine = LivePortraitEngine(MadeNetworks())
    with VideoWriter(tmp_path / "grey.mp4", Fraction(25)) as writer:
        writer.write(torch.full((3, 96, 128, 3), 128, dtype=torch.uint8))
    with pytest.raises(TemplateError, match="face 0 is in none of the 3 frames"):
        record_template(tmp_path / "grey.mp4", engine)
