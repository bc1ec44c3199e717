"""The route that says on Load Model, before a run, which weights are missing."""

from __future__ import annotations

import asyncio
import importlib
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from liveportrait_v2v.engines.liveportrait.networks import MAIN_NETWORKS, NETWORKS


@pytest.fixture
def ask(pack, host, monkeypatch):
    """Return a function that sends Load Model's widgets to the route and returns status and text."""
    module = importlib.import_module(f"{pack.__name__}.nodes.weights")
    added = []
    monkeypatch.setattr(module.routes, "add", lambda *route: added.append(route))
    module.add_route()
    ((method, path, handle),) = added

    async def get(widgets: dict[str, str]) -> tuple[int, str]:
        app = web.Application()
        app.router.add_route(method, path, handle)
        async with TestClient(TestServer(app)) as client:
            answer = await client.get(path, params=widgets)
            return answer.status, await answer.text()

    return lambda **widgets: asyncio.run(get({"weights": "auto", "download": "false", **widgets}))


def test_missing_weights_are_named_with_the_folder_and_the_remedy(ask, host):
    status, text = ask()
    said = json.loads(text)
    assert (status, said["error"]) == (200, True)
    assert all(name in said["text"] for name in NETWORKS)
    assert "in none of: models/liveportrait (empty or absent); switch `download` on" in said["text"]
    assert str(host.base) not in said["text"]


def test_what_lacks_in_a_folder_is_named(ask, host):
    folder = host.base / "models" / "liveportrait"
    folder.mkdir(parents=True)
    *others, last = NETWORKS
    for name in others:
        (folder / f"{name}.safetensors").touch()
    assert f"lacks {last}" in ask()[1]


def test_weights_that_are_there_are_no_matter(ask, host):
    folder = host.base / "models" / "liveportrait"
    folder.mkdir(parents=True)
    for name in NETWORKS:
        (folder / f"{name}.safetensors").touch()
    assert ask() == (200, json.dumps({"text": "", "error": False}))
    assert ask(weights=str(folder))[0] == 200


def test_with_the_download_on_the_next_run_fetches_them(ask):
    assert json.loads(ask(download="true")[1]) == {
        "text": "the next run downloads the weights: 520 MB",
        "error": False,
    }


def test_networks_for_animals_are_looked_for_where_they_are(ask, host):
    folder = host.base / "models" / "liveportrait"
    folder.mkdir(parents=True)
    for name in NETWORKS:
        (folder / f"{name}.safetensors").touch()
    assert "for animals" in json.loads(ask(model_type="animals")[1])["text"]
    (folder / "animal").mkdir()
    for name in MAIN_NETWORKS:
        (folder / "animal" / f"{name}.safetensors").touch()
    assert json.loads(ask(model_type="animals")[1])["text"] == ""
    assert ask(model_type="cats")[0] == 400


@pytest.mark.parametrize("folder", ["/etc", "..", ""])
def test_a_folder_that_the_node_does_not_offer_is_not_looked_into(ask, folder):
    assert ask(weights=folder)[0] == 400
