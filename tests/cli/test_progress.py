"""The progress line on a terminal."""

from __future__ import annotations

import io

from liveportrait_v2v.cli.progress import ProgressLine, progress_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_half_of_the_frames_fill_half_of_the_bar():
    text = progress_text(60, 120, "animating", 10.0, "", 100)
    assert text == "animating [####################--------------------] 60/120  10.0 fps  6 s to go"


def test_a_clip_of_unknown_length_has_a_count_and_no_bar():
    assert progress_text(60, None, "animating", 10.0, "", 100) == "animating 60 frames  10.0 fps"


def test_more_frames_than_the_container_promised_keep_the_bar_full():
    assert "[########################################] 121/120" in progress_text(121, 120, "x", 0.0, "", 100)


def test_a_narrow_terminal_gets_a_line_that_fits():
    for width in (10, 30, 50, 79):
        assert len(progress_text(60, 120, "looking for faces", 10.0, "  3 without a face", width)) <= width


def test_a_terminal_shows_the_line_and_is_left_clean():
    terminal = Terminal()
    with ProgressLine(terminal) as line:
        line.show_count(3, 10, "looking for faces")
        assert "looking for faces [" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_or_a_pipe_gets_nothing():
    stream = io.StringIO()
    with ProgressLine(stream) as line:
        line.show_count(3, 10, "looking for faces")
    assert stream.getvalue() == ""
