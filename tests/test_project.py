"""What is installed, shipped and published is what it should be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    return done.stdout.splitlines()


def project_table(name: str) -> dict[str, str]:
    """The `key = value` lines of one table of pyproject.toml, as written (tomllib is 3.11's)."""
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split(f"\n[{name}]\n")[1].split("\n[")[0]
    return dict(re.findall(r"^([\w-]+) = (.*?)$(?=\n[\w-]|\n*\Z)", table, re.MULTILINE | re.DOTALL))


def requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_no_dependency_of_the_library_is_pinned():
    declared = re.findall(r'"([\w-]+)([^"]*)"', project_table("project")["dependencies"])
    assert {"torch", "numpy", "av"} <= {name for name, _ in declared}
    assert all(re.fullmatch(r">=[\d.]+", version) for _, version in declared)


def test_comfyui_keeps_the_torch_and_numpy_that_it_has():
    names = {re.split(r"[^\w-]", line)[0].lower() for line in requirements()}
    assert "httpx" in names
    assert not names & {"torch", "torchvision", "torchaudio", "numpy", "opencv-python"}
    assert not any("==" in line or "<" in line for line in requirements())


def test_the_floors_for_comfyui_are_the_ones_of_the_library():
    declared = set(re.findall(r'"([^"]+)"', project_table("project")["dependencies"]))
    assert set(requirements()) <= declared


@pytest.mark.network  # pip fetches the build's requirements
def test_a_wheel_carries_the_weights_and_their_licence(tmp_path):
    source = tmp_path / "source"
    for name in git("ls-files", "liveportrait_v2v", "pyproject.toml", "LICENSE", "NOTICE", "README.md"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    weights = {name for name in git("ls-files", "liveportrait_v2v") if "/weights/" in name}
    assert any(name.endswith(".safetensors") for name in weights)
    assert set(git("ls-files", "liveportrait_v2v")) <= shipped
    assert any(name.endswith("licenses/NOTICE") for name in shipped)


def test_the_registry_gets_the_library_and_leaves_the_workshop_out():
    tracked = set(git("ls-files"))
    left_out = set(git("ls-files", "--cached", "--ignored", "--exclude-from=.comfyignore"))
    kept = tracked - left_out
    assert {name for name in tracked if name.startswith("liveportrait_v2v/")} <= kept
    assert {"pyproject.toml", "requirements.txt", "LICENSE", "NOTICE", "README.md"} <= kept
    assert not [name for name in kept if name.startswith(("scripts/", "tests/", "benchmarks/", ".github/"))]


def test_nothing_shipped_runs_pip_or_evaluates_text():
    left_out = set(git("ls-files", "--cached", "--ignored", "--exclude-from=.comfyignore"))
    for name in set(git("ls-files", "*.py")) - left_out:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])(eval|exec)\(|[\"']pip[\"']|os\.system\(", text), name


def test_no_file_names_a_registry_host_or_a_path_of_one_machine():
    hosts = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.", "download.py" + "torch"]
    paths = ["/wo" + "rk/", "/ro" + "ot/", "/op" + "t/", "/ho" + "me/"]
    for name in git("ls-files"):
        data = (ROOT / name).read_bytes()
        if b"\0" not in data:
            text = data.decode()
            assert not [word for word in hosts + paths if word in text], name
