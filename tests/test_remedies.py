"""Remedies in the words of the command line and of ComfyUI's nodes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from liveportrait_v2v import remedies

ROOT = Path(__file__).parent.parent


def words_of_the_nodes() -> dict[str, str]:
    """Return nodes.errors.REMEDIES, read without ComfyUI."""
    tree = ast.parse((ROOT / "nodes" / "errors.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "REMEDIES":
            return ast.literal_eval(node.value)
    raise AssertionError("nodes/errors.py has no REMEDIES")


def test_the_nodes_have_words_for_each_remedy_and_name_no_command():
    words = words_of_the_nodes()
    assert set(words) == set(remedies.COMMANDS)
    assert not [text for text in words.values() if "liveportrait-v2v" in text or "command" in text]


def test_the_words_are_filled_in_alike():
    for name, text in words_of_the_nodes().items():
        fields = {field for _, field, _, _ in Formatter().parse(text) if field}
        assert fields <= {field for _, field, _, _ in Formatter().parse(remedies.COMMANDS[name]) if field}


def test_an_interface_puts_its_own_words_in_place(monkeypatch):
    monkeypatch.setattr(remedies, "_words", remedies.COMMANDS)
    assert "jobs fetch job-1" in remedies.remedy("fetch", job="job-1")
    remedies.use({"fetch": "ask {job}"})
    assert remedies.remedy("fetch", job="job-1") == "ask job-1"


@pytest.mark.parametrize("folder", ["engines", "run", "plan", "media", "faces"])
def test_no_message_of_the_library_names_a_command_elsewhere(folder):
    for path in (ROOT / "liveportrait_v2v" / folder).rglob("*.py"):
        assert not re.findall(r"`liveportrait-v2v [^`]*`", path.read_text(encoding="utf-8")), path
