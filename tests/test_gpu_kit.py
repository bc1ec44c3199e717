"""The benchmarks for a GPU, as far as a CPU can tell: what is counted, kept and written, and each part in miniature."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made_networks import MadeNetworks

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import check, clips, forms, gather, run, stages, subjects
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.floor import FRAME_PARTS, Rates, Work, floors, gmac, our_work, plain_work
from benchmarks.gpu.options import Options
from benchmarks.gpu.profile import describe
from benchmarks.gpu.report import Report
from benchmarks.gpu.subjects import Given
from benchmarks.gpu.table import markdown, summary
from benchmarks.gpu.timeline import Span, Timeline, busy_share, gaps, record, running
from liveportrait_v2v.engines.liveportrait.batches import MemoryWarning
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.networks import Forms
from liveportrait_v2v.faces.nets import NETS
from liveportrait_v2v.media import Clip

TINY = Options(device="cpu", precision="fp32", batch=1, tiny=True, seconds_limit=1e6)


@pytest.fixture(scope="module", autouse=True)
def free_networks() -> Iterator[None]:
    """Free the networks that the benchmarks keep."""
    yield
    forms.weights.cache_clear()
    subjects.reference_networks.cache_clear()


@pytest.fixture
def report(tmp_path) -> Report:
    made = Report(tmp_path, {"card": None}, TINY)
    made.run("part", lambda options, report: None)
    return made


def written(folder: Path) -> dict:
    return json.loads((folder / "gpu.json").read_text())


def rows_of(report: Report) -> list[dict]:
    return report.results["parts"]["part"]["rows"]


# Results


def test_a_row_is_in_the_file_as_soon_as_it_is_added(report, tmp_path):
    report.add("part", form="none", ms={"F": 1.5})
    assert written(tmp_path)["parts"]["part"]["rows"] == [{"form": "none", "ms": {"F": 1.5}}]


def test_a_part_that_fails_keeps_its_rows_and_lets_the_others_run(tmp_path):
    def failing(options, report):
        report.add("failing", what="before")
        raise ValueError("no such card\nand more")

    report = Report(tmp_path, {}, TINY)
    report.run("failing", failing)
    report.run("other", lambda options, report: report.add("other", what="after"))
    parts = written(tmp_path)["parts"]
    assert parts["failing"]["rows"] == [{"what": "before"}]
    assert parts["failing"]["error"].startswith("ValueError: no such card (test_gpu_kit.py:")
    assert parts["other"]["rows"] == [{"what": "after"}]
    assert parts["other"]["error"] is None


def test_a_measurement_that_fails_becomes_a_row_with_its_error(report):
    def failing():
        raise RuntimeError("capture failed")

    assert report.attempt("part", failing, form="graphs") is None
    assert report.attempt("part", lambda: 3.5, form="none") == 3.5
    (row,) = rows_of(report)
    assert row["form"] == "graphs"
    assert row["error"].startswith("RuntimeError: capture failed")


def test_what_the_library_warns_of_becomes_a_row(report):
    def measure():
        warnings.warn("memory ran out", MemoryWarning, stacklevel=1)
        warnings.warn("torch's own", UserWarning, stacklevel=1)
        return 3.5

    assert report.attempt("part", measure, form="graphs") == 3.5
    assert rows_of(report) == [{"form": "graphs", "warning": "MemoryWarning: memory ran out"}]


def test_what_would_begin_after_the_limit_is_left_out(tmp_path):
    report = Report(tmp_path, {}, Options(device="cpu", seconds_limit=100))
    report.run("part", lambda options, report: None)
    assert report.attempt("part", lambda: 3.5, needs=1000, form="compiled") is None
    (row,) = rows_of(report)
    assert row["error"].startswith("OutOfTimeError: left out")


@pytest.mark.parametrize(
    ("value", "bound", "ok"),
    [(0.5, 0.5, True), (0.6, 0.5, False), (float("nan"), 0.5, False), (None, 0.5, False), (9.0, None, None)],
)
def test_a_value_is_in_order_up_to_its_bound_and_never_without_a_number(report, value, bound, ok):
    report.judge("part", "error", value, bound)
    assert rows_of(report)[0]["ok"] is ok


def test_numbers_that_json_lacks_are_null(report, tmp_path):
    report.judge("part", "error", float("nan"), 1.0)
    report.note("part", share=float("inf"))
    part = written(tmp_path)["parts"]["part"]
    assert (part["rows"][0]["value"], part["share"]) == (None, None)


def test_the_table_is_made_of_the_json_alone(report, tmp_path):
    report.add("part", form="planes", batch=8, ms={"F": 0.51, "G": 2.5})
    report.judge("part", "W", 0.02, 0.01)
    text = markdown(written(tmp_path))
    assert text == (tmp_path / "gpu.md").read_text()
    assert "| form | batch | ms F | ms G |" in text
    assert "| planes | 8 | 0.51 | 2.5 |" in text
    assert "| W | 0.02 | 0.01 | **NO** |" in text


def test_the_summary_names_what_is_wrong(report):
    report.judge("part", "W", 0.02, 0.01)
    report.judge("part", "G", 0.001, 0.01)
    text = summary(report.results)
    assert "part: 1 of 2 in order" in text
    assert "WRONG W: 0.02, bound 0.01" in text
    assert "G:" not in text


def test_a_part_whose_process_ends_is_recorded_and_the_next_one_keeps_it(tmp_path, monkeypatch):
    calls = []

    def run(words):
        calls.append(words)
        return SimpleNamespace(returncode=-11 if "check" in words else 0)

    monkeypatch.setattr(command, "subprocess", SimpleNamespace(run=run))
    assert command.measure_apart(TINY, ["check", "stages"], tmp_path) == 1
    assert written(tmp_path)["parts"]["check"]["error"] == "its process ended with -11"
    assert [("--add" in words, "--tiny" in words) for words in calls] == [(False, True), (True, True)]


def test_results_are_added_to_those_of_other_parts(report, tmp_path):
    report.add("part", what="before")
    assert command.main(["profile", "--device", "cpu", "--tiny", "--add", "--out", str(tmp_path)]) == 0
    parts = written(tmp_path)["parts"]
    assert parts["part"]["rows"] == [{"what": "before"}]
    assert parts["profile"]["error"] is parts["profile"]["kernels"] is None


# What is counted


def test_the_multiplications_of_a_frame_are_those_of_the_review():
    pytest.importorskip("mimic_head")
    ours, plain = our_work(), plain_work()
    assert sum(gmac(ours[part]) for part in FRAME_PARTS) == pytest.approx(574, rel=0.01)
    assert sum(gmac(plain[part]) for part in FRAME_PARTS) == pytest.approx(661, rel=0.01)
    assert {item.dtype for item in ours["G"]} == {torch.float16}


def test_the_floor_takes_the_longer_of_arithmetic_and_bytes_for_each_layer():
    rates = Rates(half=100.0, tf32=50.0, float32=10.0, copy=1000.0)
    dear = Work(flops=200 * 10**9, bytes=10**6, dtype=torch.float16)  # 2 ms or 0.001 ms
    wide = Work(flops=10**9, bytes=3 * 10**9, dtype=torch.float32)  # 0.02 ms or 3 ms
    ms = rates.ms([dear, wide])
    assert ms["floor"] == pytest.approx(5.0)
    assert ms["arithmetic"] == pytest.approx(2.02)
    assert rates.ms([wide], tf32=False)["arithmetic"] == pytest.approx(0.1)


def test_the_floor_of_a_frame_counts_motion_twice():
    pytest.importorskip("mimic_head")
    rows = {row["network"]: row for row in floors(Rates(100.0, 50.0, 10.0, 1000.0), "fp16", 2)}
    once = sum(rows[name]["ms"]["floor"] for name in ("F", "W", "G"))
    assert rows["F+2M+W+G"]["ms"]["floor"] == pytest.approx(once + 2 * rows["M"]["ms"]["floor"], rel=1e-3)


# What is measured


def test_a_call_takes_the_time_that_it_takes_and_is_not_launched_without_a_gpu():
    clock = Clock("cpu", seconds=0.05)
    assert 9 < clock.ms(lambda: time.sleep(0.01)) < 100
    assert clock.launch_ms(lambda: None) is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.alone
def test_the_peak_of_memory_is_that_of_the_block():
    # In a process of its own: here, memory of other tests may be given back at any moment.
    script = """
