"""The README says what the code does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from liveportrait_v2v.cli import COMMANDS
from liveportrait_v2v.media import Clip

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


COMMAND = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")


def test_every_command_is_listed():
    rows = re.findall(r"^\| (`.*?) \|", COMMAND, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert {command.__name__.rsplit(".", 1)[1] for command in COMMANDS} - {"crops"} <= listed
    assert {"crop", "paste"} <= listed


def test_every_node_is_listed():
    listed = re.findall(r"^\| ((?:[A-Z]\w+[ ,]*)+) \|", README, re.MULTILINE)
    names = {name.strip() for row in listed for name in row.split(",")}
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert {texts[node]["display_name"].removesuffix(" (LivePortrait)") for node in texts} <= names


def test_the_readme_is_read_in_a_few_minutes():
    assert len(README.splitlines()) <= 150


def test_the_example_in_python_runs(tmp_path, clips, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, clip in (("source", "single_face"), ("driving", "jwp_intro")):
        shutil.copy(clips[clip], tmp_path / f"{name}.mp4")
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", example], check=True, env=environment)
    assert Clip(tmp_path / "out.mp4").info.frame_count > 10


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


FOLDERS = ("", "docs", "benchmarks")
PAGES = sorted(
    page.relative_to(ROOT).as_posix() for folder in FOLDERS for page in (ROOT / folder).glob("*.md")
)


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_are_linked_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target = link.split("#")[0]
        assert not target or "://" in link or ((ROOT / page).parent / target).exists(), link
