"""Several faces from the command line: `--face`, `--roles` and the schema of its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from liveportrait_v2v.cli import main
from liveportrait_v2v.cli.roles import KEYS, parse_face, read_roles
from liveportrait_v2v.errors import LivePortraitError, SettingsError
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.settings import AnimationSettings, MotionOptions

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS, OPTIONS = AnimationSettings(scale=2), MotionOptions(region="lip")


def refusal(capsys, *arguments: str) -> str:
    """Run `animate`, which must fail with exit code 2, and return its one line of message."""
    assert main(["animate", *arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def written(data: object) -> Path:
    path = Path("roles.json")
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("text", "face", "clip", "drive_face"),
    [
        ("0=a.mp4", 0, "a.mp4", None),
        ("1=b.mp4@2", 1, "b.mp4", 2),
        ("all=a.mp4", "all", "a.mp4", None),
        ("2=x=y@home.mp4", 2, "x=y@home.mp4", None),
        ("2=x=y@home.mp4@1", 2, "x=y@home.mp4", 1),
        ("0=https://user@example.com/a.mp4", 0, "https://user@example.com/a.mp4", None),
    ],
)
def test_a_face_is_split_at_the_first_equals_sign_and_the_last_at_sign_before_digits(
    folder, text, face, clip, drive_face
):
    role = parse_face(text, SETTINGS, OPTIONS)
    assert (role.source_face, role.driving, role.drive_face) == (face, clip, drive_face)
    assert (role.settings, role.options) == (SETTINGS, OPTIONS)


def test_a_file_whose_name_ends_like_a_number_is_taken_whole(folder):
    Path("take@2").write_bytes(b"x")
    role = parse_face("0=take@2", SETTINGS, OPTIONS)
    assert (role.driving, role.drive_face) == ("take@2", None)


@pytest.mark.parametrize("text", ["a.mp4", "=a.mp4", "0=", "left=a.mp4", "-1=a.mp4", "²=a.mp4"])
def test_a_face_of_another_form_is_refused_with_the_form(folder, text):
    with pytest.raises(SettingsError, match=rf"--face takes FACE=CLIP or .*, got '{re.escape(text)}'"):
        parse_face(text, SETTINGS, OPTIONS)


def test_a_file_of_roles_has_settings_and_options_of_each_over_those_of_the_command(folder):
    own = {"driving": "b.mp4", "source_face": 1, "drive_face": 2}
    changed = {"settings": {"lip_zero": False, "scale": 3}, "options": {"smoothing": 0}}
    path = written({"roles": [{"driving": "a.mp4"}, {**own, **changed}]})
    first, second = read_roles(path, SETTINGS, OPTIONS)
    assert (first.source_face, first.drive_face, first.settings, first.options) == (
        *(None, None),
        *(SETTINGS, OPTIONS),
    )
    assert (second.source_face, second.drive_face) == (1, 2)
    assert second.settings == AnimationSettings(scale=3, lip_zero=False)
    assert second.options == MotionOptions(region="lip", smoothing=0)


def test_paths_in_a_file_of_roles_are_relative_to_its_folder(folder):
    Path("deep").mkdir()
    path = written({"roles": [{"driving": "a.mp4"}, {"driving": "/clips/b.mp4", "source_face": 1}]})
    path = path.rename("deep/roles.json")
    assert [role.driving for role in read_roles(path, SETTINGS, OPTIONS)] == ["deep/a.mp4", "/clips/b.mp4"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "roles.json: is no JSON"),
        ("[" * 100_000, "roles.json: is no JSON"),
        ([], 'the file must be {"roles": [...]}'),
        ({"roles": []}, "with one role or more"),
        ({"roles": [{}], "x": 1}, 'the file must be {"roles": [...]}'),
        ({"roles": [{"driving": "a.mp4"}, 3]}, 'role 2 (roles.json): "driving" must be the path of a clip'),
        (
            {"roles": [{"driving": "a.mp4", "face": 1}]},
            "role 1 (a.mp4): unknown key 'face'; known are driving",
        ),
        ({"roles": [{"driving": "a.mp4", "settings": 3}]}, "role 1 (a.mp4): settings must be an object"),
        (
            {"roles": [{"driving": "a.mp4", "settings": {"scale": 9}}]},
            "role 1 (a.mp4): scale must be a number from 1 to 4, got 9",
        ),
        (
            {"roles": [{"driving": "a.mp4", "options": {"size": 9}}]},
            "role 1 (a.mp4): unknown parameter 'size'",
        ),
    ],
)
def test_a_file_of_another_form_is_refused_by_the_name_of_the_role(folder, data, message):
    with pytest.raises(LivePortraitError, match=re.escape(message)):
        read_roles(written(data), SETTINGS, OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ([], "got none"),
        (["b.mp4", "--face", "0=b.mp4"], "got DRIVING and --face"),
        (["--face", "0=b.mp4", "--roles", "roles.json"], "got --face and --roles"),
    ],
)
def test_one_of_driving_face_and_roles_is_to_be_given(folder, capsys, arguments, got):
    line = refusal(capsys, "a.mp4", "-o", "out.mp4", *arguments)
    assert f"animate takes one of DRIVING, --face and --roles, {got}" in line


@pytest.fixture
def pair(clips, folder) -> str:
    """A short clip with two faces, mirror images side by side."""
    chunk = next(Clip(clips["single_face"]).chunks(4))
    face = chunk.frames[:, 60:260, 220:420]
    with VideoWriter("pair.mp4", Clip(clips["single_face"]).info.rate, crf=10) as writer:
        writer.write(torch.cat((face, face.flip(2)), 2))
    return "pair.mp4"


def test_two_faces_are_animated_by_a_clip_each(clips, pair, capsys):
    words = ["--face", f"0={clips['jwp_intro']}", "--face", f"1={clips['test_movie']}@0", "--json"]
    assert main(["animate", pair, "-o", "out.mp4", "--set", "dsize=128", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == Clip("out.mp4").info.frame_count == 4
    assert report["frames_without_source_face"] == report["frames_without_driving_face"] == 0


def test_a_file_of_roles_is_animated(clips, pair, capsys):
    roles = [{"driving": str(clips["jwp_intro"]), "source_face": "all", "settings": {"dsize": 128}}]
    assert main(["animate", pair, "-o", "out.mp4", "--roles", str(written({"roles": roles}))]) == 0
    assert Clip("out.mp4").info.frame_count == 4


def test_a_face_that_two_roles_animate_is_refused_by_the_name_of_the_role(clips, pair, capsys):
    words = ["--face", f"0={clips['jwp_intro']}", "--face", f"all={clips['test_movie']}"]
    line = refusal(capsys, pair, "-o", "out.mp4", *words)
    assert f"role 2 ({clips['test_movie'].name}): face 0 of the source is animated by role 1" in line


def test_a_face_number_out_of_range_is_refused_by_the_name_of_the_role(clips, pair, capsys):
    line = refusal(capsys, pair, "-o", "out.mp4", "--face", f"9={clips['jwp_intro']}")
    assert f"role 1 ({clips['jwp_intro'].name}): source_face must be a whole number from 0 to 5" in line


@pytest.mark.parametrize("faces", [("0", "1"), ("all",)])
def test_several_faces_are_refused_for_the_hosted_model_before_anything_is_sent(
    clips, pair, capsys, monkeypatch, faces
):
    def animate(*_, **__):
        raise AssertionError("the clips would be uploaded")

    monkeypatch.setattr("liveportrait_v2v.engines.segmind.SegmindEngine.animate", animate)
    words = [word for face in faces for word in ("--face", f"{face}={clips['jwp_intro']}")]
    line = refusal(capsys, pair, "-o", "out.mp4", "--engine", "segmind", *words)
    assert "the segmind engine animates one face a run, got" in line
    assert "take a local engine" in line


def test_an_output_that_is_a_driving_clip_of_a_role_is_refused(pair, capsys):
    assert "is an input too" in refusal(capsys, "x.mp4", "-o", pair, "--face", f"0={pair}")


def test_the_example_in_the_documentation_is_a_file_of_roles(folder):
    (example,) = re.findall(r"```json\n(.*?)```", (DOCS / "roles.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(read_roles(written(example), SETTINGS, OPTIONS)) == 2


@pytest.fixture
def schema() -> dict:
    """What the published schema says of one role, by key."""
    data = json.loads((DOCS / "roles.schema.json").read_text(encoding="utf-8"))
    return data["properties"]["roles"]["items"]["properties"]


def test_the_schema_has_the_keys_of_a_role(schema):
    assert tuple(schema) == KEYS


@pytest.mark.parametrize(("key", "kind"), [("settings", AnimationSettings), ("options", MotionOptions)])
def test_the_schema_allows_what_the_parameters_do_and_no_more(schema, key, kind):
    parameters = schema[key]["properties"]
    assert list(parameters) == list(kind.rules())
    for name, facts in parameters.items():
        if "anyOf" in facts:
            facts, words = facts["anyOf"]
            assert all(kind.from_dict({name: word}) for word in words["enum"])
        bounds = [facts[side] for side in ("minimum", "maximum") if side in facts]
        for value in [*bounds, *facts.get("enum", ())]:
            assert kind.from_dict({name: value})
        outside = [facts["minimum"] - 1] if "minimum" in facts else []
        outside += [facts["maximum"] + 1] if "maximum" in facts else []
        outside += ["other"] if "enum" in facts else []
        outside += [not facts["const"]] if "const" in facts else []
        for value in outside:
            with pytest.raises(SettingsError):
                kind.from_dict({name: value})
