#!/usr/bin/env python3
"""Check that the version is one and the same in the library, the changelog and, for a release, the tag.

    python scripts/check_version.py [--tag v0.1.0]

The library's is the one source; the changelog's newest dated heading is "## 0.1.0 - 2026-11-27".
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def library_version(root: Path = ROOT) -> str:
    """Return the version that the library states."""
    text = (root / "liveportrait_v2v" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


def faults(root: Path = ROOT, tag: str | None = None) -> list[str]:
    """Return what does not agree, a sentence each.

    Args:
        root: of the repository.
        tag: of the release.
    """
    version = library_version(root)
    dated = HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    found = []
    if dated is None:
        found.append("CHANGELOG.md has no dated version")
    elif dated[1] != version:
        found.append(f"CHANGELOG.md's newest version is {dated[1]}, the library's {version}")
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, the version {version}: the tag must be v{version}")
    return found


def main() -> int:
    """Print what does not agree; return 1 if anything doesn't."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tag", help="tag of the release")
    wrong = faults(tag=parser.parse_args().tag)
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
