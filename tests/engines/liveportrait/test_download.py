"""Fetching weights from servers that break off, lie, and serve something else."""

from __future__ import annotations

import hashlib
import os
import random

import pytest
from faulty_files import FileServer

from liveportrait_v2v.engines.liveportrait import download as module
from liveportrait_v2v.engines.liveportrait.download import (
    LANDMARKS,
    SAFETENSORS,
    UPSTREAM,
    DownloadError,
    DownloadStopped,
    RemoteFile,
    download,
)

DATA = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
PATH = "/some/weights/resolve/main/nets/net.pth"
FILE = RemoteFile("some/weights", "nets/net.pth", len(DATA), DIGEST)
UNKNOWN = RemoteFile("some/weights", "nets/net.pth", about=len(DATA))


@pytest.fixture
def server(monkeypatch):
    server = FileServer({PATH: DATA})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(module, "PAUSE", 0.0)
    yield server
    server.close()


@pytest.mark.parametrize("file", [FILE, UNKNOWN])
def test_a_file_comes_whole_into_its_folder_and_leaves_nothing_beside_it(server, tmp_path, file):
    told = []
    (path,) = download([file], tmp_path / "new", on_progress=lambda *step: told.append(step))
    assert path == tmp_path / "new" / "net.pth"
    assert path.read_bytes() == DATA
    assert os.listdir(tmp_path / "new") == ["net.pth"]
    assert told[-1] == ("net.pth", len(DATA), len(DATA))


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"mine")
    download([FILE], tmp_path)
    assert (tmp_path / "net.pth").read_bytes() == b"mine"
    assert server.ranges == []


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    server.break_after = [100_000, 50_000]
    (path,) = download([FILE], tmp_path)
    assert path.read_bytes() == DATA
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_download_that_was_given_up_goes_on_at_the_next_run(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    server.break_after = [100_000, 0]
    with pytest.raises(DownloadError):
        download([FILE], tmp_path)
    assert not (tmp_path / "net.pth").exists()
    (path,) = download([FILE], tmp_path)
    assert path.read_bytes() == DATA
    assert server.ranges[-1] == "bytes=100000-"


def test_a_download_that_is_stopped_keeps_what_has_come(server, tmp_path):
    with pytest.raises(DownloadStopped):
        download([FILE], tmp_path, cancelled=lambda: True)
    begun = (tmp_path / "net.pth.part").stat().st_size
    assert 0 < begun < len(DATA)
    (path,) = download([FILE], tmp_path)
    assert path.read_bytes() == DATA
    assert server.ranges == [None, f"bytes={begun}-"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_in_the_place_of_the_part_is_not_written_through(server, tmp_path):
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("net.pth.part", "net.pth.part.etag"):
        (folder / name).symlink_to(mine)
    (path,) = download([FILE], folder)
    assert (path.read_bytes(), path.is_symlink(), mine.read_bytes()) == (DATA, False, b"mine")


def test_a_server_that_ignores_ranges_begins_anew(server, tmp_path):
    server.break_after = [100_000]
    server.ignore_ranges = True
    (path,) = download([FILE], tmp_path)
    assert path.read_bytes() == DATA


def test_a_file_that_has_changed_meanwhile_begins_anew(server, tmp_path):
    with pytest.raises(DownloadStopped):
        download([UNKNOWN], tmp_path, cancelled=lambda: True)
    server.files[PATH] = DATA[::-1]
    (path,) = download([UNKNOWN], tmp_path)
    assert path.read_bytes() == DATA[::-1]


def test_a_part_that_is_longer_than_the_file_begins_anew(server, tmp_path):
    with pytest.raises(DownloadStopped):
        download([FILE], tmp_path, cancelled=lambda: True)
    (tmp_path / "net.pth.part").write_bytes(DATA + DATA)
    (path,) = download([FILE], tmp_path)
    assert path.read_bytes() == DATA


def refusal(file: RemoteFile, folder) -> str:
    """Why a file is refused, with nothing of it left."""
    with pytest.raises(DownloadError) as error:
        download([file], folder)
    assert os.listdir(folder) == []
    return str(error.value)


def test_a_size_that_is_not_the_known_one_is_refused_before_anything_is_fetched(server, tmp_path):
    server.files[PATH] = DATA[:-1]
    assert "should have 300,000 bytes, the server has 299,999" in refusal(FILE, tmp_path)


@pytest.mark.parametrize(("data", "came"), [(DATA[:-5], "299,995"), (DATA + b"more", "300,004")])
def test_a_size_that_the_server_did_not_tell_is_checked_all_the_same(server, tmp_path, data, came):
    server.chunked = True
    server.files[PATH] = data
    assert f"should have 300,000 bytes, {came} came" in refusal(FILE, tmp_path)


def test_a_server_that_declares_more_than_it_sends_is_given_up(server, tmp_path):
    server.declare = len(DATA) + 10
    with pytest.raises(DownloadError, match="can't be fetched"):
        download([UNKNOWN], tmp_path)
    assert not (tmp_path / "net.pth").exists()


def test_wrong_bytes_of_the_right_size_are_refused(server, tmp_path):
    server.files[PATH] = bytes(len(DATA))
    assert f"should have SHA-256 {DIGEST}" in refusal(FILE, tmp_path)


def test_bytes_that_changed_between_two_runs_are_refused(server, tmp_path):
    with pytest.raises(DownloadStopped):
        download([FILE], tmp_path, cancelled=lambda: True)
    with open(tmp_path / "net.pth.part", "r+b") as part:
        part.write(b"not this")
    assert f"should have SHA-256 {DIGEST}" in refusal(FILE, tmp_path)


def test_a_hash_that_only_the_server_knows_is_checked(server, tmp_path):
    server.linked = True
    with pytest.raises(DownloadStopped):
        download([UNKNOWN], tmp_path, cancelled=lambda: True)
    with open(tmp_path / "net.pth.part", "r+b") as part:
        part.write(b"not this")
    assert "should have SHA-256" in refusal(UNKNOWN, tmp_path)


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_refuses_is_quoted(server, tmp_path, status):
    server.status = status
    assert f"the server answers {status}" in refusal(FILE, tmp_path)


def test_without_a_network_each_url_size_and_place_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "motion_extractor.pth").write_bytes(b"already")
    with pytest.raises(DownloadError) as error:
        download([*UPSTREAM, LANDMARKS], tmp_path)
    said = str(error.value)
    url = "http://127.0.0.1:9/KwaiVGI/LivePortrait/resolve/main/liveportrait/base_models/warping_module.pth"
    assert f"{url} (182,180,086 bytes) to {tmp_path / 'warping_module.pth'}" in said
    assert said.count("http://127.0.0.1:9/KwaiVGI") == 1 + 5
    assert "motion_extractor" not in said


def test_the_safetensors_are_named_with_a_rough_size(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError) as error:
        download(SAFETENSORS, tmp_path)
    assert str(error.value).count("(about ") == 5


def test_without_a_mirror_files_come_from_hugging_face(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert SAFETENSORS[0].url == (
        "https://huggingface.co/Kijai/LivePortrait_safetensors/resolve/main/appearance_feature_extractor.safetensors"
    )
