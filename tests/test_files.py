"""Atomic writes and temporary folders: whole or absent, after kills and against links."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from liveportrait_v2v.errors import MediaError
from liveportrait_v2v.files import PartFile, TemporaryFolder, atomic_write
from liveportrait_v2v.media import VideoWriter

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, modes and pipes")

ROOT = Path(__file__).parent.parent


def write(path: Path, data: bytes = b"new", **options) -> None:
    with atomic_write(path, **options) as part:
        part.write_bytes(data)


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as part:
        part.write_bytes(b"new")
        raise ZeroDivisionError
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a"])


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_an_existing_file_keeps_its_mode_bits(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_write(path) as part:
        assert stat.S_IMODE(part.stat().st_mode) & ~mode == 0
        part.write_bytes(b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_a_new_file_gets_the_usual_mode_and_a_private_one_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
        write(tmp_path / "b", mode=0o600)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o600]


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real"
    real.write_bytes(b"old")
    (tmp_path / "link").symlink_to(real)
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (real.read_bytes(), os.listdir(real.parent)) == (b"new", ["real"])


def test_a_private_file_replaces_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", mode=0o600)
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"old"


def special(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))
    elif kind == "link":
        path.symlink_to(path)
    else:
        path.symlink_to("/dev/null")
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "device"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = special(kind, tmp_path / "out.mp4")
    before = path.lstat()
    with pytest.raises(MediaError, match=f"{kind} and no regular file"):
        write(path)
    with pytest.raises(MediaError, match=f"{kind} and no regular file"), VideoWriter(path, Fraction(5)):
        pass
    assert path.lstat().st_ino == before.st_ino
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_a_parts_name_can_not_be_foretold_and_no_link_is_followed(tmp_path):
    names = set()
    for _ in range(5):
        with atomic_write(tmp_path / ("n" * 200)) as part:
            names.add(part.name)
    assert len(names) == 5
    assert all(re.fullmatch(r"\.n{20}\.[0-9a-f]{16}\.lpv2v\.part", name) for name in names)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda one: (events.append("fsync"), fsync(one)))
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("replace"), replace(*names)))
    write(tmp_path / "a")
    with VideoWriter(tmp_path / "b.mp4", Fraction(5)) as writer:
        writer.write(torch.zeros(1, 16, 16, 3, dtype=torch.uint8))
    assert events == ["fsync", "replace", "fsync"] * 2


KILLED = """
import os, signal, sys, time
from liveportrait_v2v.files import PartFile, TemporaryFolder
part, folder = PartFile(sys.argv[1]), TemporaryFolder()
(folder.path / "clip.mp4").write_bytes(b"clip")
print(part.path, folder.path, flush=True)
time.sleep(1000)
"""


def other_process(target: Path) -> tuple[subprocess.Popen, Path, Path]:
    """A process with an unfinished file and a temporary folder."""
    command = [sys.executable, "-c", KILLED, str(target)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    part, folder = map(Path, process.stdout.readline().split())
    return process, part, folder


@pytest.fixture
def temp(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_what_a_killed_run_left_is_removed_by_the_next_and_what_runs_is_not(tmp_path, temp):
    dead, dead_part, dead_folder = other_process(tmp_path / "a")
    alive, alive_part, alive_folder = other_process(tmp_path / "b")
    dead.send_signal(signal.SIGKILL)
    dead.communicate()
    assert dead_part.exists()
    assert dead_folder.exists()
    others = [tmp_path / ".x.part", temp / "liveportrait-v2v-mine", temp / "other"]
    for other in others:
        other.mkdir()
    write(tmp_path / "c")
    with TemporaryFolder():
        pass
    assert not dead_part.exists()
    assert not dead_folder.exists()
    assert alive_part.exists()
    assert (alive_folder / "clip.mp4").exists()
    assert all(other.exists() for other in others)
    alive.kill()
    alive.communicate()


def test_a_link_in_the_place_of_a_left_file_or_folder_is_not_followed(tmp_path, temp):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"mine")
    (kept / ".lock").write_bytes(b"")
    (tmp_path / ".a.0123456789abcdef.lpv2v.part").symlink_to(kept / "file")
    (temp / "liveportrait-v2v-x").symlink_to(kept)
    write(tmp_path / "a")
    with TemporaryFolder():
        pass
    assert (kept / "file").read_bytes() == b"mine"


def test_a_temporary_folder_ends_with_its_object(temp):
    folder = TemporaryFolder()
    assert folder.path.is_dir()
    del folder
    gc.collect()
    assert os.listdir(temp) == []


def test_many_parts_at_once_remove_none_of_each_other(tmp_path):
    parts = [PartFile(tmp_path / "a") for _ in range(20)]
    assert all(part.path.exists() for part in parts)
    for part in parts:
        part.abandon()
    assert os.listdir(tmp_path) == []


# As on Windows


@pytest.fixture
def open_elsewhere(monkeypatch) -> list[Path]:
    """Targets that can't be replaced, as a file that a player has open."""
    held: list[Path] = []
    replace = os.replace

    def replace_unless_open(path, target):
        if Path(target) in held:
            raise PermissionError(13, "being used by another process", str(target))
        replace(path, target)

    monkeypatch.setattr(os, "replace", replace_unless_open)
    return held


