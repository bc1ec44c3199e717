"""One ComfyUI for all tests of this folder."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import real_comfyui
from comfyui_pages import Pages, opened
from PIL import Image
from safetensors.torch import save_file
from serving import Server, serving

from liveportrait_v2v.engines.liveportrait.download import ANIMALS_FOLDER
from liveportrait_v2v.engines.liveportrait.networks import MAIN_NETWORKS, NETWORKS, random_weights


@pytest.fixture(scope="session")
def hosted(tmp_path_factory) -> Iterator[Server]:
    """The hosted model's API, by our own server with the draft engine."""
    folder = tmp_path_factory.mktemp("hosted")
    key = f"SG_{secrets.token_hex(8)}"
    with serving(folder / "data", key=key, allow_loopback=True, clip_bytes=32 << 20) as server:
        yield server


@pytest.fixture(scope="session")
def comfy(tmp_path_factory, clips, hosted):
    """A running ComfyUI with the pack, and with clips in its input folder under the names that templates use."""
    found = real_comfyui.find()
    if found is None:
        pytest.skip(
            "NO COMFYUI FOUND: the nodes are not tested inside of one; set COMFYUI_PATH to its folder"
        )
    environment = {"SEGMIND_BASE_URL": hosted.url}
    server = real_comfyui.ComfyUI(*found, tmp_path_factory.mktemp("comfyui"), environment)
    inputs = server.base / "input"
    inputs.mkdir()
    shutil.copy(clips["single_face"], inputs / "source.mp4")
    shutil.copy(clips["jwp_intro"], inputs / "driving.mp4")
    shutil.copy(clips["obama"], inputs / "two_faces.mp4")
    shutil.copy(clips["cap13"], inputs / "silent.mp4")
    Image.open(clips["astronaut"]).save(inputs / "source.png")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def weights(comfy) -> Iterator[Path]:
    """Random weights in ComfyUI's folder, under the published names; those for animals are the same."""
    folder = comfy.base / "models" / "liveportrait"
    animals = folder / ANIMALS_FOLDER
    animals.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        save_file(random_weights(1, name), folder / f"{name}.safetensors")
    for name in MAIN_NETWORKS:
        os.link(folder / f"{name}.safetensors", animals / f"{name}.safetensors")
    yield folder
    shutil.rmtree(folder)


# A file has a browser of its own: as long as one is open, Playwright has an event loop running in the tests' thread.
@pytest.fixture(scope="module")
def pages(browser, comfy) -> Pages:
    return Pages(browser, comfy)


@pytest.fixture(params=[False, True], ids=["canvas", "vue"])
def page(request, pages) -> Iterator:
    """ComfyUI's page with each renderer; `faults` are what went wrong on it and is the pack's."""
    yield from pages.lent(request.param, request)


@pytest.fixture
def one_page(request, pages) -> Iterator:
    """The same, for what does not depend on the renderer."""
    yield from pages.lent(True, request)


@pytest.fixture
def own_page(browser, comfy) -> Iterator:
    """A page that no other test sees, for tests that change more than the graph on it."""
    yield from opened(browser, comfy, True)