import time, torch
from benchmarks.gpu.clock import MemoryPeaks
with MemoryPeaks("cpu") as small:
    pass
with MemoryPeaks("cpu") as large:
    held = torch.ones(50 * 2**18)  # 50 MB
    time.sleep(0.1)
assert large.host_mb > small.host_mb + 40 * (held[0].item() == 1), (large.host_mb, small.host_mb)
assert large.gpu_mb is None
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_form_leaves_torchs_switches_as_they_were():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with forms.switched(forms.NONE, "cpu", tf32=not before[0]):
        assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is not before[0]
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_every_word_of_the_search_is_a_form():
    for word in (*forms.WORDS, "compiled"):
        assert word in str(Forms.parse(forms.joined(forms.NONE, word)))


def test_words_of_forms_are_joined_and_taken_out():
    assert forms.joined(forms.NONE, "planes") == "planes"
    assert forms.joined("channels_last,planes", "planes,graphs") == "channels_last,planes,graphs"
    assert forms.joined(forms.NONE) == forms.without("graphs", "graphs") == forms.NONE
    assert forms.without("planes,graphs", "graphs") == "planes"


def test_inputs_depend_on_the_seed_and_repeat():
    one, same, other = Given.random(2, "cpu", 1), Given.random(2, "cpu", 1), Given.random(2, "cpu", 2)
    assert torch.equal(one.crop, same.crop)
    assert not torch.equal(one.crop, other.crop)
    assert torch.equal(one.tiled(5, "cpu").kp_driving[4], one.kp_driving[0])