def test_a_result_whose_place_is_open_elsewhere_is_kept_beside_it(tmp_path, open_elsewhere):
    path = tmp_path / "out.mp4"
    for name in ("out.mp4", "out (2).mp4"):
        (tmp_path / name).write_bytes(b"old")
    open_elsewhere.append(path)
    frames = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    expected = pytest.raises(MediaError, match=r"open in another program .* the result is out \(3\)\.mp4")
    with expected, VideoWriter(path, Fraction(25)) as writer:
        writer.write(frames)
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["out (2).mp4", "out (3).mp4", "out.mp4"]
    assert (tmp_path / "out (3).mp4").stat().st_size > 100


def test_other_files_leave_nothing_beside_a_place_that_is_open_elsewhere(tmp_path, open_elsewhere):
    path = tmp_path / "key"
    path.write_bytes(b"old")
    open_elsewhere.append(path)
    with pytest.raises(PermissionError):
        write(path, mode=0o600)
    assert os.listdir(tmp_path) == ["key"]


def test_a_file_that_is_open_for_a_moment_is_replaced_after_it(tmp_path, open_elsewhere, monkeypatch):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    open_elsewhere.append(path)
    monkeypatch.setattr("liveportrait_v2v.files._WINDOWS", True)
    monkeypatch.setattr("liveportrait_v2v.files.time.sleep", lambda _: open_elsewhere.clear())
    write(path)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["NUL.mp4", "con", "Com1.tar.mp4", "lpt9 .mkv"])
def test_the_name_of_a_device_is_refused_there(tmp_path, name, monkeypatch):
    monkeypatch.setattr("liveportrait_v2v.files._WINDOWS", True)
    with pytest.raises(MediaError, match="name of a device on Windows"):
        write(tmp_path / name)


def test_a_path_that_is_too_long_there_is_refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("liveportrait_v2v.files._WINDOWS", True)
    folder = tmp_path / ("f" * 100) / ("g" * 120)
    folder.mkdir(parents=True)

    def open_there(path, *arguments):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr("liveportrait_v2v.files.os.open", open_there)
    with pytest.raises(MediaError, match=r"Windows takes paths of 259 characters.*long paths"):
        write(folder / "out.mp4")


def test_a_name_of_wide_letters_is_written(tmp_path):
    path = tmp_path / ("\N{GRINNING FACE}" * 62 + ".mp4")
    write(path)
    assert path.read_bytes() == b"new"


def test_what_the_console_can_not_write_is_escaped(tmp_path):
    script = "import sys; from liveportrait_v2v.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "faces", "\u8138.mp4"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert b"\\u8138.mp4" in done.stderr
    assert b"Traceback" not in done.stderr
