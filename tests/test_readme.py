"""The README says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from liveportrait_v2v.settings import AnimationSettings, MotionOptions

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [AnimationSettings, MotionOptions])
def test_every_parameter_is_listed_with_its_default_and_range(kind):
    rows = {}
    for line in re.findall(r"^\| `\w+` \|.*$", README, re.MULTILINE):
        name, default, span = (cell.strip() for cell in line.split("|")[1:4])
        rows[name.strip("`")] = (default, span)
    defaults = kind().to_dict()
    for name, rule in kind.rules().items():
        default, span = rows[name]
        assert default == (str(defaults[name]).lower() if rule.type is bool else str(defaults[name]))
        if rule.choices:
            assert span == ", ".join(rule.choices)
        elif rule.high is not None:
            assert span == f"{rule.low:g} … {rule.high:g}"
        elif rule.low is not None:
            assert span == f"≥ {rule.low:g}"


def test_no_parameter_is_listed_that_does_not_exist():
    listed = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert listed == [*AnimationSettings.rules(), *MotionOptions.rules()]


def test_the_places_that_the_architecture_names_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text.split("## Where things are")[1].split("```")[1]
    library = tree.split("liveportrait_v2v/ ")[1].split("scripts/,")[0]
    names = re.findall(r"^  ([\w./]+)  ", library, re.MULTILINE)
    assert len(names) >= 16
    assert [name for name in names if not (ROOT / "liveportrait_v2v" / name).exists()] == []
    library = ROOT / "liveportrait_v2v"
    there = {path.name for path in library.glob("*.py")} | {
        path.parent.name for path in library.glob("*/__init__.py")
    }
    assert there == {name.strip("/") for name in names}


def test_the_files_that_are_linked_exist():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link