def test_an_error_is_relative_to_the_contrast():
    wanted = torch.tensor([10.0, 11.0, 9.0, 10.0])
    assert check.error(wanted + torch.tensor([0.0, 0.1, -0.1, 0.0]), wanted) == pytest.approx(0.1, rel=1e-3)
    assert check.error(wanted * torch.nan, wanted) != check.error(wanted, wanted) == 0


def test_bounds_follow_the_precision_and_spare_what_stays_float32():
    assert check.bound("G", "bf16-convs", True) == 8 * check.bound("G", "fp16", True)
    assert check.bound("M", "fp16", False) == check.bound("M", "fp32", False) < 1e-4
    assert check.bound("chain", "fp32", False) < 1e-4 < check.bound("chain", "fp32", True)


def test_the_search_keeps_the_words_that_pay_and_goes_on_after_those_that_fail(tmp_path, monkeypatch):
    gains = {"channels_last": 2.0, "planes": 1.0, "graphs": 0.5, "tf32": 0.01, "compiled": 0.5}

    def measured(options, report, form, batch, needs=0):
        words = form.split(",")
        return (
            None if "to_one" in words else 10 - sum(gains.get(word, -1) for word in words if word != "none")
        )

    monkeypatch.setattr(stages, "_try_ours", measured)
    report = Report(tmp_path, {}, Options())
    report.run("stages", lambda options, report: stages._search(options, report, 8))
    part = written(tmp_path)["parts"]["stages"]
    assert (part["winner"], part["winner_ms"], part["error"]) == ("graphs,planes,channels_last", 6.5, None)


def test_the_search_leaves_out_words_that_were_found_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_try_ours", lambda options, report, form, *_: 99 - len(form))
    report = Report(tmp_path, {}, Options(precision="fp16"))
    report.run("check", lambda options, report: None)
    report.judge("check", "fp16, planes: W", 1.0, 0.1)
    report.judge("check", "fp32, to_one: W", 1.0, 0.1)
    report.run("stages", lambda options, report: stages._search(options, report, 8))
    words = report.results["parts"]["stages"]["winner"].split(",")
    assert "planes" not in words
    assert "to_one" in words


# The timeline

KERNELS = [Span(0, 10, "conv"), Span(5, 20, "copy"), Span(50, 60, "conv"), Span(70, 100, "norm")]
OPERATIONS = [
    Span(0, 100, "render", 1),
    Span(25, 45, "aten::to", 1),
    Span(30, 40, "decode", 2),
    Span(61, 62, "x", 1),
]


