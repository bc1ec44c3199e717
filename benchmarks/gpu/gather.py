"""Collects what a machine without a network lacks: wheels and clips, in one folder that git ignores.

    python -m benchmarks.gpu gather [--to DIR]

The wheels are PyAV's and mimic-head's, whose modules import torch alone; the clips are cut and scaled from those that
`scripts/fetch_clips.py` fetches.
"""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from .clips import NAMES, write_clip
from .options import CARRIED

ROOT = Path(__file__).parent.parent.parent
MOST_BYTES = 40_000_000
WHEELS = ("av==18.1.0", "mimic-head==0.1.5")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
START, DURATION = Fraction(260 * 1001, 24000), Fraction(7)
"""Part of the source clip in which no hand covers the face, in seconds."""
CRF = 24
COMMAND = """\
python3 -m pip install -q --no-index --no-deps --target /tmp/site {folder}/*.whl &&
PYTHONPATH=/tmp/site python3 -m benchmarks.gpu --out "${{OUT:-gpu-results}}\""""


class TooLargeError(Exception):
    """What was gathered is more than may be carried."""


def gather(folder: Path = CARRIED) -> None:
    """Fill a folder, and print its content and the command that uses it.

    Raises:
        TooLargeError: it has more than `MOST_BYTES`.
        CalledProcessError: a wheel can't be downloaded.
        FetchError: a clip can't be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fetch_wheels(folder)
    make_clips(folder)
    for path, size in content(folder).items():
        print(f"{size / 1e6:6.2f} MB  {path}")
    print(f"\nWith this folder beside the repository's files, in the repository's root:\n\n{command(folder)}")


def content(folder: Path) -> dict[str, int]:
    """Return the files of a folder with their sizes in bytes, the largest first.

    Raises:
        TooLargeError: it has more than `MOST_BYTES`.
    """
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if not path.name.startswith(".")}
    total = sum(sizes.values())
    if total > MOST_BYTES:
        raise TooLargeError(
            f"at most {MOST_BYTES / 1e6:g} MB may be gathered, got {total / 1e6:.1f} MB in {folder}; delete old wheels"
        )
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def command(folder: Path) -> str:
    """Return the shell command that installs the wheels and measures everything, for the repository's root."""
    inside = folder.resolve().is_relative_to(ROOT)
    return COMMAND.format(folder=folder.resolve().relative_to(ROOT).as_posix() if inside else folder)


def fetch_wheels(folder: Path) -> None:
    """Download the wheels for Python 3.12 on Linux, x86-64."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    words += ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    words += ["--abi", "cp312", "--abi", "abi3", "--abi", "none"]
    words += [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run([*words, "--dest", str(folder), *WHEELS], check=True)


def make_clips(folder: Path) -> None:
    """Make the carried clips; those that are there stay."""
    sys.path.append(str(ROOT / "scripts"))
    import fetch_clips
    from liveportrait_v2v.media import Clip

    if all((folder / f"{name}.mp4").is_file() for name in NAMES):
        return
    fetched = fetch_clips.fetch(["wolfgang", "jwp_intro"])
    listening = Clip(fetched["wolfgang"], start=START, duration=DURATION)
    talking = Clip(fetched["jwp_intro"])
    speech = talking.audio(DURATION)
    rate = talking.info.rate  # one for all clips, so that a frame of the result takes one of each
    write_clip(folder / "source.mp4", listening, (1280, 720), speech, rate=rate, crf=CRF)
    write_clip(folder / "driving_wide.mp4", talking, (1280, 720), speech, corner=(0, 40), crf=CRF)
    write_clip(folder / "driving_square.mp4", talking, (512, 512), speech, corner=(20, 0), crf=CRF)
