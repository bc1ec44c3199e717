"""What users read is in their language: the catalogues, and how finished sentences are found in them."""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

import message_templates

ROOT = Path(__file__).parents[2]
LANGUAGES = ("zh", "ja")
HOLES = re.compile(r"\{\d\}")
EXPRESSION_SCRIPT = ROOT / "web" / "js" / "expression.js"
WORDS_OF_SCRIPTS = re.compile(r": '([^']+)'")
OF_REQUESTS = ("send ", "only pages of this server", "weights: send", "model_type: send")
"""Beginnings of what other programs read that call the pack's routes."""


def catalogue(language: str) -> dict[str, str]:
    return json.loads((ROOT / "locales" / language / "messages.json").read_text(encoding="utf-8"))


@pytest.fixture
def messages(pack):
    return importlib.import_module(f"{pack.__name__}.nodes.messages")


def filled(template: str) -> str:
    """A sentence of a template: with 7, 8, 9 ... in its holes."""
    return HOLES.sub(lambda hole: str(int(hole[0][1]) + 7), template)


def english_left(text: str) -> list[str]:
    """Words of English prose in a text."""
    return re.findall(r"\b(?:the|must|is|are|has|can't|and|with|without|from|got|of)\b", text)


def test_each_language_has_the_same_sentences():
    assert list(catalogue("zh")) == list(catalogue("ja"))


def test_each_sentence_of_a_catalogue_is_in_the_source():
    assert set(catalogue("zh")) - message_templates.all_templates() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_fills_in_what_the_sentence_does(language):
    for english, translation in catalogue(language).items():
        assert sorted(HOLES.findall(translation)) == sorted(HOLES.findall(english)), english
        assert HOLES.findall(english) == [f"{{{place}}}" for place in range(english.count("{"))], english
        assert "}{" not in english, f"{english}: nothing tells what ends the one and begins the other"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_names_widgets_and_nodes_that_exist(messages, language):
    names = messages.shown_names(language)
    for english, translation in catalogue(language).items():
        for named in re.findall(r"\[([A-Za-z][\w ]*)\]", translation):
            assert named in names, (english, named)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_of_the_nodes_is_translated(messages, language):
    missing = [
        f"{path.name}:{message.line}: {template}"
        for path in sorted((ROOT / "nodes").glob("*.py"))
        for message in message_templates.messages(path)
        if message.raised or message.said
        for template in message.templates
        if re.search(r"[a-z]{3}", template) and not template.startswith(OF_REQUESTS)
        if messages.translate(filled(template), language) == filled(template)
    ]
    assert missing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_of_a_catalogue_is_found_whole(messages, language):
    for english in catalogue(language):
        shown = messages.translate(filled(english), language)
        if " " in english:
            assert not english_left(shown), (english, shown)
        for hole in HOLES.findall(english):
            assert filled(hole) in shown, (english, shown)