def test_the_busy_share_counts_kernels_at_the_same_time_once():
    assert busy_share(KERNELS) == pytest.approx(0.6)


def test_gaps_come_the_longest_first_with_what_each_thread_does_then():
    assert gaps(KERNELS) == [(20, 50), (60, 70)]
    assert running(OPERATIONS, (20, 50)) == {1: "aten::to", 2: "decode"}
    assert running(OPERATIONS, (60, 70)) == {1: "render"}


def test_a_window_cuts_what_reaches_out_of_it():
    part = Timeline(KERNELS, OPERATIONS).window(0.55, 0.8)
    assert [span.start for span in part.kernels] == pytest.approx([55, 70])
    assert [span.end for span in part.kernels] == pytest.approx([60, 80])
    assert [span.name for span in part.operations] == ["render", "x"]


def test_a_recording_has_the_operations_of_every_thread():
    from threading import Thread

    def work():
        torch.ones(8, 8) @ torch.ones(8, 8)
        other = Thread(target=lambda: torch.ones(8).cos())
        other.start()
        other.join()

    timeline = record(work, operations=True)
    threads = {
        name: {span.thread for span in timeline.operations if span.name == name}
        for name in ("aten::mm", "aten::cos")
    }
    assert timeline.kernels == []
    assert len(threads["aten::mm"]) == 1
    assert threads["aten::mm"] != threads["aten::cos"]


def test_a_timeline_is_described_by_its_longest_kernels_and_gaps(report):
    report.results["parts"]["profile"] = report.results["parts"]["part"]
    describe(report, Timeline(KERNELS, OPERATIONS), frames=2)
    rows = rows_of(report)
    assert [row["kernel"] for row in rows if "kernel" in row] == ["norm", "conv", "copy"]
    assert [row["the CPU runs"] for row in rows if "gap ms" in row] == [
        "aten::to (thread 1); decode (thread 2)",
        "render (thread 1)",
    ]


# Clips and what is gathered


def test_a_part_of_a_frame_is_scaled_from_its_corner():
    frames = torch.zeros(1, 40, 60, 3, dtype=torch.uint8)
    frames[:, 10:30, 20:40] = 200
    assert clips.scaled(frames, 32, 32, left=20, top=10).shape == (1, 32, 32, 3)
    assert clips.scaled(frames[:, :30, :40], 32, 32, left=20, top=10).unique().tolist() == [200]


def test_too_much_to_carry_is_an_error_that_says_how_much(tmp_path):
    (tmp_path / "a.whl").write_bytes(bytes(30_000_000))
    (tmp_path / "b.mp4").write_bytes(bytes(5_000_000))
    assert gather.content(tmp_path) == {"a.whl": 30_000_000, "b.mp4": 5_000_000}
    (tmp_path / "c.whl").write_bytes(bytes(6_000_000))
    with pytest.raises(gather.TooLargeError, match=r"at most 40 MB may be gathered, got 41\.0 MB"):
        gather.content(tmp_path)


def test_the_command_names_the_folder_as_seen_from_the_root(tmp_path):
    assert " benchmarks/gpu/carried/*.whl " in gather.command(gather.CARRIED)
    assert f" {tmp_path}/*.whl " in gather.command(tmp_path)


def test_a_clip_that_was_not_gathered_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source\.mp4; run `python -m benchmarks\.gpu gather`"):
        clips.carried(Options(carried=tmp_path), "source")


# Everything


@pytest.fixture(scope="module")
def carried(clips, tmp_path_factory) -> Path:
    """Short and small clips of the names that are carried, with a face and sound."""
    from benchmarks.gpu.clips import write_clip

    folder = tmp_path_factory.mktemp("carried")
    clip = Clip(clips["jwp_intro"], duration=0.4)
    audio = clip.audio(clip.info.duration)
    for name, size in (("source", (320, 180)), ("driving_wide", (320, 180)), ("driving_square", (192, 192))):
        write_clip(folder / f"{name}.mp4", clip, size, audio, corner=(20, 40))
    return folder


