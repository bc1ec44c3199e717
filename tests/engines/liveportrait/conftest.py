"""Networks of half a gigabyte come and go from test to test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from memory import trim


@pytest.fixture(autouse=True)
def trimmed() -> Iterator[None]:
    yield
    trim()
