"""The documented parameters: names, ranges, defaults and errors."""

from __future__ import annotations

import dataclasses
import math

import pytest

from liveportrait_v2v.errors import LivePortraitError, SettingsError
from liveportrait_v2v.settings import AUTO, AnimationSettings, MotionOptions

DOCUMENTED = {
    "dsize": 512,
    "scale": 2.3,
    "vx_ratio": 0.0,
    "vy_ratio": -0.125,
    "input_face_index": 0,
    "drive_face_index": 0,
    "crop_drive_face": False,
    "lip_zero": True,
    "lip_zero_threshold": 0.03,
    "eye_retargeting": False,
    "eyes_retargeting_multiplier": 1.0,
    "lip_retargeting": False,
    "lip_retargeting_multiplier": 1.0,
    "stitching": True,
    "relative": True,
    "mismatch_method": "cut",
    "video_frame_load_cap": 120,
    "driving_audio": False,
    "base64": False,
}
RANGES = {
    "dsize": (64, 2048),
    "scale": (1, 4),
    "vx_ratio": (-1, 1),
    "vy_ratio": (-1, 1),
    "input_face_index": (0, 5),
    "drive_face_index": (0, 5),
    "lip_zero_threshold": (0, 5),
    "eyes_retargeting_multiplier": (0.01, 10),
    "lip_retargeting_multiplier": (0.01, 10),
    "video_frame_load_cap": (0, None),
}


def test_names_and_defaults_are_the_documented_ones_in_their_order():
    assert list(AnimationSettings().to_dict().items()) == list(DOCUMENTED.items())


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_allowed(name):
    low, high = RANGES[name]
    assert getattr(AnimationSettings(**{name: low}), name) == low
    top = 10**9 if high is None else high
    assert getattr(AnimationSettings(**{name: top}), name) == top


@pytest.mark.parametrize("name", RANGES)
def test_a_value_outside_its_range_is_refused_with_name_rule_and_value(name):
    low, high = RANGES[name]
    step = 1 if isinstance(DOCUMENTED[name], int) else 0.001
    for value in [low - step] + ([] if high is None else [high + step]):
        with pytest.raises(SettingsError) as caught:
            AnimationSettings(**{name: value})
        assert name in str(caught.value)
        assert repr(value) in str(caught.value)
        assert f"{low:g}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dsize", 512.0),
        ("dsize", True),
        ("dsize", "512"),
        ("scale", "2.3"),
        ("scale", math.nan),
        ("scale", math.inf),
        ("scale", True),
        ("scale", None),
        ("stitching", 1),
        ("stitching", "true"),
        ("mismatch_method", "cycle"),
        ("mismatch_method", None),
        ("base64", "yes"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        AnimationSettings(**{name: value})


def test_an_integer_is_accepted_for_a_float_parameter():
    scale = AnimationSettings(scale=2).scale
    assert scale == 2.0
    assert type(scale) is float


@pytest.mark.parametrize("given", [AUTO, "auto"])
def test_the_word_auto_stands_for_its_number(given):
    options = MotionOptions.from_dict({"reference_frame": given})
    assert options.to_dict()["reference_frame"] == -1
    assert MotionOptions.rules()["reference_frame"].parse("reference_frame", str(given)) == -1


@pytest.mark.parametrize("given", [-2, "automatic", 1.0])
def test_a_reference_frame_that_is_neither_a_number_nor_auto_is_refused_with_the_rule(given):
    rule = "reference_frame must be a whole number of at least -1, or auto"
    with pytest.raises(SettingsError, match=rule):
        MotionOptions(reference_frame=given)


def test_settings_survive_conversion_to_a_dict_and_back():
    settings = AnimationSettings(scale=3.0, mismatch_method="circle", lip_zero=False)
    assert AnimationSettings.from_dict(settings.to_dict()) == settings


def test_parameters_missing_from_a_dict_have_their_defaults():
    assert AnimationSettings.from_dict({"scale": 3.0}) == AnimationSettings(scale=3.0)


def test_an_unknown_name_is_refused_with_a_list_of_the_known_ones():
    with pytest.raises(SettingsError, match=r"'scael'; known are dsize, scale"):
        AnimationSettings.from_dict({"scael": 3.0})


def test_settings_are_frozen_and_can_be_compared_and_hashed():
    settings = AnimationSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.scale = 3.0
    assert hash(settings) == hash(AnimationSettings())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("dsize", "256", 256),
        ("scale", "2", 2.0),
        ("lip_zero", "false", False),
        ("lip_zero", "ON", True),
        ("mismatch_method", "none", "none"),
    ],
)
def test_text_from_the_command_line_is_parsed(name, text, value):
    assert AnimationSettings.rules()[name].parse(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"), [("dsize", "2.5"), ("lip_zero", "maybe"), ("scale", "nan"), ("scale", "")]
)
def test_text_that_is_not_a_valid_value_is_refused(name, text):
    with pytest.raises(SettingsError, match=name):
        AnimationSettings.rules()[name].parse(name, text)


def test_every_parameter_is_documented():
    for kind in (AnimationSettings, MotionOptions):
        assert all(len(rule.help) > 15 for rule in kind.rules().values())
        assert all(name in kind.__doc__ for name in kind.rules())


def test_motion_options_are_checked_too():
    with pytest.raises(LivePortraitError, match="pairing must be one of time, frame, got 'index'"):
        MotionOptions(pairing="index")
