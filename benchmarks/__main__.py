"""Everything that the README's figures come from: `make bench`, about half an hour on two cores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

for script in ("draft_speed", "face_tracking", "draft_quality", "liveportrait_speed", "liveportrait_layers"):
    print(f"== {script}", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).parent / f"{script}.py")], check=True)
