"""What is installed, shipped and published is what it should be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import check_version
import fetch_clips

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


def archived() -> set[str]:
    """The files that the registry serves."""
    left_out = set(git("ls-files", "--cached", "--ignored", "--exclude-from=.comfyignore"))
    return set(git("ls-files")) - left_out


NOT_FOR_NODES = ("liveportrait_v2v/cli/", "liveportrait_v2v/live/", "liveportrait_v2v/server/")


def test_the_registry_gets_what_nodes_need_and_nothing_else():
    kept = archived()
    library = {name for name in git("ls-files", "liveportrait_v2v") if not name.startswith(NOT_FOR_NODES)}
    assert library <= kept
    assert {"pyproject.toml", "requirements.txt", "LICENSE", "NOTICE", "README.md"} <= kept
    workshop = ("scripts/", "tests/", "benchmarks/gpu/", ".github/", *NOT_FOR_NODES)
    assert not [name for name in kept if name.startswith(workshop)]


def test_links_of_the_readme_lead_somewhere_in_an_installed_pack():
    kept = archived()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = {
        link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text) for link in link
    }
    local = {link for link in links if link and "://" not in link}
    assert local
    assert local <= kept


@pytest.fixture(scope="session")
def comfy_cli() -> Path:
    """The command `comfy` of comfy-cli, in an environment of its own: it brings half a hundred packages."""
    folder = fetch_clips.cache_dir().parent / "comfy-cli-1.23.0"
    command = folder / "bin" / "comfy"
    if not command.exists():
        venv.create(folder, with_pip=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "comfy-cli==1.23.0"]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode or not command.exists():
            shutil.rmtree(folder)
            pytest.skip(f"COMFY-CLI IS MISSING: {done.stderr.strip()[-200:]}")
    return command


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="its environment is laid out as on Linux")
def test_the_registrys_own_command_accepts_and_packs_the_pack(comfy_cli, tmp_path):
    pack = tmp_path / "pack"
    for name in git("ls-files"):
        (pack / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, pack / name)
    for words in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *words], cwd=pack, check=True)
    comfy = [comfy_cli, "--skip-prompt", "--no-enable-telemetry", "node"]
    own = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([*comfy, "validate"], cwd=pack, capture_output=True, text=True, env=own)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "warning" not in said.lower(), said
    subprocess.run([*comfy, "pack"], cwd=pack, check=True, env=own)
    with zipfile.ZipFile(pack / "node.zip") as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    assert packed == archived()


def test_the_version_is_one_everywhere():
    assert check_version.faults(tag=f"v{check_version.library_version()}") == []


@pytest.mark.parametrize(
    ("changelog", "tag", "fault"),
    [
        ("## Unreleased\n", None, "no dated version"),
        ("## 0.0.9 - 2026-01-01\n", None, "newest version is 0.0.9"),
        (None, "v9.9.9", "the tag is v9.9.9"),
    ],
)
def test_another_version_somewhere_is_found(tmp_path, changelog, tag, fault):
    (tmp_path / "liveportrait_v2v").mkdir()
    shutil.copy(ROOT / "liveportrait_v2v" / "__init__.py", tmp_path / "liveportrait_v2v")
    version = check_version.library_version()
    (tmp_path / "CHANGELOG.md").write_text(changelog or f"## {version} - 2026-01-01\n")
    (found,) = check_version.faults(tmp_path, tag)
    assert fault in found


def test_nothing_shipped_runs_pip_or_evaluates_text():
    for name in archived() & set(git("ls-files", "*.py")):
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
