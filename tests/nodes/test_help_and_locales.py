"""Help pages, translations and generated texts match the schemas."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pytest
from real_comfyui import published_files

from liveportrait_v2v.settings import PRESETS
from make_docs import generate
from texts.english import node_texts

ROOT = Path(__file__).parents[2]
HELP, WORDS, LOCALES = ROOT / "web" / "docs", ROOT / "web" / "words", ROOT / "locales"
TRANSLATED = ("zh", "ja")
LANGUAGES = ("en", *TRANSLATED)


def page(node_id: str) -> str:
    return (HELP / f"{node_id}.md").read_text(encoding="utf-8")


def items(text: str, heading: str) -> dict[str, str]:
    """The points of the list below a heading, by the name at their beginning."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    points = re.findall(r"^- `([\w ]+)`(.*(?:\n  .*)*)", section, re.MULTILINE)
    return {name: " ".join(point.split()) for name, point in points}


def levels(text: str) -> list[int]:
    """The levels of a page's headings, in their order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)


def translations(language: str) -> dict:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def texts(value: dict | str) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for part in value.values() for text in texts(part)]


def keys(value: dict | str, path: str = "") -> set[str]:
    """The paths of all texts, such as "LPV2V_Settings.inputs.scale.tooltip"."""
    if isinstance(value, str):
        return {path}
    return {key for name, part in value.items() for key in keys(part, f"{path}.{name}" if path else name)}


def untranslated(english: dict, translated: dict) -> list[str]:
    """Paths of descriptions and tooltips that are missing in a translation, or still English."""

    def text(tree: dict, path: str) -> str | None:
        for name in path.split("."):
            tree = tree.get(name, {})
        return tree or None

    prose = [path for path in keys(english) if path.endswith((".description", ".tooltip"))]
    return sorted(path for path in prose if text(translated, path) in (None, text(english, path)))


def test_every_node_has_a_help_page_and_every_page_a_node(schemas):
    assert {path.stem for path in HELP.glob("*.md")} == set(schemas)


def test_a_help_page_has_the_node_s_name_as_its_title(schemas):
    for node_id, schema in schemas.items():
        assert page(node_id).splitlines()[0] == f"# {schema.display_name}"


def test_a_help_page_lists_the_node_s_inputs_and_outputs_and_no_others(schemas):
    for node_id, schema in schemas.items():
        assert list(items(page(node_id), "Inputs")) == [item.id for item in schema.inputs], node_id
        assert list(items(page(node_id), "Outputs")) == [
            item.display_name or item.id for item in schema.outputs
        ], node_id


def test_a_help_page_names_every_choice(schemas):
    fixed = [
        (node_id, item) for node_id, schema in schemas.items() for item in schema.inputs if item.id != "file"
    ]
    # Folders of weights depend on the machine.
    choices = [
        (node_id, choice)
        for node_id, item in fixed
        for choice in getattr(item, "options", None) or ()
        if not Path(choice).is_absolute()
    ]
    assert choices
    for node_id, choice in choices:
        assert f"`{choice}`" in page(node_id), (node_id, choice)


def test_the_settings_page_lists_what_each_preset_sets():
    listed = items(page("LPV2V_Settings"), "Presets")
    assert {name: set(re.findall(r"`(\w+)`", text)) for name, text in listed.items()} == {
        name: set(preset.values) for name, preset in PRESETS.items()
    }


def test_a_help_page_gives_the_default_of_every_number_and_marks_what_is_advanced(schemas):
    for node_id, schema in schemas.items():
        listed = items(page(node_id), "Inputs")
        for item in schema.inputs:
            text, default = listed[item.id], getattr(item, "default", None)
            assert text.startswith("(advanced)") == bool(getattr(item, "advanced", None)), item.id
            if type(default) in (int, float):
                number = re.escape(f"{default:.10f}".rstrip("0").rstrip("."))
                assert re.search(rf"(?<![\d.]){number}(?![\d]|\.\d)", text), (node_id, item.id, default)


def test_every_help_page_shows_existing_pictures_and_every_picture_is_shown(schemas):
    shown = {node_id: pictures(page(node_id)) for node_id in schemas}
    assert all(shown.values())
    # The frontend resolves them relative to the pages.
    assert {name for names in shown.values() for name in names} == {path.name for path in HELP.glob("*.png")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_texts_of_existing_nodes_only(schemas, language):
    english = {node_id: node_texts(schema) for node_id, schema in schemas.items()}
    assert keys(translations(language)) - keys(english) == set()


def test_the_english_texts_are_those_of_the_schemas(schemas):
    assert translations("en") == {node_id: node_texts(schema) for node_id, schema in schemas.items()}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated_or_warned_about(language):
    english, translated = translations("en"), translations(language)
    missing = keys(english) - keys(translated)
    for path in sorted(missing | set(untranslated(english, translated))):
        warnings.warn(f"locales/{language}/nodeDefs.json: {path} is not translated", stacklevel=1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_menu_and_the_command_have_the_same_translation(language):
    """Front ends take the one or the other for the menu, by the English label of web/js/segmind_key.js."""

    def words(name: str) -> dict:
        return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))

    label = "Set Segmind API key"
    assert f"label: '{label}'" in (ROOT / "web" / "js" / "segmind_key.js").read_text(encoding="utf-8")
    shown = words("main")["menuLabels"][label]
    assert words("commands")["LivePortraitV2V_SetSegmindKey"]["label"] == shown
    assert (shown == label) == (language == "en")


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translated_page_has_the_translated_name_and_every_input_and_output(schemas, language):
    pages = {path.parent.name: path.read_text(encoding="utf-8") for path in HELP.glob(f"*/{language}.md")}
    assert set(pages) == set(schemas)
    for node_id, text in pages.items():
        assert text.splitlines()[0] == f"# {translations(language)[node_id]['display_name']}"
        schema = schemas[node_id]
        named = [item.id for item in schema.inputs] + [item.display_name for item in schema.outputs]
        assert [name for name in named if f"`{name}`" not in text] == [], node_id
        # The frontend resolves them relative to the folder of all pages.
        assert all((HELP / name).is_file() for name in pictures(text))


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translated_page_has_the_parts_of_the_english_one(schemas, language):
    for node_id in schemas:
        translated = (HELP / node_id / f"{language}.md").read_text(encoding="utf-8")
        assert levels(translated) == levels(page(node_id)), node_id


def test_a_missing_and_an_english_text_both_count_as_untranslated():
    english = {"A": {"description": "Text.", "inputs": {"x": {"name": "x", "tooltip": "Tip."}}}}
    assert untranslated(english, {}) == ["A.description", "A.inputs.x.tooltip"]
    same = {"A": {"description": "文", "inputs": {"x": {"name": "x", "tooltip": "Tip."}}}}
    assert untranslated(english, same) == ["A.inputs.x.tooltip"]


def test_generated_files_are_up_to_date(schemas):
    """If this fails, run `make docs`."""
    for path, text in generate(schemas).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: run make docs"


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_tooltip_of_a_translated_input_names_the_parameter_as_errors_do(language):
    for node in translations(language).values():
        for name, item in node["inputs"].items():
            # A missing text is shown in English, which has the parameter's own name.
            assert item.get("name", name) == name or name in item.get("tooltip", name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_characters_that_the_frontend_reads_as_syntax(language):
    """In vue-i18n {name} is a value, @:key a link, and | separates singular and plural."""
    assert not [text for text in texts(translations(language)) if set(text) & set("{}@|")]


def test_help_and_translations_are_published():
    published = published_files()
    for folder in (HELP, LOCALES):
        ours = [path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()]
        assert ours
        assert set(ours) <= set(published)


def words_of_templates() -> set[str]:
    """The titles, labels and lines of notes in all templates, as web/js/words.js looks them up."""
    words: set[str] = set()
    for path in (ROOT / "example_workflows").glob("*.json"):
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
            words |= {node["title"]} if "title" in node else set()
            words |= {item["label"] for item in node["inputs"] if "label" in item}
            if node["type"] == "MarkdownNote":
                words |= {line.removeprefix("## ") for line in node["widgets_values"][0].splitlines() if line}
    return words


def words(language: str) -> dict[str, dict]:
    return json.loads((WORDS / f"{language}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", TRANSLATED)
def test_all_words_of_templates_are_translated(language):
    known = words(language)["templates"]
    assert set(known) == words_of_templates()
    assert [text for english, text in known.items() if text == english] == []


TECHNICAL = {"auto", "fp16", "bf16-convs", "fp32", "pose-friendly", "expression-friendly", "liveportrait"}
"""Choices that are names, or that need no translation in every list."""


@pytest.mark.parametrize("language", TRANSLATED)
def test_all_choices_but_names_are_translated(schemas, language):
    known = words(language)["choices"]
    lists = [item for schema in schemas.values() for item in schema.inputs if item.io_type == "COMBO"]
    choices = {item.id: set(item.options) for item in lists if item.id not in ("file", "weights")}
    for name, values in choices.items():
        translated = set(known.get(name, {}))
        assert values - TECHNICAL <= translated <= values, name
    assert set(known) - {"weights"} <= set(choices)
