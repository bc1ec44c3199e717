"""Table of the draft's tuned constants in docs/draft.md, against the code."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

from liveportrait_v2v.engines.draft.face import Ramp

DOCUMENT = Path(__file__).parents[3] / "docs" / "draft.md"
MODULES = (
    "bars",
    "blur",
    "corners",
    "covered",
    "curves",
    "edit",
    "engine",
    "eyeballs",
    "face",
    "feedback",
    "memory",
    "mesh",
    "motion",
    "mouth",
    "openings",
    "paint",
    "raster",
    "response",
    "sampling",
    "teeth",
    "warp",
)
NOT_TUNED = {
    "BT709_LUMA",
    "CORNER_POINTS",
    "EYES",
    "LOWER",
    "LOWER_LIP",
    "OVAL",
    "UNTOLD",
    "UPPER",
    "UPPER_LIP",
}


def constants() -> dict[str, object]:
    """Tuned constants and fields of parameter objects, by their dotted names in the document."""
    found: dict[str, object] = {}
    for name in MODULES:
        module = importlib.import_module(f"liveportrait_v2v.engines.draft.{name}")
        own = re.findall(
            r"^[A-Z][A-Z0-9_, ]*(?= = )", Path(module.__file__).read_text(encoding="utf-8"), re.MULTILINE
        )
        for constant in ", ".join(own).split(", "):
            value = getattr(module, constant)
            if is_dataclass(value) and not isinstance(value, Ramp):
                for field in fields(value):
                    found[f"{name}.{constant}.{field.name}"] = getattr(value, field.name)
            elif constant not in NOT_TUNED:
                found[f"{name}.{constant}"] = value
    return {path: plain(value) for path, value in found.items()}


def plain(value: object) -> object:
    """A value as the document writes it."""
    if isinstance(value, Ramp):
        return value.start, value.width
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def test_the_document_lists_each_tuned_constant_with_its_value():
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert {path: ast.literal_eval(value) for path, value in rows} == constants()
