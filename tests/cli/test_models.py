"""The command `models`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from faulty_files import FileServer

from liveportrait_v2v.cli import main
from liveportrait_v2v.engines.liveportrait import download
from liveportrait_v2v.engines.liveportrait.networks import MAIN_NETWORKS, NETWORKS, random_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder with random weights in upstream's file format."""
    folder = tmp_path_factory.mktemp("weights")
    for name in NETWORKS:
        torch.save(random_weights(0, name), folder / f"{name}.pth")
    return folder


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(tmp_path, monkeypatch):
    for name in ("LPV2V_WEIGHTS", "HOME", "COMFYUI_PATH"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)


def test_status_lists_the_weights(weights, capsys):
    assert main(["models", "status", "--weights", str(weights)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(NETWORKS)
    assert f"{weights / 'motion_extractor.pth'}  112.5 MB" in lines


def test_status_without_weights_names_the_command_that_downloads_them(tmp_path, capsys):
    assert main(["models", "status"]) == 0
    message = capsys.readouterr().out
    assert str(tmp_path / "nothing") in message
    assert "models download" in message


def test_status_looks_in_the_folders_of_a_model_paths_file(weights, tmp_path, capsys):
    (tmp_path / "paths.yaml").write_text(f"mine:\n  liveportrait: {weights}\n")
    assert main(["models", "status", "--model-paths", "paths.yaml", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {Path(row["file"]).stem for row in files} == set(NETWORKS)


def test_verify_reads_every_file_and_reports_that_it_is_not_the_published_one(weights, capsys):
    assert main(["models", "verify", "--weights", str(weights), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == len(NETWORKS)
    assert {row["checked"] for row in files} == {"all tensors are right, the file is not the published one"}


def test_verify_refuses_a_damaged_file(weights, tmp_path, capsys):
    for path in weights.iterdir():
        os.symlink(path, tmp_path / path.name)
    damaged = tmp_path / "warping_module.pth"
    damaged.unlink()
    damaged.write_bytes((weights / damaged.name).read_bytes()[:1000])
    assert main(["models", "verify", "--weights", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert str(damaged) in printed.err
    assert printed.err.count("\n") == 1


def test_convert_writes_flat_safetensors_that_verify_accepts(weights, capsys):
    assert main(["models", "convert", "--weights", str(weights), "-o", "flat"]) == 0
    assert sorted(os.listdir("flat")) == sorted(f"{name}.safetensors" for name in NETWORKS)
    capsys.readouterr()
    assert main(["models", "verify", "--weights", "flat"]) == 0
    assert capsys.readouterr().out.count("all tensors are right\n") == len(NETWORKS)


def test_download_fetches_the_safetensors_and_the_landmark_network_if_asked(monkeypatch, capsys):
    files = (*download.SAFETENSORS, download.LANDMARKS)
    content = {f"/{file.repository}/resolve/main/{file.path}": file.name.encode() for file in files}
    server = FileServer(content)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    small = download.RemoteFile(download.LANDMARKS.repository, download.LANDMARKS.path)
    monkeypatch.setattr(download, "LANDMARKS", small)
    try:
        assert main(["models", "download", "--to", "here", "--landmarks", "--json"]) == 0
    finally:
        server.close()
    assert sorted(os.listdir("here")) == sorted(file.name for file in files)
    assert len(json.loads(capsys.readouterr().out)["files"]) == len(files)


def test_download_without_a_network_is_one_line_that_names_every_file(monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "download", "--format", "pth", "--to", "here"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for file in download.UPSTREAM:
        assert f"{file.url} ({file.size:,} bytes) to {Path('here', file.name)}" in message


# Animals


@pytest.fixture
def animals(weights, tmp_path) -> Path:
    """A folder with networks for animals as upstream lays them out."""
    folder = tmp_path / "hub"
    (folder / download.ANIMALS_FOLDER).mkdir(parents=True)
    for name in MAIN_NETWORKS:
        os.link(weights / f"{name}.pth", folder / download.ANIMALS_FOLDER / f"{name}.pth")
    return folder


def test_download_puts_the_networks_for_animals_into_a_folder_of_their_own(monkeypatch, capsys):
    content = {f"/{f.repository}/resolve/main/{f.path}": f.name.encode() for f in download.ANIMALS}
    server = FileServer(content)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    try:
        assert main(["models", "download", "--animals", "--to", "here"]) == 0
    finally:
        server.close()
    assert sorted(os.listdir(Path("here", download.ANIMALS_FOLDER))) == sorted(
        f"{name}.pth" for name in MAIN_NETWORKS
    )


@pytest.mark.parametrize("more", [["--landmarks"], ["--format", "safetensors"]])
def test_download_refuses_what_there_is_not_for_animals(more, capsys):
    assert main(["models", "download", "--animals", *more]) == 2
    assert "published as .pth alone" in capsys.readouterr().err


def test_networks_for_animals_are_verified_without_the_hashes_of_those_for_humans(animals, capsys):
    assert main(["models", "verify", "--animals", "--weights", str(animals), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == len(MAIN_NETWORKS)
    assert {file["checked"] for file in files} == {"all tensors are right"}


def test_converted_networks_for_animals_are_found_again(animals, capsys):
    assert main(["models", "convert", "--animals", "--weights", str(animals), "-o", "flat"]) == 0
    assert main(["models", "status", "--animals", "--weights", "flat", "--json"]) == 0
    status = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {Path(file["file"]) for file in status["files"]} == {
        Path("flat", "animal", f"{name}.safetensors") for name in MAIN_NETWORKS
    }
