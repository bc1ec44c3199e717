"""What `import liveportrait_v2v` offers."""

from __future__ import annotations

import pytest

import liveportrait_v2v


@pytest.mark.parametrize("name", liveportrait_v2v.__all__)
def test_every_exported_name_is_there(name):
    assert getattr(liveportrait_v2v, name).__name__ == name


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Clap'"):
        _ = liveportrait_v2v.Clap
