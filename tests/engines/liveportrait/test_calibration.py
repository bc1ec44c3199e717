"""The choice among forms by measurement."""

from __future__ import annotations

import json
import time

import pytest

from liveportrait_v2v.engines.liveportrait.networks.cpu import calibration
from liveportrait_v2v.engines.liveportrait.networks.cpu.calibration import quickest


@pytest.fixture(autouse=True)
def file(monkeypatch, tmp_path):
    """An empty folder for the answers, and a process that knows none."""
    file = tmp_path / "cache" / "answers.json"
    monkeypatch.setattr(calibration, "FILE", file)
    forget(monkeypatch)
    return file


def forget(monkeypatch) -> None:
    """Begin as a new process does."""
    monkeypatch.setattr(calibration, "_chosen", {})


class Form:
    """A form that takes so many milliseconds, and counts its calls."""

    def __init__(self, milliseconds: float):
        self.milliseconds = milliseconds
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        time.sleep(self.milliseconds / 1e3)


def ask(usual: Form, other: Form) -> Form:
    return quickest("a question", {"usual": usual, "other": other}, lambda: ())


def test_a_form_that_is_much_quicker_is_chosen():
    usual, other = Form(20), Form(1)
    assert ask(usual, other) is other


def test_the_usual_form_is_chosen_where_none_is_much_quicker():
    usual, other = Form(20), Form(19.5)
    assert ask(usual, other) is usual


def test_a_process_measures_once():
    usual, other = Form(5), Form(1)
    ask(usual, other)
    calls = other.calls
    ask(usual, other)
    assert other.calls == calls


def test_the_next_process_reads_the_answer(monkeypatch):
    ask(Form(20), Form(1))
    forget(monkeypatch)
    usual, other = Form(0), Form(20)
    assert ask(usual, other) is other
    assert usual.calls == other.calls == 0


def test_another_machine_measures_anew(monkeypatch):
    ask(Form(20), Form(1))
    forget(monkeypatch)
    monkeypatch.setattr(calibration, "_machine", lambda: "another")
    usual = Form(0)
    assert ask(usual, Form(20)) is usual


def test_another_number_of_threads_is_another_question(monkeypatch):
    ask(Form(20), Form(1))
    monkeypatch.setattr(calibration.torch, "get_num_threads", lambda: 77)
    usual = Form(0)
    assert ask(usual, Form(20)) is usual


def test_an_answer_that_names_no_form_is_measured_again(monkeypatch, file):
    ask(Form(20), Form(1))
    forget(monkeypatch)
    file.write_text(file.read_text().replace('"other",', '"gone",'))
    usual = Form(0)
    assert ask(usual, Form(20)) is usual


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", '{"a machine": 5}', '{"a machine": {"a question": 5}}', "\x00"]
)
def test_a_damaged_file_is_replaced(file, text):
    file.parent.mkdir()
    file.write_text(text)
    other = Form(1)
    assert ask(Form(20), other) is other
    assert json.loads(file.read_text())[calibration._machine()]


def test_where_nothing_can_be_written_each_process_measures(file):
    file.parent.write_text("a file where the folder should be")
    other = Form(1)
    assert ask(Form(20), other) is other
    assert file.parent.is_file()
