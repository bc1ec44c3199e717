"""The page for bug reports, and completion in shells."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from liveportrait_v2v import __version__
from liveportrait_v2v.cli import COMMANDS, main
from liveportrait_v2v.cli.doctor import PACKAGES

KEY = "SG_0123456789abcdef"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home folder under somebody's name, with a ComfyUI in it, and a key."""
    home = tmp_path / "jane.doe"
    (home / "ComfyUI" / "models").mkdir(parents=True)
    (home / "ComfyUI" / "main.py").touch()
    (home / "ComfyUI" / "comfyui_version.py").write_text('__version__ = "0.99.1"\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    for name in ("COMFYUI_PATH", "LPV2V_WEIGHTS", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return home


def test_the_page_has_versions_devices_encoders_weights_and_surroundings(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["versions", "devices", "encoders", "weights", "surroundings"]
    assert found["versions"]["liveportrait-v2v"] == __version__
    assert "not installed" not in [found["versions"][name] for name in PACKAGES]
    assert found["devices"]["cpu"].endswith("threads")
    assert found["encoders"]["libx264"] == "works"
    assert found["weights"]["animals"] == "not found"
    assert found["surroundings"] == {
        "ComfyUI": "0.99.1 in ~/ComfyUI",
        "Segmind API key": "configured in SEGMIND_API_KEY",
    }


def test_the_page_is_text_without_a_key_and_without_a_name(home, capsys):
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert KEY not in page
    assert home.name not in page
    assert "  torch: " in page


def test_weights_are_named_by_their_place_below_the_home_folder(home, capsys):
    from liveportrait_v2v.engines.liveportrait.networks import MAIN_NETWORKS

    folder = home / "ComfyUI" / "models" / "liveportrait" / "animal"
    folder.mkdir(parents=True)
    for name in MAIN_NETWORKS:
        (folder / f"{name}.safetensors").touch()
    assert main(["doctor", "--json"]) == 0
    weights = json.loads(capsys.readouterr().out)["weights"]
    assert weights["animals"] == ".safetensors in ~/ComfyUI/models/liveportrait/animal"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script_has_every_command(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in COMMANDS:
        assert command.__name__.rsplit(".", 1)[1].removesuffix("s") in script


def test_completion_without_its_library_names_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err
