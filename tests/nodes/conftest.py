"""The pack inside a stand-in of ComfyUI."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import standin_comfyui as standin


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The stand-in's state; its modules stand where ComfyUI's would."""
    host = standin.Host(tmp_path)
    (tmp_path / "input").mkdir()
    for name, module in standin.install(host).items():
        monkeypatch.setitem(sys.modules, name, module)
    return host


@pytest.fixture
def pack(host) -> ModuleType:
    """The pack as ComfyUI loads it."""
    return standin.load_pack()


@pytest.fixture
def nodes(pack) -> SimpleNamespace:
    """The node classes, by the end of their ids."""
    listed = standin.nodes_of(pack)
    return SimpleNamespace(**{node.GET_SCHEMA().node_id.removeprefix("LPV2V_"): node for node in listed})


@pytest.fixture
def schemas(nodes) -> dict:
    """The schemas, by node id."""
    return {f"LPV2V_{name}": node.GET_SCHEMA() for name, node in vars(nodes).items()}