def test_packets_are_repeated_to_a_longer_clip_with_sound(carried, tmp_path):
    clip, short = (
        Clip(clips.long_clip(tmp_path / "long.mp4", carried / "source.mp4", 30)),
        Clip(carried / "source.mp4"),
    )
    assert clip.info.frame_count == 36 == 3 * short.info.frame_count
    assert clip.info.rate == short.info.rate
    frames = torch.cat([chunk.frames for chunk in clip.chunks(12)])
    assert torch.equal(frames[24:], frames[:12])
    assert clip.audio(clip.info.duration).samples.abs().max() > 0


@pytest.mark.slow
def test_networks_are_checked_and_timed_on_a_cpu(carried, tmp_path):
    pytest.importorskip("mimic_head")
    options = Options(device="cpu", precision="fp32", tiny=True, carried=carried)
    failed = command.measure(options, ["check", "stages"], tmp_path)
    results = written(tmp_path)
    checked = results["parts"]["check"]["rows"]
    assert not failed
    assert all(row["ok"] for row in checked)
    assert {"fp32, none: M", "reference, fp32: M", "paste back, levels at most"} <= {
        row["what"] for row in checked
    }
    stages = results["parts"]["stages"]
    timed = [row for row in stages["rows"] if "form" in row]
    assert [row["form"] for row in timed] == ["reference, fp32", "none", *NETS]
    assert all(min(row["ms"].values()) > 0 and row["launch ms"] is row["GPU MB"] is None for row in timed)
    assert stages["winner"] == "none"
    assert stages["rates"]["half"] is None
    assert results["machine"]["card"] is None


@pytest.mark.slow
def test_whole_runs_are_measured_on_a_cpu(carried, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "engine", lambda *_: LivePortraitEngine(MadeNetworks(), batch=4))
    options = Options(device="cpu", precision="fp32", tiny=True, carried=carried)
    failed = command.measure(options, ["run", "profile"], tmp_path)
    parts = written(tmp_path)["parts"]
    assert not failed
    cases = {row["case"]: row for row in parts["run"]["rows"] if "case" in row}
    assert list(cases) == ["720p, square, warm", "720p, 16:9, warm"]
    assert all(row["fps"] > 0 and row["sound"] for row in cases.values())
    assert {"decode", "track", "render", "write", "total", "outside render"} <= set(
        cases["720p, square, warm"]["ms a frame"]
    )
    judged = {row["what"]: row["ok"] for row in parts["run"]["rows"] if "ok" in row}
    assert judged == {
        "two at once: result": True,
        "interrupt: seconds": None,
        "interrupt: chunks begun": True,
        "interrupt: files left": True,
    }
    assert parts["profile"]["kernels"] is None


@pytest.mark.slow
@pytest.mark.parametrize(("most", "right"), [(2, True), (8, False)])
def test_a_run_short_of_memory_is_in_order_if_its_batch_was_halved(
    carried, tmp_path, monkeypatch, most, right
):
    options = Options(device="cpu", precision="fp32", batch=8, tiny=True, carried=carried)
    networks = iter([MadeNetworks(), MadeNetworks(most=most)])
    monkeypatch.setattr(forms, "engine", lambda *_: LivePortraitEngine(next(networks), batch=8))
    fractions = []
    monkeypatch.setattr(run, "_held", lambda: 300)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=1000))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", fractions.append)
    report = Report(tmp_path / "results", {}, options)
    report.run("run", lambda *_: None)
    runs = run.Runs(options, report, tmp_path)
    wanted = run._frames(runs, runs.engine)
    report.attempt("run", lambda: run._run_short_of_memory(options, report, runs, "planes", 1000, wanted))
    rows = report.results["parts"]["run"]["rows"]
    assert fractions == [pytest.approx(0.75), 1.0]
    assert {row["what"]: row["ok"] for row in rows if "ok" in row} == {
        "out of memory, planes: batch": right,
        "out of memory, planes: result": True,
    }
    assert any(row.get("warning", "").startswith("MemoryWarning") for row in rows) is right


@pytest.mark.parametrize(
    ("words", "message"),
    [(["stage"], "a part is one of check, stages, run, profile, got stage"), ([], "no GPU")],
)
def test_bad_words_and_a_missing_gpu_are_said_at_once(words, message, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        command.main(words)
    assert message in capsys.readouterr().err
