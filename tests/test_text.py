"""Text from outside: one bounded line, without secrets."""

from __future__ import annotations

import json
import time

import pytest

from liveportrait_v2v.errors import MAX_MESSAGE, LivePortraitError, MediaError, SettingsError
from liveportrait_v2v.settings import AnimationSettings
from liveportrait_v2v.text import hide, one_line, quoted, redact, redact_json, storable

SECRET = "SG_fedcba9876543210"


@pytest.fixture(autouse=True)
def hidden():
    hide(SECRET)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET.lower(),
        f"x-api-key: {SECRET}\r\n",
        SECRET[:7] + "\x1b[0m" + SECRET[7:],
        " " * 390 + SECRET,
        "y" * 390 + SECRET,
    ],
)
def test_a_secret_is_in_no_line(text):
    line = one_line(text)
    assert SECRET.lower() not in line.lower()
    assert SECRET[:12] not in line


@pytest.mark.parametrize("before", ["", SECRET, SECRET + "\x1b[0m" * 100])
@pytest.mark.parametrize("shift", range(len(SECRET)))
def test_no_part_of_a_secret_is_left_where_a_long_text_is_cut(before, shift):
    escapes = "\x1b[0m" * 1994
    text = (before + escapes)[: 8000 - len(SECRET) + shift] + SECRET + "z" * 10_000
    assert SECRET[:1] not in one_line(text).replace("[key]", "")


def test_a_text_of_any_length_is_cut_before_it_is_searched():
    started = time.process_time()
    for _ in range(100):
        one_line("x" * 10_000_000)
    assert time.process_time() - started < 5


def test_a_secret_in_escaped_json_is_redacted_behind_the_decoder_at_any_depth():
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    nested = "[" * 900 + f'{{"error": "{escaped}"}}' + "]" * 900
    decoded = redact_json(json.loads(nested))
    for _ in range(900):
        (decoded,) = decoded
    assert decoded == {"error": "[key]"}
    assert redact_json("a " + SECRET) == "a [key]"


def test_a_message_is_one_bounded_line_whatever_it_quotes():
    for error in (
        LivePortraitError("\x1b[2J" + "z\n" * 10_000 + SECRET),
        MediaError("clip\n\x1b[31m.mp4", f"{SECRET}\u202e"),
    ):
        assert len(str(error)) <= MAX_MESSAGE
        assert str(error).isprintable()
        assert SECRET not in f"{error} {vars(error)}"


LARGE = {
    "integer": 10**400,
    "negative": -(10**400),
    "longer than Python prints": 10**5000,
    "digits": "9" * 5000,
    "text": "x" * 10**6,
    "list": [1] * 10**5,
}


@pytest.mark.parametrize("value", LARGE)
@pytest.mark.parametrize("name", ["scale", "dsize", "mismatch_method", "stitching"])
def test_a_value_of_any_size_is_refused_and_quoted_in_short(name, value):
    with pytest.raises(SettingsError) as error:
        AnimationSettings.from_dict({name: LARGE[value]})
    assert name in str(error.value)
    assert len(str(error.value)) < 300


def test_a_name_of_any_size_is_refused_and_quoted_in_short():
    with pytest.raises(SettingsError, match="unknown parameter") as error:
        AnimationSettings.from_dict({"n" * 10**6: 1})
    assert len(str(error.value)) < MAX_MESSAGE


def test_small_values_are_quoted_as_they_are():
    assert [quoted(value) for value in (9.0, "x", True, 12)] == ["9.0", "'x'", "True", "12"]


def test_lone_surrogates_can_be_stored():
    assert storable("https://x/\ud800") == "https://x/\\ud800"
    assert redact("nothing to hide") == "nothing to hide"
