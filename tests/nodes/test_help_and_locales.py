"""Help pages and translations: complete, and true to the schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from real_comfyui import published_files

from liveportrait_v2v.settings import PRESETS

ROOT = Path(__file__).parents[2]
HELP, LOCALES = ROOT / "web" / "docs", ROOT / "locales"
TRANSLATED = ("zh", "ja")
LANGUAGES = ("en", *TRANSLATED)


def page(node_id: str) -> str:
    return (HELP / f"{node_id}.md").read_text(encoding="utf-8")


def items(text: str, heading: str) -> dict[str, str]:
    """What the list below a heading says, by the name that each of its points begins with."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    points = re.findall(r"^- `([\w ]+)`(.*(?:\n  .*)*)", section, re.MULTILINE)
    return {name: " ".join(point.split()) for name, point in points}


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)


def translations(language: str) -> dict:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def texts(value: dict | str) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for part in value.values() for text in texts(part)]


def without_empty(**values: str | None) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def in_english(schema) -> dict:
    """The schema's own texts in the form of nodeDefs.json."""
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {
            item.id: without_empty(name=item.display_name or item.id, tooltip=item.tooltip)
            for item in schema.inputs
        },
        "outputs": {
            str(slot): without_empty(name=item.display_name or item.id, tooltip=item.tooltip)
            for slot, item in enumerate(schema.outputs)
        },
    }


def shape(value: dict | str) -> dict | None:
    """The keys, without the texts."""
    return {key: shape(part) for key, part in value.items()} if isinstance(value, dict) else None


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
    # Folders of weights are the machine's own.
    choices = [
        (node_id, choice)
        for node_id, item in fixed
        for choice in getattr(item, "options", None) or ()
        if not Path(choice).is_absolute()
    ]
    assert choices
    for node_id, choice in choices:
        assert f"`{choice}`" in page(node_id), (node_id, choice)


def test_the_settings_page_tells_what_each_preset_sets():
    told = items(page("LPV2V_Settings"), "Presets")
    assert {name: set(re.findall(r"`(\w+)`", text)) for name, text in told.items()} == {
        name: set(preset.values) for name, preset in PRESETS.items()
    }


def test_a_help_page_tells_the_default_of_every_number_and_what_is_advanced(schemas):
    for node_id, schema in schemas.items():
        told = items(page(node_id), "Inputs")
        for item in schema.inputs:
            text, default = told[item.id], getattr(item, "default", None)
            assert text.startswith("(advanced)") == bool(getattr(item, "advanced", None)), item.id
            if type(default) in (int, float):
                number = re.escape(f"{default:.10f}".rstrip("0").rstrip("."))
                assert re.search(rf"(?<![\d.]){number}(?![\d]|\.\d)", text), (node_id, item.id, default)


def test_every_help_page_shows_pictures_that_are_there_and_none_is_left_over(schemas):
    shown = {node_id: pictures(page(node_id)) for node_id in schemas}
    assert all(shown.values())
    # The frontend looks for them beside the pages.
    assert {name for names in shown.values() for name in names} == {path.name for path in HELP.glob("*.png")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_of_every_node_and_no_others(schemas, language):
    assert shape(translations(language)) == {
        node_id: shape(in_english(schema)) for node_id, schema in schemas.items()
    }


def test_the_english_texts_are_those_of_the_schemas(schemas):
    assert translations("en") == {node_id: in_english(schema) for node_id, schema in schemas.items()}


@pytest.mark.parametrize("language", TRANSLATED)
def test_descriptions_and_tooltips_are_translated(language):
    english, translated = translations("en"), translations(language)
    for node_id, node in translated.items():
        assert node["description"] != english[node_id]["description"]
        for part in ("inputs", "outputs"):
            for key, item in node[part].items():
                assert "tooltip" not in item or item["tooltip"] != english[node_id][part][key]["tooltip"]


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_tooltip_of_a_translated_input_names_the_parameter_as_errors_do(language):
    for node in translations(language).values():
        for name, item in node["inputs"].items():
            assert item["name"] == name or name in item["tooltip"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_characters_that_the_frontend_reads_as_syntax(language):
    """vue-i18n, which shows them: {name} is a value, @:key a link, | parts singular and plural."""
    assert not [text for text in texts(translations(language)) if set(text) & set("{}@|")]


def test_help_and_translations_are_published():
    published = published_files()
    for folder in (HELP, LOCALES):
        ours = [path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()]
        assert ours
        assert set(ours) <= set(published)
