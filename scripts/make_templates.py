#!/usr/bin/env python3
"""Write the example workflows and the blueprint: graphs of the pack's nodes as they are now.

    python scripts/make_templates.py

Widget values are stored by position; those that a template does not set are the schemas' defaults.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

from workflows.blueprint import NAME, blueprint  # noqa: E402 - behind the path
from workflows.graph import Graph  # noqa: E402 - behind the path
from workflows.templates import GRAPHS  # noqa: E402 - behind the path
from workflows.thumbnails import thumbnail  # noqa: E402 - behind the path

TEMPLATES = ROOT / "example_workflows"
BLUEPRINT = ROOT / "subgraphs" / f"{NAME}.json"


def main() -> None:
    """Write all of them, and a thumbnail for each."""
    import standin_comfyui as standin

    schemas = standin.schemas()
    TEMPLATES.mkdir(exist_ok=True)
    for name, template in GRAPHS.items():
        graph = Graph(schemas)
        template.draw(graph)
        path = TEMPLATES / f"LivePortrait - {name}.json"
        _write(path, graph.workflow(name))
        thumbnail(template).save(path.with_suffix(".jpg"), quality=85)
    BLUEPRINT.parent.mkdir(exist_ok=True)
    _write(BLUEPRINT, blueprint(schemas))


def _write(path: Path, workflow: dict[str, Any]) -> None:
    path.write_text(json.dumps(workflow, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
