"""Help pages in other languages, of the texts in locales/."""
# ruff: noqa: RUF001 - punctuation of Chinese and Japanese

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .english import shown

WORDS = {
    "zh": {
        "picture": "默认值下的节点",
        "inputs": "输入",
        "outputs": "输出",
        "none": "无。",
        "advanced": "高级",
        "default": "默认 {}",
        "range": "{} 到 {}",
        "least": "至少 {}",
        "on": "开",
        "off": "关",
        "marks": "（{}）",
        "between": "，",
        "colon": "：",
    },
    "ja": {
        "picture": "既定値のノード",
        "inputs": "入力",
        "outputs": "出力",
        "none": "なし。",
        "advanced": "詳細",
        "default": "既定値 {}",
        "range": "{} から {}",
        "least": "{} 以上",
        "on": "オン",
        "off": "オフ",
        "marks": "（{}）",
        "between": "、",
        "colon": "：",
    },
}
"""What the translated help pages say around the texts of locales/."""


def translated_page(schema: Any, texts: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Return a help page in another language, of the node's translated texts."""

    def point(name: str, text: Mapping[str, str], marks: list[str]) -> str:
        label = text.get("name", name)
        head = f"- `{name}`" if label == name else f"- `{name}` {label}"
        if marks:
            head += words["marks"].format(words["between"].join(marks))
        # The tooltip ends with the parameter's own name, which stands here at the beginning.
        tooltip = text.get("tooltip", "").removesuffix(f"（{name}）")
        return f"{head}{words['colon']}{tooltip}" if tooltip else head

    inputs = [point(item.id, texts["inputs"].get(item.id, {}), _facts(item, words)) for item in schema.inputs]
    outputs = [
        point(item.display_name or item.id, texts["outputs"].get(str(slot), {}), [])
        for slot, item in enumerate(schema.outputs)
    ]
    parts = [
        f"# {texts['display_name']}",
        texts["description"],
        f"![{words['picture']}]({schema.node_id}.png)",
        f"## {words['inputs']}",
        "\n".join(inputs),
        f"## {words['outputs']}",
        "\n".join(outputs) or words["none"],
    ]
    return "\n\n".join(parts) + "\n"


def by_hand(page: str) -> str:
    """Return what follows the inputs and outputs of a translated help page: it is written by hand."""
    parts = page.split("\n## ")
    return "".join(f"\n## {part}" for part in parts[3:])


def _facts(item: Any, words: Mapping[str, str]) -> list[str]:
    """Return what stands behind the name of a widget: advanced, its default and its range."""
    default, low, high = (getattr(item, name, None) for name in ("default", "min", "max"))
    facts = [words["advanced"]] if getattr(item, "advanced", None) else []
    if isinstance(default, bool):
        facts.append(words["default"].format(words[shown(default)]))
    elif default not in (None, "") and "\n" not in str(default):
        facts.append(words["default"].format(shown(default)))
    if low is not None:
        wide = high is None or high >= 10_000
        facts.append(
            words["least"].format(shown(low)) if wide else words["range"].format(shown(low), shown(high))
        )
    return facts