@pytest.mark.parametrize(
    ("english", "chinese", "japanese"),
    [
        (
            "scale must be a number from 1 to 4, got 7.0",
            "「裁剪范围」必须是 1 到 4 的数字，实际为 7.0",
            "「クロップの広さ」は 1 から 4 の数値でなければなりません（指定値：7.0）",
        ),
        (
            "40/97, 18 fps, 3 s left, 2 without a face",
            "40/97，18 fps，剩余 3 秒，2 帧没有人脸",
            "40/97、18 fps、残り 3 秒、顔なし 2",
        ),
        (
            "face 0 in 40 of 40 frames; 3 frames without a face",
            "人脸 0：40 帧中的 40 帧；3 帧没有人脸",
            "顔 0：40 フレーム中 40 フレーム。顔のないフレーム 3",
        ),
        (
            "QUEUED, 12 s, job a-1, 0.28 USD, 4.5 credits left",
            "QUEUED，12 秒，任务 a-1，0.28 美元，剩余额度 4.5",
            "QUEUED、12 秒、ジョブ a-1、0.28 米ドル、残りのクレジット 4.5",
        ),
        ("my: clip.mp4: no such file", "my: clip.mp4：没有这个文件", "my: clip.mp4：ファイルがありません"),
        (
            "failed: CUDA out of memory. Tried to allocate",
            "失败：CUDA out of memory. Tried to allocate",
            "失敗しました：CUDA out of memory. Tried to allocate",
        ),
        (
            "source face 0 has something before the mouth, which stays as it is, in frame 0-39",
            "源人脸 0：嘴前有遮挡，嘴保持原样（帧 0-39）",
            "ソースの顔 0：口の前に何かがあるため口は動かしません（フレーム 0-39）",
        ),
        (
            "source face 0 has eyes that stay shut, as no open ones were seen before, in frame 0-2",
            "源人脸 0：此前没有出现睁开的眼睛，眼睛保持闭合（帧 0-2）",
            "ソースの顔 0：開いた目がまだ写っていないため、目は閉じたままです（フレーム 0-2）",
        ),
        (
            "role 1 (my clip.mp4): driving face 1 is lost in frame 30-35, 40, 41-44 and 2 more",
            "角色 1（my clip.mp4）：驱动人脸 1：丢失于帧 30-35, 40, 41-44 等（另有 2 处）",
            "ロール 1（my clip.mp4）：ドライビングの顔 1：見失ったフレーム 30-35, 40, 41-44（ほか 2 か所）",
        ),
    ],
)
def test_a_finished_sentence_is_found_with_what_is_filled_in(messages, english, chinese, japanese):
    assert messages.translate(english, "zh") == chinese
    assert messages.translate(english, "ja") == japanese
    assert messages.translate(english, "en") == english


@pytest.mark.parametrize("clip", ["source", "driving"])
@pytest.mark.parametrize(("faces", "read"), [(0, 16), (0, 40), (1, 16), (3, 40)])
def test_the_error_of_a_missing_face_is_translated_in_all_its_forms(messages, clip, faces, read):
    from liveportrait_v2v import remedies
    from liveportrait_v2v.run.missing import missing_face

    words = importlib.import_module(f"{messages.__package__}.errors").REMEDIES
    before = remedies._words
    remedies.use(words)
    try:
        error = missing_face(clip, 4, "input_face_index", faces=faces, read=read, total=40, cap=16)
    finally:
        remedies.use(before)
    for language in LANGUAGES:
        assert not english_left(messages.translate(str(error), language))


def test_what_is_not_known_stays_english_line_by_line(messages):
    text = "an unknown sentence, of 3 frames: hello; world\ntook 3.2 s"
    assert messages.translate(text, "zh") == "an unknown sentence, of 3 frames: hello; world\n用时 3.2 秒"
    assert messages.translate("took 3.2 s", "fr") == "took 3.2 s"


def test_a_sentence_that_was_made_to_take_long_does_not(messages):
    text = ": ".join("; ".join(["a, b"] * 30) for _ in range(20))[:2000]
    parts = []
    reader = messages._Reader(messages._catalogue("zh"))
    read = reader._read
    reader._read = lambda part: parts.append(part) or read(part)
    reader.sentence(text)
    assert len(parts) <= messages._MOST_PARTS


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_pages_quote_errors_as_they_are_shown(messages, language):
    shown = [messages.translate(filled(english), language) for english in catalogue(language)]
    shown += [text.rstrip("。") for text in WORDS_OF_SCRIPTS.findall(EXPRESSION_SCRIPT.read_text("utf-8"))]
    quoted = {
        (path.parent.name, quote)
        for path in (ROOT / "web" / "docs").glob(f"*/{language}.md")
        for point in re.findall(r"^- (\*.*?)：", path.read_text(encoding="utf-8"), re.MULTILINE)
        for quote in re.findall(r"\*([^*]+)\*", point)
    }
    assert len(quoted) > 40

    def is_shown(quote: str) -> bool:
        form = ".*?".join(map(re.escape, quote.split("…")))
        return any(re.search(form, text) for text in shown)

    assert {(page, quote) for page, quote in quoted if not is_shown(quote)} == set()
