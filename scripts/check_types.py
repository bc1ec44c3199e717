#!/usr/bin/env python3
"""Run mypy over the library and the nodes.

    python scripts/check_types.py

The nodes import the library relative to the pack, whose folder may have any name in a checkout or in ComfyUI's
custom_nodes. So a link to it under a valid package name is what mypy reads.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# ComfyUI's own modules, which are not installed where the types are checked.
CONFIG = """\
[mypy]
python_version = 3.10
warn_unused_ignores = true
[mypy-comfy.*,comfy_api.*,comfy_execution.*,folder_paths,server]
ignore_missing_imports = true
[mypy-pack.liveportrait_v2v.*]
follow_imports = silent
"""


def main() -> int:
    """Return mypy's exit code."""
    mypy = [sys.executable, "-m", "mypy"]
    library = subprocess.run(mypy, cwd=ROOT).returncode
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pack").symlink_to(ROOT)
        (folder / "mypy.ini").write_text(CONFIG)
        cache = ROOT / ".mypy_cache" / "nodes"
        nodes = subprocess.run([*mypy, "--cache-dir", str(cache), "-p", "pack.nodes"], cwd=folder).returncode
    return library or nodes


if __name__ == "__main__":
    sys.exit(main())
