"""Weights as upstream and others lay them out: found, read strictly, converted."""

from __future__ import annotations

import json
import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from liveportrait_v2v.engines.liveportrait import weights as module
from liveportrait_v2v.engines.liveportrait.networks import (
    MAIN_NETWORKS,
    NETWORKS,
    blank_network,
    random_weights,
)
from liveportrait_v2v.engines.liveportrait.weights import (
    STITCHING,
    WeightsError,
    convert_weights,
    default_folders,
    find_weights,
    folders_of_model_paths,
    load_networks,
    locate,
    read_weights,
    verify_weights,
)

MANIFEST = json.loads((Path(__file__).parent / "data" / "checkpoint_manifest.json").read_text())
SMALL = "appearance_feature_extractor"


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return random_weights(0, SMALL)


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def nested(tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """The stitching networks' tensors as upstream's file has them."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups.setdefault(group.removesuffix("_module"), {})[f"module.{rest}"] = tensor
    return groups


@pytest.mark.parametrize("network", NETWORKS)
def test_the_networks_have_the_tensors_of_the_published_files(network):
    own = {
        name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in blank_network(network).state_dict().items()
    }
    assert own == {name: facts[:2] for name, facts in MANIFEST[network].items()}
    optional = {name for name, facts in MANIFEST[network].items() if "optional" in facts}
    assert optional == {name for name in own if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_read_with_or_without_the_counters_of_its_batch_norms(tmp_path, tensors, suffix, counted):
    if counted:
        tensors |= {name: torch.tensor(7) for name in MANIFEST[SMALL] if name.endswith("num_batches_tracked")}
    path = tmp_path / f"{SMALL}{suffix}"
    torch.save(tensors, path) if suffix == ".pth" else save_file(tensors, path)
    read = read_weights(SMALL, path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_weights_kept_in_half_precision_are_read_as_float32(tmp_path, tensors):
    path = tmp_path / f"{SMALL}.safetensors"
    save_file({name: tensor.half() for name, tensor in tensors.items()}, path)
    assert {tensor.dtype for tensor in read_weights(SMALL, path).values()} == {torch.float32}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_stitching_file_is_read_without_the_groups_that_are_not_ours(tmp_path, suffix):
    tensors = random_weights(0, STITCHING)
    path = tmp_path / f"{STITCHING}{suffix}"
    if suffix == ".pth":
        torch.save({**nested(tensors), "retarget_other": {"module.mlp.0.weight": torch.ones(2)}}, path)
    else:
        save_file({**tensors, "retarget_other_module.mlp.0.weight": torch.ones(2)}, path)
    read = read_weights(STITCHING, path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def refusal(tmp_path: Path, tensors: object) -> str:
    path = tmp_path / f"{SMALL}.pth"
    torch.save(tensors, path)
    with pytest.raises(WeightsError) as error:
        read_weights(SMALL, path)
    return str(error.value)


def test_a_missing_tensor_is_named(tmp_path, tensors):
    del tensors["second.bias"], tensors["first.norm.running_var"]
    said = refusal(tmp_path, tensors)
    assert "first.norm.running_var is missing (and 1 more)" in said
    assert str(tmp_path) in said


def test_an_unknown_tensor_is_named(tmp_path, tensors):
    assert "third.bias is unknown" in refusal(tmp_path, {**tensors, "third.bias": torch.ones(3)})


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path, tensors):
    said = refusal(tmp_path, {**tensors, "second.bias": torch.ones(513)})
    assert "second.bias has shape [513] where [512] is needed" in said


def test_a_tensor_of_whole_numbers_is_refused(tmp_path, tensors):
    said = refusal(tmp_path, {**tensors, "second.bias": torch.ones(512, dtype=torch.int64)})
    assert "second.bias holds int64 where floats are needed" in said


def test_weights_of_another_network_are_refused(tmp_path):
    assert "not the weights of appearance_feature_extractor" in refusal(
        tmp_path, random_weights(0, "motion_extractor")
    )


@pytest.mark.parametrize("content", [[1, 2], {"first.conv.weight": "text"}, torch.ones(2)])
def test_a_file_that_holds_no_table_of_tensors_is_refused(tmp_path, content):
    assert "is not a table of tensors" in refusal(tmp_path, content)


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {1: torch.ones(2)}, {"retarget_eye": {1: 2}}])
def test_a_stitching_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / f"{STITCHING}.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"is not a table of tensors|not the weights of"):
        read_weights(STITCHING, path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_values_that_are_not_finite_are_refused(tmp_path, tensors, suffix, value):
    path = tmp_path / f"{SMALL}{suffix}"
    tensors["second.bias"][3] = value
    torch.save(tensors, path) if suffix == ".pth" else save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"second\.bias has values that are not finite; download it again"):
        read_weights(SMALL, path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"\n  <html lang=en>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:5279\nsize 3387959\n", "a Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_a_download_left_in_place_of_weights_is_named(tmp_path, content, kind, suffix):
    path = tmp_path / f"{SMALL}{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        WeightsError, match=f"is {kind}.*; delete it, then run `liveportrait-v2v models download`"
    ):
        read_weights(SMALL, path)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(tmp_path, seed):
    path = tmp_path / f"{SMALL}.pth"
    path.write_bytes(random.Random(seed).randbytes(300))
    with pytest.raises(WeightsError, match=r"can't be read|not unpickled"):
        read_weights(SMALL, path)


def test_a_byte_that_changed_inside_a_file_is_found_by_its_checksum(tmp_path, tensors):
    path = tmp_path / f"{SMALL}.pth"
    torch.save(tensors, path)
    verify_weights(SMALL, path)
    data = bytearray(path.read_bytes())
    place = data.find(tensors["second.bias"].numpy().tobytes()[:64])
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="its checksum is wrong; download it again"):
        verify_weights(SMALL, path)


class Boobytrap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))]
)
def test_code_in_a_pickle_is_not_run(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"{SMALL}.pth"
    save({"first.conv.weight": Boobytrap()}, path)
    with pytest.raises(WeightsError, match="not unpickled"):
        read_weights(SMALL, path)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 100, 100_000])
def test_a_file_that_was_cut_short_is_refused(tmp_path, tensors, suffix, kept):
    path = tmp_path / f"{SMALL}{suffix}"
    torch.save(tensors, path) if suffix == ".pth" else save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"cut short|not unpickled"):
        read_weights(SMALL, path)


FLAT = dict.fromkeys(NETWORKS, "")
SUBFOLDERS = {name: "retargeting_models" if name == STITCHING else "base_models" for name in NETWORKS}
REPOSITORY = {name: f"liveportrait/{folder}" for name, folder in SUBFOLDERS.items()}


@pytest.mark.parametrize("layout", [FLAT, SUBFOLDERS, REPOSITORY])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_found_in_every_published_layout(tmp_path, layout, suffix):
    for name, folder in layout.items():
        touch(tmp_path / folder, f"{name}{suffix}")
    assert find_weights([tmp_path]) == {
        name: tmp_path / folder / f"{name}{suffix}" for name, folder in layout.items()
    }


def test_the_first_folder_that_has_all_weights_counts(tmp_path):
    touch(tmp_path / "some", f"{SMALL}.pth")
    for folder in ("all", "others"):
        touch(tmp_path / folder, *(f"{name}.pth" for name in NETWORKS))
    found = find_weights([tmp_path / name for name in ("none", "some", "all", "others")])
    assert {path.parent for path in found.values()} == {tmp_path / "all"}


def test_the_animals_weights_are_not_taken_for_the_human_ones(tmp_path):
    names = [f"{name}.safetensors" for name in NETWORKS]
    touch(tmp_path / "animal", *names)
    touch(tmp_path / "liveportrait_animals" / "base_models", *names)
    with pytest.raises(WeightsError):
        find_weights([tmp_path])


def test_what_is_missing_is_told_for_each_folder(tmp_path):
    touch(tmp_path / "some", *(f"{name}.pth" for name in NETWORKS if name != "warping_module"))
    with pytest.raises(WeightsError) as error:
        find_weights([tmp_path / "none", tmp_path / "some"])
    said = str(error.value)
    assert f"{tmp_path / 'none'} (empty or absent)" in said
    assert f"{tmp_path / 'some'} (lacks warping_module)" in said
    assert "liveportrait-v2v models download" in said


def test_another_file_is_located_in_any_layout(tmp_path):
    touch(tmp_path / "liveportrait", "landmark.onnx")
    assert locate(tmp_path, "landmark.onnx") == tmp_path / "liveportrait" / "landmark.onnx"
    assert locate(tmp_path, "absent.onnx") is None


def test_a_file_of_model_paths_names_folders(tmp_path):
    path = tmp_path / "extra_model_paths.yaml"
    path.write_text(
        """\
# where the models are
one:
    base_path: /models/one/   # a comment
    checkpoints: ckpt
    liveportrait: faces/liveportrait/
two:
    liveportrait: |
        /models/two/a
        /models/two/b
        # not this
    loras: |
        /models/loras
three:
    base_path: "shared"
    liveportrait: lp
four:
    base_path: /models/four
"""
    )
    assert folders_of_model_paths(path) == [
        Path("/models/one/faces/liveportrait"),
        Path("/models/two/a"),
        Path("/models/two/b"),
        tmp_path / "shared" / "lp",
    ]


def test_a_file_of_model_paths_that_is_absent_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere.yaml"):
        folders_of_model_paths(tmp_path / "nowhere.yaml")


def test_the_folders_of_a_comfyui_are_looked_into(tmp_path, monkeypatch):
    touch(tmp_path, "main.py")
    (tmp_path / "models").mkdir()
    (tmp_path / "extra_model_paths.yaml").write_text("other:\n  liveportrait: /elsewhere\n")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    monkeypatch.setenv("LPV2V_WEIGHTS", "/mine")
    folders = default_folders()
    assert folders[:3] == [Path("/mine"), tmp_path / "models" / "liveportrait", Path("/elsewhere")]


def test_converted_weights_hold_the_same_tensors(tmp_path):
    files = {}
    for name in (SMALL, STITCHING):
        tensors = random_weights(0, name)
        files[name] = tmp_path / f"{name}.pth"
        torch.save(nested(tensors) if name == STITCHING else tensors, files[name])
    written = convert_weights(files, tmp_path / "flat")
    assert sorted(os.listdir(tmp_path / "flat")) == sorted(path.name for path in written)
    for name, path in zip(files, written, strict=True):
        expected = random_weights(0, name)
        read = load_file(path)
        assert read.keys() == expected.keys()
        assert all(torch.equal(read[key], expected[key]) for key in expected)


def test_networks_are_loaded_from_a_folder(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(
        module, "Networks", lambda read, *options, names: given.update(read=read, options=options)
    )
    for name in NETWORKS:
        touch(tmp_path, f"{name}.pth")
    torch.save(random_weights(3, SMALL), tmp_path / f"{SMALL}.pth")
    load_networks([tmp_path / "none", tmp_path], device="cpu", precision="fp16")
    assert given["options"] == ("cpu", "fp16", False, None)
    assert torch.equal(given["read"](SMALL)["second.bias"], random_weights(3, SMALL)["second.bias"])


# Animals


@pytest.mark.parametrize(
    "folder", ["liveportrait_animals/base_models_v1.1", "liveportrait_animals/base_models", "animal"]
)
def test_networks_for_animals_are_found_where_upstream_and_others_have_them(tmp_path, folder):
    touch(tmp_path / folder, *(f"{name}.pth" for name in MAIN_NETWORKS))
    found = find_weights([tmp_path], "animals")
    assert found == {name: tmp_path / folder / f"{name}.pth" for name in MAIN_NETWORKS}
    assert find_weights([tmp_path / folder], "animals") == found


def test_the_newer_networks_for_animals_come_first_and_are_not_mixed_with_the_old(tmp_path):
    old, new = (tmp_path / "liveportrait_animals" / name for name in ("base_models", "base_models_v1.1"))
    touch(old, *(f"{name}.pth" for name in MAIN_NETWORKS))
    touch(new, *(f"{name}.pth" for name in MAIN_NETWORKS[:-1]))
    assert {path.parent for path in find_weights([tmp_path], "animals").values()} == {old}
    touch(new, f"{MAIN_NETWORKS[-1]}.pth")
    assert {path.parent for path in find_weights([tmp_path], "animals").values()} == {new}


def test_networks_for_humans_are_never_taken_for_animals_nor_the_other_way_round(tmp_path):
    touch(tmp_path / "human", *(f"{name}.safetensors" for name in NETWORKS))
    with pytest.raises(WeightsError, match=r"weights for animals .* --animals") as caught:
        find_weights([tmp_path / "human"], "animals")
    assert "base_models_v1.1" in str(caught.value)
    touch(tmp_path / "other" / "animal", *(f"{name}.safetensors" for name in MAIN_NETWORKS))
    touch(tmp_path / "other" / "liveportrait_animals" / "base_models", *(f"{name}.pth" for name in NETWORKS))
    with pytest.raises(WeightsError, match="LivePortrait weights \\("):
        find_weights([tmp_path / "other"])
