"""The live page in a headless Chromium whose camera and microphone play a clip: for tests, benchmark and picture."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import wave
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from liveportrait_v2v import Clip  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

CHROMIUM = next(
    filter(None, (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))), None
)


def write_camera(clip: Clip, path: Path) -> Path:
    """Write a clip's frames as Motion JPEG, which Chromium's fake camera plays over and over at 30 frames a second."""
    with path.open("wb") as file:
        for chunk in clip.chunks(8):
            for frame in chunk.frames:
                Image.fromarray(frame.numpy()).save(file, "JPEG", quality=92)
    return path


def write_microphone(clip: Clip, path: Path) -> Path:
    """Write a clip's sound, as long as its frames take at 30 a second, as a WAVE file for the fake microphone."""
    audio = clip.audio(Fraction(clip.info.frame_count, 30))
    assert audio is not None
    samples = (audio.samples.clamp(-1, 1) * 32767).to(torch.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(samples.T.contiguous().numpy().tobytes())
    return path


def _flags(camera: Path) -> list[str]:
    return [
        "--no-sandbox",
        "--disable-gpu",
        "--lang=en-US",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-video-capture={camera}",
    ]


def launch(playwright: Playwright, camera: Path, microphone: Path | None = None) -> Browser:
    """Start a Chromium with this camera and microphone."""
    flags = _flags(camera)
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


class MeasuredPage:
    """A page in a headless Chromium of its own, without Playwright, which has every WebSocket message copied to itself.

    Args:
        folder: for the browser's profile.
    """

    def __init__(self, url: str, camera: Path, folder: Path):
        assert CHROMIUM is not None, "install the package chromium"
        words = ["--headless", "--remote-debugging-port=0", "--window-size=1280,800", "--no-first-run"]
        profile = folder / "profile"
        self._browser = subprocess.Popen(
            [CHROMIUM, *words, *_flags(camera), f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._connect(profile / "DevToolsActivePort"))
        self._ask("Page.navigate", url=url)

    async def _connect(self, port_file: Path) -> None:
        import aiohttp

        while not port_file.exists() or len(port_file.read_text().split()) < 2:
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port_file.read_text().split()[0]}/json") as answer:
            address = next(one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page")
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(address)

    def _ask(self, method: str, **parameters: Any) -> Any:
        """Return the result of a command of the Chrome DevTools Protocol."""

        async def ask() -> Any:
            await self._socket.send_json({"id": 1, "method": method, "params": parameters})
            return (await self._socket.receive_json(timeout=60))["result"]

        return self._loop.run_until_complete(ask())

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def close(self) -> None:
        """End the browser."""

        async def leave() -> None:
            await self._socket.close()
            await self._session.close()

        self._loop.run_until_complete(leave())
        self._loop.close()
        self._browser.terminate()
        self._browser.wait()


class Command:
    """A running `liveportrait-v2v live`.

    Attributes:
        url: of its page.
        process: of it.
    """

    def __init__(self, source: str | os.PathLike[str], *options: str, port: int = 0):
        words = [
            sys.executable,
            "-m",
            "liveportrait_v2v.cli",
            "live",
            str(source),
            "--port",
            str(port),
            *options,
        ]
        self.process: subprocess.Popen[Any] = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("open http"):
            raise RuntimeError(
                f"the live page's server did not start: {line!r}, exit code {self.process.wait()}"
            )
        self.url = line.split()[1]

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait()
