"""The command line: output, files and exit codes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from made_networks import MadeNetworks
from PIL import Image
from processes import running

from liveportrait_v2v.cli import main
from liveportrait_v2v.cli.common import check_device, parse_settings
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.media import Clip, VideoWriter

COMMAND = [sys.executable, "-m", "liveportrait_v2v.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
# A crop this small makes the draft engine quick.
QUICK = ["--set", "dsize=128", "--set", "video_frame_load_cap=4"]


@pytest.fixture
def grey(tmp_path) -> str:
    """A clip without a face."""
    path = tmp_path / "grey.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        writer.write(torch.full((5, 96, 128, 3), 128, dtype=torch.uint8))
    return str(path)


def refusal(capsys, *arguments: str) -> str:
    """Run a command that must fail with exit code 2, and return its one line of message."""
    try:
        code = main(list(arguments))
    except SystemExit as error:
        code = error.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("liveportrait-v2v: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith("\n")
    return printed.err


def test_animate_writes_the_clip_and_describes_it(clips, folder, capsys):
    code = main(["animate", str(clips["single_face"]), str(clips["jwp_intro"]), "-o", "out.mp4", *QUICK])
    assert code == 0
    info = Clip("out.mp4").info
    assert (info.width, info.height, info.rate) == (640, 360, Fraction(30))
    printed = capsys.readouterr()
    assert printed.out.startswith(f"out.mp4: {info.frame_count} frames, 640x360, 30 fps, ")
    assert "\nsource face 0: " in printed.out
    assert "\ndriving face 0: " in printed.out
    assert "without a face: 0 source frames" in printed.out
    assert printed.err == ""
    assert os.listdir(folder) == ["out.mp4"]


def test_animate_with_json_prints_only_json(clips, folder, capsys):
    arguments = [str(clips["single_face"]), str(clips["jwp_intro"]), "-o", "out.mp4", "--json", *QUICK]
    assert main(["animate", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == Clip("out.mp4").info.frame_count
    assert report["size"] == [640, 360]
    assert report["frames_without_source_face"] == report["frames_without_driving_face"] == 0
    assert report["output"] == "out.mp4"
    assert {"source_rate", "driving_rate", "rate", "duration", "audio", "seconds"} <= set(report)


def test_a_depth_of_ten_bits_is_written_and_said_to_hold_no_more_than_the_source(clips, folder, capsys):
    arguments = [str(clips["single_face"]), str(clips["jwp_intro"]), "-o", "out.mp4", "--depth", "10", *QUICK]
    assert main(["animate", *arguments]) == 0
    assert Clip("out.mp4").info.depth == 10
    assert "the source clip has 8 bits a colour; the 10 of the file hold no more" in capsys.readouterr().out


def test_ten_bits_in_a_file_that_holds_none_are_refused_before_any_work(folder, grey, capsys):
    message = refusal(capsys, "animate", grey, grey, "-o", "out.webm", "--depth", "10")
    assert "depth=10 is for H.264 in .mp4, .m4v, .mov and .mkv" in message


def test_animate_replaces_an_existing_output(clips, folder):
    Path("out.mp4").write_text("old")
    assert main(["animate", str(clips["astronaut"]), str(clips["jwp_intro"]), "-o", "out.mp4", *QUICK]) == 0
    assert Clip("out.mp4").info.width == 512


def test_a_clip_that_does_not_exist_is_refused(clips, folder, capsys):
    line = refusal(capsys, "animate", "nowhere.mp4", str(clips["jwp_intro"]), "-o", "out.mp4")
    assert "nowhere.mp4" in line
    assert os.listdir(folder) == []


def test_a_file_that_is_not_a_clip_is_refused(clips, folder, capsys):
    Path("letter.mp4").write_text("Dear reader, this is not a film.")
    line = refusal(capsys, "animate", str(clips["astronaut"]), "letter.mp4", "-o", "out.mp4")
    assert "letter.mp4" in line
    assert os.listdir(folder) == ["letter.mp4"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_clip_without_a_face_is_refused_and_leaves_nothing(clips, folder, grey, capsys, swapped):
    pair = [grey, str(clips["astronaut"])]
    refusal(capsys, "animate", *(reversed(pair) if swapped else pair), "-o", "out.mp4", *QUICK)
    assert os.listdir(folder) == []


def test_a_failed_run_leaves_the_old_output_unchanged(clips, folder, grey, capsys):
    Path("out.mp4").write_text("old")
    refusal(capsys, "animate", grey, str(clips["jwp_intro"]), "-o", "out.mp4", *QUICK)
    assert Path("out.mp4").read_text() == "old"


def test_an_output_that_is_also_an_input_is_refused(folder, grey, capsys):
    before = Path(grey).read_bytes()
    Path("link.mp4").symlink_to(grey)
    assert "is an input too" in refusal(capsys, "animate", "x.mp4", grey, "-o", "link.mp4")
    assert Path(grey).read_bytes() == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.avi", "the extension must be one of .mp4"),
        ("nowhere/out.mp4", "there is no directory nowhere"),
        ("folder.mp4", "is a directory; give a file name"),
    ],
)
def test_a_clip_that_cannot_be_written_is_refused_before_any_work(folder, grey, capsys, output, message):
    Path("folder.mp4").mkdir()
    assert message in refusal(capsys, "animate", grey, grey, "-o", output)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("sheet.jpg", "a contact sheet must end in .png"),
        ("nowhere/sheet.png", "there is no directory nowhere"),
        ("folder.png", "is a directory; give a file name"),
    ],
)
def test_a_sheet_that_cannot_be_written_is_refused_before_any_work(folder, grey, capsys, output, message):
    Path("folder.png").mkdir()
    assert message in refusal(capsys, "faces", grey, "-o", output)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("scale", "--set takes name=value, got 'scale'"),
        ("size=3", "unknown parameter 'size'; known are dsize"),
        ("scale=9", "scale must be a number from 1 to 4, got 9.0"),
        ("dsize=wide", "dsize must be a whole number from 64 to 2048, got 'wide'"),
        ("stitching=maybe", "stitching must be true or false, got 'maybe'"),
        ("mismatch_method=loop", "mismatch_method must be one of cut, circle, none, got 'loop'"),
    ],
)
def test_an_invalid_parameter_is_refused_with_its_rule(folder, grey, capsys, word, message):
    assert message in refusal(capsys, "animate", grey, grey, "-o", "out.mp4", "--set", word)


def test_set_reaches_the_settings_and_the_options_and_the_last_value_counts():
    settings, options = parse_settings(["scale=2", "stitching=no", "region=lip", "dsize=256", "scale=3"])
    assert (settings.scale, settings.stitching, settings.dsize) == (3.0, False, 256)
    assert options.region == "lip"


def test_values_are_checked_when_they_are_parsed():
    with pytest.raises(SettingsError, match="video_frame_load_cap"):
        parse_settings(["video_frame_load_cap=-1"])


def test_an_unknown_engine_is_refused_with_the_known_ones(folder, grey, capsys):
    line = refusal(capsys, "animate", grey, grey, "-o", "out.mp4", "--engine", "magic")
    assert "--engine must be one of draft" in line
    assert "got 'magic'" in line


def test_the_liveportrait_engine_runs_from_the_command_line(clips, folder, capsys, monkeypatch):
    calls = []

    def random(*arguments, model):
        calls.append((*arguments, model))
        return LivePortraitEngine(MadeNetworks())

    monkeypatch.setattr(LivePortraitEngine, "random", random)
    words = ["--engine", "liveportrait", "--random-weights", "1", "--precision", "fp32", "--compile"]
    words += ["--device", "cpu", "--set", "video_frame_load_cap=3"]
    assert main(["animate", str(clips["astronaut"]), str(clips["jwp_intro"]), "-o", "out.mp4", *words]) == 0
    assert calls == [(1, "cpu", "fp32", True, "humans")]
    assert Clip("out.mp4").info.frame_count == 3
    assert "without a face: 0 source frames, 0 driving frames" in capsys.readouterr().out


def test_missing_weights_are_refused_with_the_command_that_downloads_them(folder, grey, capsys):
    arguments = ["animate", grey, grey, "-o", "out.mp4", "--engine", "liveportrait", "--weights", "nowhere"]
    line = refusal(capsys, *arguments)
    assert "nowhere (empty or absent)" in line
    assert "`liveportrait-v2v models download`" in line


@pytest.mark.parametrize(
    "words", [["--weights", "there"], ["--random-weights", "0"], ["--precision", "fp16"], ["--compile"]]
)
@pytest.mark.parametrize("engine", ["draft", "segmind"])
def test_an_option_of_the_networks_is_refused_for_another_engine(folder, grey, capsys, engine, words):
    line = refusal(capsys, "animate", grey, grey, "-o", "out.mp4", "--engine", engine, *words)
    assert f"{words[0]} needs --engine liveportrait, got {engine}" in line


def test_all_options_of_the_networks_that_are_given_are_named(folder, grey, capsys):
    words = ["--random-weights", "0", "--precision", "auto"]
    line = refusal(capsys, "animate", grey, grey, "-o", "out.mp4", *words)
    assert "--random-weights, --precision need --engine liveportrait, got draft" in line


def test_an_unknown_precision_is_refused_with_the_known_ones(folder, grey, capsys):
    words = ["--engine", "liveportrait", "--random-weights", "1", "--precision", "fp8"]
    assert "auto, fp16, bf16-convs, fp32" in refusal(capsys, "animate", grey, grey, "-o", "out.mp4", *words)


def test_the_auto_device_is_the_cpu_except_for_networks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (check_device("auto"), check_device("auto", for_networks=True)) == ("cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device("auto", for_networks=True) == "cpu"


def test_warnings_of_a_run_are_single_lines(clips, folder, capsys, monkeypatch):
    def warn(*_, **__):
        warnings.warn("memory ran out", UserWarning, stacklevel=1)
        raise SettingsError("enough")

    monkeypatch.setattr("liveportrait_v2v.run.animate", warn)
    assert main(["animate", "a.mp4", "b.mp4", "-o", "out.mp4"]) == 2
    assert capsys.readouterr().err == "liveportrait-v2v: memory ran out\nliveportrait-v2v: enough\n"


def test_the_driving_clip_may_come_behind_options(folder, grey, capsys):
    line = refusal(capsys, "animate", grey, "--set", "dsize=64", "nowhere.mp4", "-o", "out.mp4")
    assert "nowhere.mp4: no such file" in line


def test_an_unknown_device_is_refused(folder, grey, capsys):
    line = refusal(capsys, "animate", grey, grey, "-o", "out.mp4", "--device", "abacus")
    assert "got 'abacus'" in line


@pytest.mark.parametrize("arguments", [[], ["dance"], ["animate"], ["animate", "a.mp4", "b.mp4"]])
def test_an_invalid_command_line_is_refused_in_one_line_that_names_the_help(capsys, arguments):
    assert "--help" in refusal(capsys, *arguments)


def test_the_help_of_animate_lists_every_parameter(capsys):
    with pytest.raises(SystemExit) as end:
        main(["animate", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    settings, options = parse_settings([])
    for name in [*settings.to_dict(), *options.to_dict()]:
        assert f"  {name}=" in text


def test_faces_draws_a_sheet_and_lists_the_faces(clips, folder, capsys):
    assert main(["faces", str(clips["astronaut"])]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("face 0: in 1 of 1 frames, first at 0.00 s: ")
    assert printed.endswith("astronaut_faces.png\n")
    assert os.listdir(folder) == ["astronaut_faces.png"]
    assert Image.open("astronaut_faces.png").width > 400


def test_faces_with_json_prints_only_json(clips, folder, capsys):
    assert main(["faces", str(clips["astronaut"]), "-o", "sheet.png", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["frames_without_face"], report["size"]) == (1, 0, [512, 512])
    assert report["sheet"] == "sheet.png"
    (face,) = report["faces"]
    assert set(face) == {"number", "frames", "first_frame", "first_seen", "box", "crop"}
    assert face["number"] == 0
    left, top, right, bottom = face["box"]
    assert 150 < left < right < 300
    assert 40 < top < bottom < 220
    assert len(face["crop"]) == 4


def test_faces_of_a_clip_without_a_face_is_refused(folder, grey, capsys):
    assert "none of the clip's 5 frames shows a face" in refusal(capsys, "faces", grey)
    assert os.listdir(folder) == []


def test_the_demo_without_clips_is_refused_with_the_command_that_fetches_them(folder, capsys):
    line = refusal(capsys, "demo")
    assert "source.mp4 and driving.mp4 not found; run `make demo`, or put your own two clips there" in line


def test_a_closed_output_pipe_is_reported(clips, folder):
    read, write = os.pipe()
    os.close(read)
    arguments = [*COMMAND, "faces", str(clips["astronaut"]), "--json"]
    done = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    os.close(write)
    assert done.returncode == 2
    assert done.stderr == "liveportrait-v2v: stdout was closed before everything was printed\n"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_leaves_nothing(clips, folder, number, code):
    long = [str(clips["cap12"]), str(clips["cap13"]), "-o", "out.mp4", "--set", "video_frame_load_cap=0"]
    command = [*COMMAND, "animate", *long]
    with running(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as run:
        # The unfinished file shows that the run has started.
        deadline = time.monotonic() + 120
        while not os.listdir(folder) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert os.listdir(folder)
        assert not Path("out.mp4").exists()
        run.send_signal(number)
        _, message = run.communicate(timeout=120)
    assert run.returncode == code
    assert message == "liveportrait-v2v: stopped; no unfinished file is left\n"
    assert os.listdir(folder) == []


@pytest.mark.slow
def test_a_signal_behind_the_end_of_a_run_takes_nothing_back(clips, folder):
    """The file is there: the run has succeeded, and its exit code says so."""
    short = [str(clips["obama"]), str(clips["obama"]), "-o", "out.mp4", "--set", "video_frame_load_cap=2"]
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2):
        with running([*COMMAND, "animate", *short], stderr=subprocess.PIPE, env=ENVIRONMENT) as run:
            while not Path("out.mp4").exists() and run.poll() is None:
                time.sleep(0.001)
            time.sleep(delay)
            run.terminate()
            assert run.wait(timeout=120) == 0, delay
        Path("out.mp4").unlink()
    assert os.listdir(folder) == []


@pytest.mark.slow
def test_json_has_the_result_as_base64_text_where_that_was_asked_for(clips, folder, capsys):
    """The file is the same as without."""
    told = []
    for name, option in (("a.mp4", "true"), ("b.mp4", "false")):
        inputs = ["animate", str(clips["obama"]), str(clips["obama"]), "-o", name, "--json"]
        assert main([*inputs, "--set", "video_frame_load_cap=2", "--set", f"base64={option}"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert base64.b64decode(told[0]["base64"]) == Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert "base64" not in told[1]
