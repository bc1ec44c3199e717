"""A place for what commands write."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder as the working directory."""
    path = tmp_path / "folder"
    path.mkdir()
    monkeypatch.chdir(path)
    return path
