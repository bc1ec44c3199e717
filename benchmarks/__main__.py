"""Everything that the README's figures come from: `make bench`, about an hour on two cores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = {
    "draft_speed": (),
    "face_tracking": (),
    "draft_quality": (),
    "draft_looks": ("--sheets", "demo/looks"),
    "draft_signals": (),
    "jitter": (),
    "live": (),
    "liveportrait_speed": (),
    "liveportrait_layers": (),
}

for script, arguments in SCRIPTS.items():
    print(f"== {script}", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).parent / f"{script}.py"), *arguments], check=True)
