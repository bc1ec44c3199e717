#!/usr/bin/env python3
"""Write the texts that follow from the code: parameter tables, English node texts, parts of the help pages.

    python scripts/make_docs.py

The node schemas come from the pack inside the tests' stand-in for ComfyUI.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

from liveportrait_v2v.settings import AnimationSettings, MotionOptions  # noqa: E402 - behind the path
from texts import english, json_schemas, translations  # noqa: E402 - behind the path

PARAMETERS = ROOT / "docs" / "parameters.md"
ROLES = ROOT / "docs" / "roles.schema.json"
EXPRESSION = ROOT / "docs" / "expression.schema.json"
EXPRESSION_PAGE = ROOT / "docs" / "expression.md"
SLIDERS_PAGE = ROOT / "web" / "docs" / "LPV2V_Expression.md"
ENGLISH = ROOT / "locales" / "en" / "nodeDefs.json"
PAGES = {
    "LPV2V_Settings": (ROOT / "web" / "docs" / "LPV2V_Settings.md", AnimationSettings),
    "LPV2V_MotionOptions": (ROOT / "web" / "docs" / "LPV2V_MotionOptions.md", MotionOptions),
}
OWN_WORDS = ("LPV2V_AnimateDraft", "LPV2V_LoadVideo", "LPV2V_PreviewFaces")
"""Nodes whose translated help pages are written by hand."""


def generate(schemas: Mapping[str, Any]) -> dict[Path, str]:
    """Return the text of every generated file.

    Args:
        schemas: the schema of every node, by its id.
    """
    texts = {
        PARAMETERS: english.parameters_page(),
        ROLES: json.dumps(json_schemas.roles_schema(), indent=2, ensure_ascii=False) + "\n",
        EXPRESSION: json.dumps(json_schemas.expression_schema(), indent=2, ensure_ascii=False) + "\n",
        ENGLISH: json.dumps(
            {node_id: english.node_texts(schema) for node_id, schema in schemas.items()},
            indent=2,
            ensure_ascii=False,
        )
        + "\n",
    }
    page = EXPRESSION_PAGE.read_text(encoding="utf-8")
    texts[EXPRESSION_PAGE] = english.replace_section(page, "All channels", english.channel_table())
    page = SLIDERS_PAGE.read_text(encoding="utf-8")
    texts[SLIDERS_PAGE] = english.replace_section(
        page, "Inputs", english.slider_list(schemas["LPV2V_Expression"])
    )
    for node_id, (path, kind) in PAGES.items():
        page = path.read_text(encoding="utf-8")
        page = english.replace_section(page, "Inputs", english.input_list(schemas[node_id], kind))
        if kind is AnimationSettings:
            page = english.replace_section(page, "Presets", english.preset_list())
        texts[path] = page
    for language, words in translations.WORDS.items():
        translated = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
        for node_id, schema in schemas.items():
            if node_id not in OWN_WORDS:
                path = ROOT / "web" / "docs" / node_id / f"{language}.md"
                page = path.read_text(encoding="utf-8") if path.exists() else ""
                texts[path] = translations.translated_page(
                    schema, translated[node_id], words
                ) + translations.by_hand(page)
    return texts


def main() -> None:
    """Write the generated files that differ, and print their paths."""
    import standin_comfyui as standin

    for path, text in generate(standin.schemas()).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
