"""One ComfyUI for all tests of this folder."""

from __future__ import annotations

import shutil

import pytest
import real_comfyui
from PIL import Image


@pytest.fixture(scope="session")
def comfy(tmp_path_factory, clips):
    """A running ComfyUI with the pack, and with clips in its input folder under the names that templates use."""
    found = real_comfyui.find()
    if found is None:
        pytest.skip(
            "NO COMFYUI FOUND: the nodes are not tested inside of one; set COMFYUI_PATH to its folder"
        )
    server = real_comfyui.ComfyUI(*found, tmp_path_factory.mktemp("comfyui"))
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
