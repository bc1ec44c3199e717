"""The contact sheet: faces, their numbers and crop squares."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor, ImageDraw

from liveportrait_v2v.errors import Cancelled
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.sheet import COLOURS, survey


@pytest.fixture(scope="module")
def couple(clips, tmp_path_factory):
    """Six frames: two grey ones, then a small face on the left and a larger one on the right."""
    face = Image.open(clips["astronaut"]).convert("RGB").crop((120, 20, 330, 230))
    picture = Image.new("RGB", (480, 240), "#808080")
    picture.paste(face.resize((150, 150)), (10, 40))
    picture.paste(face.resize((230, 230)), (240, 5))
    frames = torch.from_numpy(np.array(picture))[None].repeat(6, 1, 1, 1)
    frames[:2] = 128
    path = tmp_path_factory.mktemp("couple") / "couple.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        writer.write(frames)
    return path


def test_faces_are_numbered_counted_and_placed(couple):
    found = survey(Clip(couple))
    large, small = found.faces
    assert (large.number, small.number) == (0, 1)
    assert large.box[0] > 240 > small.box[2]
    assert large.frames == small.frames == 4
    assert (large.first_frame, large.first_seen) == (2, Fraction(2, 25))
    assert (found.frames, found.frames_without_face, found.size) == (6, 2, (480, 240))


def test_the_face_order_decides_the_numbers(couple):
    left, right = survey(Clip(couple), options=MotionOptions(face_order="left-right")).faces
    assert left.box[2] < 240 < right.box[0]


def test_the_crop_square_follows_the_settings(couple):
    def side(**settings) -> float:
        top_left, top_right = survey(Clip(couple), AnimationSettings(**settings)).faces[0].crop[:2]
        return np.hypot(top_right[0] - top_left[0], top_right[1] - top_left[1])

    assert side(scale=3.0) == pytest.approx(1.5 * side(scale=2.0), rel=1e-4)


@pytest.fixture(scope="module")
def cut(clips, tmp_path_factory):
    """Four frames of one person, four of another at the same place, and two without a face."""
    pictures = []
    for name, box in (("astronaut", (120, 20, 330, 230)), ("single_face", (195, 30, 485, 320))):
        frame = next(Clip(clips[name]).chunks(1)).frames[0].numpy()
        pictures.append(np.array(Image.fromarray(frame).crop(box).resize((240, 240))))
    frames = np.stack([pictures[0]] * 4 + [pictures[1]] * 4 + [np.full_like(pictures[0], 128)] * 2)
    path = tmp_path_factory.mktemp("cut") / "cut.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        writer.write(torch.from_numpy(frames))
    return path


def test_cuts_and_losses_are_noted(cut):
    found = survey(Clip(cut))
    assert found.notes == (
        "face 0 may be another person after the cut at frame 4",
        "face 0 is lost in frame 8-9",
    )
    assert found.to_dict()["notes"] == list(found.notes)


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """The texts that are drawn, in their order."""
    texts, draw = [], ImageDraw.ImageDraw.text

    def watched(self, place, text, *arguments, **options):
        texts.append(text)
        return draw(self, place, text, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", watched)
    return texts


def test_the_sheet_has_the_cut_at_the_first_frame_that_it_shows_behind_it(cut, written):
    survey(Clip(cut))
    place = written.index("//")
    assert written.count("//") == 1
    assert written[place - 1].startswith("#4 ")
    assert written[place + 1] == "0"


def test_the_sheet_marks_the_frames_without_a_face(cut):
    sheet = survey(Clip(cut)).sheet
    marked = np.all(np.array(sheet) == ImageColor.getrgb("#8b9098"), axis=2)
    rows, columns = marked.nonzero()
    assert {*(columns * 4 // sheet.width)} == {0, 1}  # of ten cells in rows of four, the last two
    assert rows.min() > sheet.height * 0.9


def test_the_sheet_has_no_words(cut, written):
    survey(Clip(cut))
    assert {letter for text in written for letter in text if letter.isalpha()} == {"s"}


def test_each_face_is_drawn_in_its_own_colour(couple):
    pixels = np.array(survey(Clip(couple), AnimationSettings(scale=1.2)).sheet).reshape(-1, 3)
    for colour in COLOURS[:2]:
        drawn = (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(1).sum()
        assert drawn > 1000
    unused = (pixels == [int(COLOURS[2][i : i + 2], 16) for i in (1, 3, 5)]).all(1).sum()
    assert unused == 0


def test_a_face_that_is_small_in_its_frames_fills_the_sheet(clips, tmp_path):
    face = Image.open(clips["astronaut"]).convert("RGB").crop((120, 20, 330, 230)).resize((150, 150))
    picture = Image.new("RGB", (1200, 700), "#808080")
    picture.paste(face, (900, 400))
    path = tmp_path / "far.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        writer.write(torch.from_numpy(np.array(picture))[None].repeat(2, 1, 1, 1))
    found = survey(Clip(path))
    ((number,), crop) = [face.number for face in found.faces], found.faces[0].crop
    drawn = np.array(found.sheet.crop((8, 8, 488, 488)))
    yellow = (drawn == [int(COLOURS[number][i : i + 2], 16) for i in (1, 3, 5)]).all(2).nonzero()
    # Of 480 pixels, whatever the size of the frame; and the numbers given are those of the frame.
    assert all(np.ptp(places) > 420 for places in yellow)
    assert min(x for x, _ in crop) > 800


def test_a_frame_without_a_face_is_shown_whole(couple):
    sheet = survey(Clip(couple), AnimationSettings(scale=1.2), cells=6).sheet
    first = np.array(sheet)[8:, 8:488]
    assert (first == 128).all(2).any(0).all()  # grey from side to side


def test_a_long_clip_is_shown_in_twelve_frames(tmp_path, clips):
    face = Image.open(clips["astronaut"]).convert("RGB").crop((120, 20, 330, 230)).resize((96, 96))
    path = tmp_path / "long.mp4"
    with VideoWriter(path, Fraction(25)) as writer:
        for _ in range(5):
            writer.write(torch.from_numpy(np.array(face))[None].repeat(12, 1, 1, 1))
    counts = []
    sheet = survey(Clip(path), AnimationSettings(scale=3.0), on_frames=counts.append).sheet
    assert counts[-1] == 60
    assert counts == sorted(counts)
    assert sheet.size == (4 * 488 + 8, 3 * (480 + 42) + 8)


def test_a_cancelled_survey_raises(couple):
    with pytest.raises(Cancelled):
        survey(Clip(couple), cancelled=lambda: True)
