"""A model of the node Load Model, under ComfyUI's model management."""

from __future__ import annotations

import importlib
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn


class Networks:
    """As much of the networks as is moved."""

    def __init__(self, device) -> None:
        self.module = nn.Linear(1, 1, device=device)

    @property
    def device(self) -> torch.device:
        return self.module.weight.device

    def to(self, device) -> None:
        self.module.to(device)

    def spare_memory(self) -> None:
        """There is nothing to let go of."""


@pytest.fixture
def made(pack, host, monkeypatch) -> SimpleNamespace:
    """A model on a host whose GPU is torch's meta device, and how its networks were asked for."""
    host.device = "meta"
    weights = importlib.import_module(f"{pack.__name__}.liveportrait_v2v.engines.liveportrait.weights")
    asked = SimpleNamespace()

    def load_networks(folders, device, precision, compile, forms, model):  # noqa: A002
        asked.precision, asked.forms, asked.model = precision, forms, model
        return Networks(device)

    monkeypatch.setattr(weights, "load_networks", load_networks)
    models = importlib.import_module(f"{pack.__name__}.nodes.host.models")
    return SimpleNamespace(model=models.Model([host.base], "auto", False, "humans"), asked=asked)


def test_its_networks_are_moved_to_the_gpu_by_comfyui(made, caplog):
    assert made.model.engine().device == "meta"
    assert caplog.messages == []


def test_networks_that_comfyui_left_in_memory_are_moved_and_that_is_said(made, host, caplog):
    host.moves = False
    with caplog.at_level(logging.WARNING):
        assert made.model.engine().device == "meta"
    assert "moving them to meta" in caplog.text


def test_precision_and_forms_are_those_of_the_device_that_computes(pack, host, made, monkeypatch):
    networks = importlib.import_module(f"{pack.__name__}.liveportrait_v2v.engines.liveportrait.networks")
    models = importlib.import_module(f"{pack.__name__}.nodes.host.models")
    host.device = "cuda"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    models.Model([host.base], "auto", False, "humans")
    assert made.asked.precision == "fp16"
    assert made.asked.forms == networks.Forms.usual("cuda", "fp16")


def test_a_model_of_animals_is_an_engine_of_animals(pack, host, made):
    models = importlib.import_module(f"{pack.__name__}.nodes.host.models")
    model = models.Model([host.base], "auto", False, "animals")
    assert made.asked.model == "animals"
    assert model.engine().model.animals
    assert not made.model.engine().model.animals
    assert model.describe().startswith("ready: animals, ")
