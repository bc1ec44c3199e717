"""Command `serve`: started, stopped during a job, killed and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import PATIENCE, Client

from liveportrait_v2v.cli import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
# Long enough to be interrupted.
LONG = {"dsize": 512, "video_frame_load_cap": 40}


class Served:
    """`serve` command in a separate process."""

    def __init__(self, data: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "liveportrait_v2v.cli", "serve", "--data", str(data), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        line = self.process.stdout.readline()
        assert line.startswith("serving at "), line + self.process.stderr.read()
        self.client = Client(base_url=line.split()[-1], timeout=PATIENCE, trust_env=False)

    def end(self, number: int, *, group: bool = False) -> int:
        """Send a signal, and wait until the server and its worker have closed stderr."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.log = self.process.communicate(timeout=PATIENCE)[1]
        self.client.close()
        return self.process.returncode


@contextmanager
def served(data: Path):
    server = Served(data)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


def names(data: Path) -> list[str]:
    return [str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_server_that_ends_in_mid_job_does_the_job_after_the_next_start(number, clips, tmp_path):
    data = tmp_path / "data"
    with served(data) as server:
        url = server.client.upload(clips["jwp_intro"].read_bytes())
        job = server.client.job(input_video=url, driving_video=url, **LONG)
        server.client.wait(job, "PROCESSING")
        code = server.end(number)
        if number == signal.SIGTERM:
            assert code == 0
            assert "Traceback" not in server.log
            assert not [name for name in names(data) if not name.startswith(("files/", "jobs."))]
        assert len([name for name in names(data) if name.startswith("files/")]) == 1
    with served(data) as server:
        status = server.client.wait(job)
        assert status["status"] == "COMPLETED", status
        video = server.client.get("/files/" + server.client.result(job)["video"]["file_name"])
        assert video.content[4:8] == b"ftyp"
        assert server.end(signal.SIGTERM) == 0
    assert not [name for name in names(data) if name.startswith("work/")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_an_idle_server_ends_with_its_worker(number, tmp_path):
    with served(tmp_path / "data") as server:
        # A terminal sends Ctrl-C to the whole group.
        assert server.end(number, group=number == signal.SIGINT) == (0 if number == signal.SIGINT else -9)
        assert "Traceback" not in server.log


def test_only_the_owner_can_read_what_the_command_writes(tmp_path):
    data = tmp_path / "data"
    with served(data) as server:
        server.client.upload(b"clip")
        assert server.end(signal.SIGTERM) == 0
    assert [path for path in data.rglob("*") if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("engine", ["none", "segmind"])
def test_an_engine_that_is_none_or_would_spend_the_owners_money_is_refused(engine, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["serve", "--engine", engine, "--data", str(tmp_path / "data")])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert "draft" in message
    assert message.count("\n") == 1


def test_without_aiohttp_the_command_names_the_package_to_install(tmp_path, capsys, monkeypatch):
    for module in ("listen", "connections"):
        monkeypatch.delitem(sys.modules, f"liveportrait_v2v.server.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert main(["serve", "--data", str(tmp_path / "data")]) == 2
    assert "pip install aiohttp" in capsys.readouterr().err
