"""Who may import whom: derived from the folders, with nothing left out."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "liveportrait_v2v"
LAYERS = (
    {"cli", "live", "server"},
    {"run", "sheet", "templates"},
    {"engines"},
    {"plan", "tracking", "compose", "geometry", "neutral", "placement"},
    {"faces", "media", "settings", "expression"},
    {
        *("errors", "files", "remedies", "text", "deadlines"),
        *("concurrency", "cuda_graphs", "resampling", "smoothing", "tensors", "web"),
    },
)
"""Top-level modules and packages, from the top down: each imports those of its own layer and of those below."""
DEPENDENCIES = {"aiohttp", "av", "filelock", "httpx", "numpy", "PIL", "safetensors", "torch", "yaml"}
CLUSTER_DEPENDENCIES = {"obstore", "procrastinate", "psycopg", "psycopg_pool"}
CLUSTER = "liveportrait_v2v.server.cluster"
WITH_CUDA = {"triton"}
"""What torch's builds for CUDA bring along, and is looked for before it is imported."""
COMFYUI = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "nodes",
    "server",
}
NODES = LIBRARY.parent / "nodes"


def module_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imports_of(module: str, path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function, by its absolute name."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import name` imports a module where one has that name, else the package.
            names = [f"{source}.{alias.name}" for alias in node.names]
            found.update(name if name in FILES else source for name in names)
    return found


IMPORTS = {module: imports_of(module, path) for module, path in FILES.items()}
OURS = {module: {name for name in names if name in FILES} for module, names in IMPORTS.items()}


def part(module: str) -> str:
    """The top-level module or package that a module belongs to; "" for the library itself."""
    return ".".join(module.split(".")[1:2])


def layer(module: str) -> int:
    return next(k for k, parts in enumerate(LAYERS) if part(module) in parts)


def test_every_top_level_module_is_in_one_layer():
    listed = [name for parts in LAYERS for name in parts]
    assert sorted(listed) == sorted({part(module) for module in FILES} - {""})


@pytest.mark.parametrize("module", [module for module in FILES if part(module)])
def test_imports_go_down(module):
    assert [name for name in OURS[module] if part(name) and layer(name) < layer(module)] == []


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter(OURS).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", FILES)
def test_the_library_imports_nothing_of_comfyui_and_only_its_declared_dependencies(module):
    roots = {name.split(".")[0] for name in IMPORTS[module]}
    assert not roots & COMFYUI
    own = CLUSTER_DEPENDENCIES if module.startswith(CLUSTER) else set()
    assert roots <= DEPENDENCIES | WITH_CUDA | own | {"liveportrait_v2v"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("liveportrait_v2v.engines.")])
def test_an_engine_imports_no_other_engine(module):
    own = module.split(".")[2]
    others = {name.split(".")[2] for name in OURS[module] if name.startswith("liveportrait_v2v.engines.")}
    assert others <= {own, "base"}


@pytest.mark.parametrize("module", [name for name in FILES if part(name) == "server"])
def test_the_server_takes_its_engine_by_name(module):
    engines = {"draft", "liveportrait", "segmind"}
    names = (name.split(".") for name in OURS[module])
    assert not {name[2] for name in names if name[1:2] == ["engines"] and len(name) > 2} & engines


@pytest.mark.parametrize(
    "path", sorted(NODES.rglob("*.py")), ids=lambda path: path.relative_to(NODES).as_posix()
)
def test_only_the_host_of_the_nodes_knows_comfyui_s_internals(path):
    roots = {name.split(".")[0] for name in imports_of(f"pack.nodes.{path.stem}", path)}
    internals = COMFYUI - {"comfy_api"}
    assert path.parent.name == "host" or not roots & internals


def test_a_server_on_one_machine_imports_nothing_of_a_cluster():
    modules = CLUSTER_DEPENDENCIES | {CLUSTER}
    loaded = f"import sys, {CLUSTER.rpartition('.')[0]}.listen; sys.exit(bool({modules} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=LIBRARY.parent).returncode == 0


@pytest.mark.parametrize(
    "module",
    [
        "liveportrait_v2v",
        "liveportrait_v2v.settings",
        "liveportrait_v2v.expression",
        "liveportrait_v2v.cli",
        "liveportrait_v2v.server.listen",
    ],
)
def test_what_starts_without_computing_does_not_load_torch(module):
    loaded = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=LIBRARY.parent).returncode == 0
