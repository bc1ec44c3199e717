"""Expressions: values over time, sums of layers, the JSON form, and what the old editor wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from liveportrait_v2v.errors import MediaError, SettingsError
from liveportrait_v2v.expression import (
    ALL_CHANNELS,
    CHANNELS,
    COLUMNS,
    MAX_JSON_BYTES,
    MAX_KEYFRAMES,
    Expression,
    Keyframe,
    Layer,
)

DOCS = Path(__file__).parent.parent / "docs"
NOD = {1: {"rotate_pitch": 0}, 2: {"rotate_pitch": 10}, 3: {"rotate_pitch": 0}}


def edited(expression: Expression, seconds: float) -> dict[str, float]:
    """The columns of a row that are not 0."""
    return {name: value for name, value in zip(COLUMNS, expression.row(seconds), strict=True) if value}


def test_without_layers_nothing_is_edited():
    assert set(Expression().row(3)) == {0.0}
    assert Expression().channels == frozenset()


@pytest.mark.parametrize("name", sorted(ALL_CHANNELS))
def test_a_channel_at_its_neutral_value_edits_nothing(name):
    neutral = CHANNELS[name].neutral
    if neutral is None:
        assert edited(Expression.constant(**{name: 0.3}), 0) == {name: 0.3, f"{name}_weight": 1}
    else:
        assert edited(Expression.constant(**{name: neutral}), 0) == {}


@pytest.mark.parametrize("name", sorted(ALL_CHANNELS))
@pytest.mark.parametrize("end", ["low", "high"])
def test_both_ends_of_a_range_are_allowed_and_what_is_beyond_is_refused_with_the_rule(name, end):
    bound = getattr(CHANNELS[name], end)
    assert Expression.constant(**{name: bound}).channels == {name}
    beyond = bound + (0.01 if end == "high" else -0.01)
    with pytest.raises(SettingsError, match=f"{name} must be a number from .* to .*, got {beyond:g}"):
        Expression.constant(**{name: round(beyond, 6)})


def test_a_constant_holds_throughout():
    smiling = Expression.constant(smile=0.8, zoom=1.1)
    assert smiling.at(0) == smiling.at(5000) == {"smile": 0.8, "zoom": 1.1}
    assert smiling.end is None


@pytest.mark.parametrize(
    ("ease", "expected"), [("linear", [2.5, 5, 7.5]), ("smooth", [1.5625, 5, 8.4375]), ("hold", [0, 0, 0])]
)
def test_between_keyframes_a_value_goes_as_its_ease_says(ease, expected):
    nod = Expression.keyed(NOD, ease)
    found = [nod.at(seconds).get("rotate_pitch", 0) for seconds in (1.25, 1.5, 1.75)]
    assert found == pytest.approx(expected)
    assert nod.at(2) == {"rotate_pitch": 10}


def test_outside_the_keyframes_time_nothing_is_edited():
    stare = Expression.keyed({1: {"pupil_x": 5}, 2: {"pupil_x": 5}})
    assert [bool(stare.at(seconds)) for seconds in (0.9, 0.999, 1, 1.5, 2, 2.001)] == [
        *(False, False),
        *(True, True, True, False),
    ]
    assert stare.end == 2


def test_start_and_end_reach_beyond_the_keyframes_with_their_outer_values():
    stare = Expression.keyed({1: {"pupil_x": 5}, 2: {"pupil_x": 8}}, start=0, end=4)
    assert [stare.at(seconds).get("pupil_x", 0) for seconds in (0, 0.5, 3, 4, 4.1)] == [5, 5, 8, 8, 0]


def test_channels_of_the_same_layer_have_keyframes_of_their_own():
    keys = (Keyframe(0, {"smile": 0, "aaa": 0}), Keyframe(1, {"aaa": 100}), Keyframe(2, {"smile": 1}))
    assert Expression((Layer(keyframes=keys),)).at(1) == {"smile": 0.5, "aaa": 100}


def test_a_layer_blends_in_and_out():
    layer = Layer({"smile": 1.0}, start=1, end=3, blend_in=1, blend_out=0.5)
    found = [Expression((layer,)).at(seconds).get("smile", 0) for seconds in (0.5, 1, 1.5, 2, 2.5, 2.75, 3)]
    assert found == pytest.approx([0, 0, 0.5, 1, 1, 0.5, 0])


def test_layers_add_what_differs_from_neutral_and_the_sum_is_limited_to_the_range():
    both = Expression.constant(smile=0.5, zoom=1.1, source=0.8) + Expression.constant(
        smile=0.3, zoom=1.05, source=0.7
    )
    assert both.at(0) == pytest.approx({"smile": 0.8, "zoom": 1.15, "source": 0.5})
    assert (both + both).at(0) == pytest.approx({"smile": 1.3, "zoom": 1.2, "source": 0})


def test_scaling_scales_what_differs_from_neutral_and_the_weight_of_targets():
    half = Expression.constant(smile=0.8, zoom=1.1, source=0, eyes_open=0.4).scaled(0.5)
    expected = {"smile": 0.4, "zoom": 0.05, "source": -0.5, "eyes_open": 0.4, "eyes_open_weight": 0.5}
    assert edited(half, 0) == pytest.approx(expected)
    assert edited(half.scaled(0), 0) == {}


def test_a_later_target_covers_earlier_ones_by_its_weight():
    wide, narrow = Expression.constant(lips_open=0.6), Expression.constant(lips_open=0.2)
    assert edited(wide + narrow, 0)["lips_open"] == pytest.approx(0.2)
    mixed = edited(wide.scaled(0.5) + narrow.scaled(0.5), 0)
    # Own -> halfway to 0.6 -> halfway to 0.2: a quarter of 0.6, half of 0.2.
    assert mixed["lips_open_weight"] == pytest.approx(0.75)
    assert mixed["lips_open"] * 0.75 == pytest.approx(0.25 * 0.6 + 0.5 * 0.2)


def test_blending_goes_from_one_to_the_other():
    a, b = Expression.constant(smile=1.0), Expression.constant(smile=0.2, aaa=50)
    assert a.blended(b, 0).at(0) == a.at(0)
    assert a.blended(b, 1).at(0) == b.at(0)
    assert a.blended(b, 0.25).at(0) == pytest.approx({"smile": 0.8, "aaa": 12.5})


def test_the_json_form_comes_back_the_same():
    layers = (
        Layer({"smile": 0.4}, start=0.5, end=9, blend_in=0.2, blend_out=0.3, strength=1.5),
        Layer({"woo": 3}, (Keyframe(0, {"aaa": 1}, "smooth"), Keyframe(1.5, {"aaa": 9, "eee": 2}))),
    )
    there = Expression(layers).to_json()
    assert Expression.from_json(there) == Expression(layers)
    assert json.loads(there)["version"] == 1
    assert Expression.from_json(Expression().to_json()) == Expression()


def form(**layer) -> dict:
    return {"version": 1, "layers": [layer]}


SMILE = {"smile": 0.1}
REFUSED = [
    ([], "an expression must be an object, got []"),
    ({}, "an expression must have a version, which is 1"),
    ({"version": 2, "layers": []}, "version must be 1, got 2; a later one needs a later"),
    ({"version": True, "layers": []}, "version must be 1, got True"),
    ({"version": 1, "layers": [], "code": "x"}, "unknown key 'code' of an expression; known are version"),
    ({"version": 1}, "layers must be a list, got None"),
    ({"version": 1, "layers": "smile"}, "layers must be a list, got 'smile'"),
    ({"version": 1, "layers": [{}] * 65}, "layers must be 64 at most, got 65"),
    ({"version": 1, "layers": [3]}, "layer 1: must be an object, got 3"),
    (form(channels={"grin": 1}), "layer 1: unknown channel 'grin'; known are rotate_pitch"),
    (form(channels={"<img src=x onerror=alert(1)>": 1}), "layer 1: unknown channel '<img src=x"),
    (form(channels=[1]), "channels must be an object of numbers, got [1]"),
    (form(channels={"smile": "0.5"}), "smile must be a number from -0.3 to 1.3, got '0.5'"),
    (form(channels={"smile": True}), "smile must be a number from -0.3 to 1.3, got True"),
    (form(channels={"smile": 10**400}), "smile must be a number from -0.3 to 1.3, got a number of about 401"),
    (form(channels=SMILE, strength=5), "strength must be a number from 0 to 4, got 5"),
    (form(channels=SMILE, start=-1), "start must be a number from 0 to 86400, got -1"),
    (form(channels=SMILE, start=2, end=1), "end must not be before start, got 2 to 1 seconds"),
    (form(channels=SMILE, blend_out=1), "blend_out needs an end or keyframes, got 1 without"),
    (form(channels=SMILE, name="x"), "unknown key 'name' of a layer; known are channels"),
    (form(keyframes=3), "keyframes must be a list, got 3"),
    (form(keyframes=[{"time": 0}]), "layer 1: keyframe 1: must have a time and channels"),
    (form(keyframes=[{"time": 0, "channels": {}}]), "keyframe 1: a keyframe must have one channel or more"),
    (
        form(keyframes=[{"time": 1e9, "channels": SMILE}]),
        "time must be a number from 0 to 86400, got 1000000000.0",
    ),
    (
        form(keyframes=[{"time": 0, "channels": SMILE, "ease": []}]),
        "ease must be one of linear, smooth, hold, got []",
    ),
    (
        form(keyframes=[{"time": 1, "channels": SMILE}] * 2),
        "in order of time, each later than the one before, got 1",
    ),
    (
        form(channels=SMILE, keyframes=[{"time": 1, "channels": SMILE}]),
        "constant or has keyframes, got both of smile",
    ),
    (form(keyframes=[{}] * 10_001), "keyframes must be 10000 at most, got 10001"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_another_form_is_refused_with_the_rule_and_the_value(data, message):
    with pytest.raises(SettingsError) as refused:
        Expression.from_json(json.dumps(data))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smile: 1", "an expression must be JSON"),
        (b"\xff\xfe{}", "an expression must be JSON"),
        ("[" * 200_000, "an expression must be JSON"),
        ('{"version": 1, "layers": [{"channels": {"smile": NaN}}]}', "numbers must be finite, got NaN"),
        (
            '{"version": 1, "layers": [{"channels": {"smile": 1e999}}]}',
            "smile must be a number from -0.3 to 1.3, got inf",
        ),
        (
            '{"version": 1, "layers": [], "layers": []}',
            "an object must have each name once, got 'layers' twice",
        ),
        (" " * (MAX_JSON_BYTES + 1), "bytes must be 8388608 at most"),
    ],
    ids=["text", "bytes", "nested", "nan", "infinite", "twice", "large"],
)
def test_a_hostile_text_is_refused(text, message):
    with pytest.raises(SettingsError, match=message):
        Expression.from_json(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(SettingsError, match="smile must be a number from"):
        Expression.constant(smile=value)
    with pytest.raises(SettingsError, match="time must be a number from"):
        Expression.keyed({value: {"smile": 1}})


def test_the_keyframes_of_all_layers_are_counted_together():
    layer = Layer(keyframes=[Keyframe(k, {"smile": 1}) for k in range(MAX_KEYFRAMES // 2 + 1)])
    with pytest.raises(SettingsError, match="keyframes must be 10000 at most, got 10002"):
        Expression((layer, layer))


def test_a_file_is_read_no_further_than_the_largest_size(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(MediaError, match=r"large.json: the JSON's bytes must be 8388608 at most"):
        Expression.read(path)


def test_a_file_that_is_missing_or_wrong_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"none.json: can't be read"):
        Expression.read(tmp_path / "none.json")
    (tmp_path / "wrong.json").write_text('{"version": 1, "layers": [{"channels": {"smile": 9}}]}')
    with pytest.raises(
        MediaError, match=r"wrong.json: layer 1: smile must be a number from -0.3 to 1.3, got 9"
    ):
        Expression.read(tmp_path / "wrong.json")


def test_the_old_editors_sliders_are_read_with_the_turns_that_it_added():
    sliders = {"rotate_yaw": 5, "wink": 20, "aaa": 100, "smile": 0, "src_ratio": 0.5, "crop_factor": 1.7}
    expected = {
        **{"rotate_pitch": -5, "rotate_yaw": 3, "rotate_roll": -2},
        **{"wink_left": 20, "aaa": 100, "source": 0.5},
    }
    assert Expression.from_sliders(sliders).at(0) == pytest.approx(expected)
    assert Expression.from_json(json.dumps(sliders)) == Expression.from_sliders(sliders)


def test_the_old_editors_sliders_at_rest_edit_nothing():
    rest = dict.fromkeys(("rotate_pitch", "blink", "wink", "aaa", "smile"), 0)
    assert Expression.from_sliders({**rest, "src_ratio": 1, "sample_parts": "OnlyExpression"}) == Expression()


@pytest.mark.parametrize("sliders", [{"smile": 2}, {"smile": math.nan}, {"<b>": 1}])
def test_a_wrong_slider_is_refused(sliders):
    with pytest.raises(SettingsError, match=r"must be a number|unknown slider"):
        Expression.from_sliders(sliders)


def test_the_old_editors_commands_are_read():
    expressions = [{"smile": 1}, {"rotate_yaw": 10}]
    told = Expression.from_commands("1 = 10:10\n\n2 = 5:10\n0 = 2:50", expressions, 10)
    # To the smile over 10 frames, held to frame 20; to the turn by 25, held to 35; back by 37, held to the 87th frame.
    found = [told.at(frame / 10) for frame in (0, 5, 10, 20, 25, 35, 37, 60)]
    assert found == [
        *({}, {"smile": 0.5}, {"smile": 1}, {"smile": 1}),
        *({"rotate_yaw": 10}, {"rotate_yaw": 10}, {}, {}),
    ]
    assert told.at(2.2) == pytest.approx({"smile": 0.6, "rotate_yaw": 4})
    assert told.end == 8.6
    same = {"sliders": expressions, "command": "1 = 10:10\n2 = 5:10\n0 = 2:50", "rate": 10}
    assert Expression.from_json(json.dumps(same)) == told


def test_a_command_without_change_jumps():
    jumps = Expression.from_commands("1 = 0:2\n0 = 0:2", [{"smile": 1}], 1)
    assert [jumps.at(seconds) for seconds in range(4)] == [{"smile": 1}, {"smile": 1}, {}, {}]


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ("1 = 10", "a command is index = change:keep in whole numbers, got '1 = 10'"),
        ("-1 = 1:1", "a command is index"),
        ("3 = 1:1", r"from 0 \(the source's own\) to 1, got 3"),
        ("1 = 999999999:1", "time must be a number from 0 to 86400"),
        ("1 = 1:1\n" * 10_000, "lines of commands must be 4999 at most, got 10000"),
        ("__import__('os')", "a command is index"),
    ],
)
def test_a_wrong_command_is_refused(commands, message):
    with pytest.raises(SettingsError, match=message):
        Expression.from_commands(commands, [{"smile": 1}], 25)


def test_the_schema_describes_what_is_read():
    definitions = json.loads((DOCS / "expression.schema.json").read_text(encoding="utf-8"))["$defs"]
    channels = definitions["channels"]["properties"]
    assert {name: (rule["minimum"], rule["maximum"]) for name, rule in channels.items()} == {
        name: (channel.low, channel.high) for name, channel in CHANNELS.items()
    }
    layer = definitions["layer"]["properties"]
    key = layer["keyframes"]["items"]["properties"]
    full = Layer({"smile": 1}, (Keyframe(1, {"aaa": 1}, "hold"),), 0, 9, 1, 1, 2)
    assert set(full.to_dict()) == set(layer)
    assert set(full.to_dict()["keyframes"][0]) == set(key)
