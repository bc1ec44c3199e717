"""Who may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "liveportrait_v2v"
GROUND_FLOOR = (
    "errors",
    "settings",
    "geometry",
    "compose",
    "smoothing",
    "pipeline",
    "media",
    "faces",
    "files",
    "web",
)
UPPER_FLOORS = ("engines", "animate", "pairing", "sheet", "cli", "demo", "server")
DEPENDENCIES = {"aiohttp", "av", "httpx", "numpy", "PIL", "safetensors", "torch"}
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes"}


def module_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function, by its absolute name."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import name` may name a module: keep both readings.
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


FILES = sorted(LIBRARY.rglob("*.py"))
IMPORTS = {module_of(path): imports_of(path) for path in FILES}


def imports_from(module: str, room: str) -> list[str]:
    return [name for name in IMPORTS[module] if name == room or name.startswith(f"{room}.")]


def test_the_files_of_the_library_are_seen():
    assert {"liveportrait_v2v", "liveportrait_v2v.errors", "liveportrait_v2v.cli"} <= set(IMPORTS)


@pytest.mark.parametrize("module", IMPORTS)
def test_the_library_imports_nothing_of_comfyui_and_only_its_declared_dependencies(module):
    roots = {name.split(".")[0] for name in IMPORTS[module]}
    assert not roots & COMFYUI
    assert roots <= DEPENDENCIES | {"liveportrait_v2v"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "module", [name for name in IMPORTS if name.split(".")[1:2] and name.split(".")[1] in GROUND_FLOOR]
)
def test_the_ground_floor_imports_nothing_from_above(module):
    for room in UPPER_FLOORS:
        assert not imports_from(module, f"liveportrait_v2v.{room}")


@pytest.mark.parametrize("module", [name for name in IMPORTS if name.startswith("liveportrait_v2v.engines.")])
def test_an_engine_imports_no_other_engine(module):
    own = ".".join(module.split(".")[:3])
    others = {path.stem for path in (LIBRARY / "engines").iterdir() if not path.name.startswith("_")}
    for other in others - {"base", own.split(".")[2]}:
        assert not imports_from(module, f"liveportrait_v2v.engines.{other}")


@pytest.mark.parametrize("module", [name for name in IMPORTS if name.startswith("liveportrait_v2v.server.")])
def test_the_server_takes_its_engine_by_name(module):
    for engine in ("draft", "liveportrait", "segmind"):
        assert not imports_from(module, f"liveportrait_v2v.engines.{engine}")


@pytest.mark.parametrize(
    "module",
    [
        "liveportrait_v2v",
        "liveportrait_v2v.settings",
        "liveportrait_v2v.cli",
        "liveportrait_v2v.server.listen",
    ],
)
def test_what_starts_without_computing_does_not_load_torch(module):
    loaded = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=LIBRARY.parent).returncode == 0
