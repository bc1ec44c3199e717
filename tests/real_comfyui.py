"""A real ComfyUI with the pack in it, as a user would have it: found, started, and talked to over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACK = "comfyui-liveportrait-v2v"
_STARTUP_SECONDS = 180


def find() -> tuple[Path, Path] | None:
    """The folder of a ComfyUI and the Python that runs it, None if there is none.

    Looked for in COMFYUI_PATH, around the folder that the pack is installed in, and where comfy-cli puts it.
    """
    places = [os.environ.get("COMFYUI_PATH"), ROOT.parent.parent, Path.home() / "comfy" / "ComfyUI"]
    for place in filter(None, places):
        folder = Path(place)
        if (folder / "main.py").is_file() and (folder / "comfy_api").is_dir():
            own = next((p for v in (".venv", "venv") if (p := folder / v / "bin" / "python").exists()), None)
            return folder, Path(os.environ.get("COMFYUI_PYTHON") or own or sys.executable)
    return None


def published_files() -> list[str]:
    """Return the files that a registry would serve: those of the repository except what .comfyignore names.

    Outside a git checkout, the test that asks is skipped.
    """

    def listed(*options: str) -> set[str]:
        done = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True)
        if done.returncode:
            pytest.skip(f"not a git checkout: {done.stderr.decode(errors='replace').strip()}")
        return {name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()}

    ours = listed("-co", "--exclude-standard")
    left_out = listed("-cio", "--exclude-from=.comfyignore")
    return sorted(ours - left_out)


@dataclass
class Run:
    """What a prompt came to.

    Attributes:
        status: "success" or "error".
        outputs: UI outputs by node.
        error: the message of the exception, or None.
        cached: nodes that were served from the cache.
    """

    id: str
    status: str
    outputs: dict[str, Any]
    error: str | None
    cached: list[str]
    interrupted: bool


@dataclass
class ComfyUI:
    """A server on a folder of its own, with the pack as its one custom node."""

    folder: Path
    python: Path
    base: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen | None = None
    log: Path = field(init=False)

    def start(self) -> None:
        """Installs the pack, starts the server and waits until it answers.

        Raises:
            RuntimeError: it ended or didn't answer; with the end of its log.
        """
        for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        target = self.base / "custom_nodes" / PACK
        for name in published_files():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
        self._install_lacking(target / "requirements.txt")
        self.launch()

    def _install_lacking(self, requirements: Path) -> None:
        """Brings what ComfyUI's Python lacks of the pack's requirements, into a folder beside it: as the manager would,
        but the environment found here is not ours to change."""
        names = [
            re.split(r"[^\w-]", line)[0] for line in requirements.read_text(encoding="utf-8").splitlines()
        ]
        names = [name for name in names if name and name != "Pillow"]
        script = (
            "import sys, importlib.util as u; print(*[n for n in sys.argv[1:] if u.find_spec(n) is None])"
        )
        done = subprocess.run([self.python, "-c", script, *names], capture_output=True, text=True, check=True)
        if lacking := done.stdout.split():
            folder = self.base / "site-packages"
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *lacking]
            subprocess.run(install, check=True)
            self.environment = {**self.environment, "PYTHONPATH": str(folder)}

    def launch(self) -> None:
        """Starts the server on what lies in its folder."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        known = (self.folder / "comfy" / "cli_args.py").read_text(encoding="utf-8")
        flags = {
            "--base-directory": [str(self.base)],
            "--database-url": [f"sqlite:///{self.base / 'comfyui.db'}"],
            "--disable-all-custom-nodes": [],
            "--whitelist-custom-nodes": [PACK],
        }
        arguments = [str(self.python), "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        for flag, values in flags.items():
            if f'"{flag}"' in known:
                arguments += [flag, *values]
        self.log = self.base / "comfyui.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + _STARTUP_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.25)
        raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Resident bytes of the server."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and answer: JSON where it is, else text."""
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                code, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            code, text = error.code, error.read().decode()
        try:
            return code, json.loads(text)
        except ValueError:
            return code, text

    def queue(self, prompt: dict[str, Any], client: str = "test") -> str:
        """Queues a prompt in API format and gives its id.

        Raises:
            AssertionError: the server refused it.
        """
        code, answer = self.post(
            "/prompt", {"prompt": prompt, "client_id": client, "prompt_id": str(uuid.uuid4())}
        )
        assert code == 200, answer
        return answer["prompt_id"]

    def refusal(self, prompt: dict[str, Any]) -> str:
        """The text with which the server refuses a prompt."""
        code, answer = self.post("/prompt", {"prompt": prompt})
        assert code == 400, answer
        return json.dumps(answer, ensure_ascii=False)

    def wait(self, prompt_id: str, seconds: float = 240) -> Run:
        """Waits for a prompt to end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return _run(prompt_id, history[prompt_id])
            assert self.process.poll() is None, self.log.read_text("utf-8", "replace")[-4000:]
            time.sleep(0.1)
        raise AssertionError(f"no end of the prompt after {seconds} s")

    def run(self, prompt: dict[str, Any], seconds: float = 240) -> Run:
        return self.wait(self.queue(prompt), seconds)

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def file(self, saved: dict[str, str]) -> Path:
        """The file that a UI output names."""
        return self.base / saved["type"] / saved["subfolder"] / saved["filename"]

    def temp_files(self) -> set[str]:
        return {path.name for path in (self.base / "temp").rglob("*") if path.is_file()}


def _run(prompt_id: str, entry: dict[str, Any]) -> Run:
    messages = dict(entry["status"]["messages"])
    error = messages.get("execution_error", {}).get("exception_message")
    cached = messages.get("execution_cached", {}).get("nodes", [])
    return Run(
        prompt_id,
        entry["status"]["status_str"],
        entry["outputs"],
        error,
        cached,
        "execution_interrupted" in messages,
    )


def prompt_of(*nodes: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """A prompt in API format from (id, class, inputs); an input ("id", slot) is a link."""
    return {
        key: {
            "class_type": kind,
            "inputs": {
                name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()
            },
        }
        for key, kind, inputs in nodes
    }
