#!/usr/bin/env python3
"""Draw docs/live.jpg: the live page in Chromium, with the example clips' generated faces.

python scripts/make_live_picture.py [--narrow FILE]
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

import live_browser  # noqa: E402
from liveportrait_v2v import Clip  # noqa: E402

SETTLED_MS = 3000
OUTPUT = ROOT / "docs" / "live.jpg"
MAX_BYTES = 150_000
LEAST_RATE, PATIENCE_MS = 10, 600_000
"""Frames a second that the picture is to show, and how long to wait until the machine is calm enough for them."""


def main() -> None:
    """Draw the picture, and the page on a narrow screen if a file is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--narrow", type=Path, help="PNG of the page 420 pixels wide, to look at")
    options = parser.parse_args()
    examples = ROOT / "examples"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera = live_browser.write_camera(
            Clip(examples / "example_driving.mp4"), Path(folder) / "camera.mjpeg"
        )
        command = live_browser.Command(examples / "example_picture.jpg")
        try:
            page = live_browser.launch(playwright, camera).new_page(viewport={"width": 1280, "height": 800})
            page.goto(command.url)
            page.wait_for_function(
                "least => Number(document.getElementById('rate').textContent) >= least",
                arg=LEAST_RATE,
                timeout=PATIENCE_MS,
            )
            page.wait_for_timeout(SETTLED_MS)
            picture = page.screenshot()
            if options.narrow is not None:
                page.set_viewport_size({"width": 420, "height": 900})
                page.wait_for_timeout(1000)
                page.screenshot(path=options.narrow, full_page=True)
        finally:
            command.stop()
    Image.open(io.BytesIO(picture)).convert("RGB").save(OUTPUT, quality=85, optimize=True)
    if OUTPUT.stat().st_size > MAX_BYTES:
        sys.exit(f"{OUTPUT} has {OUTPUT.stat().st_size} bytes, {MAX_BYTES} at most are allowed")


if __name__ == "__main__":
    main()
