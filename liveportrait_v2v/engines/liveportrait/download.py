"""Download of the published weights: resumable, checked, and complete or not at all.

A file comes into `NAME.part` next to its place; once it is complete and checked, it is moved there. A download
that broke off resumes where it stopped, as long as the server still has the same file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from ...errors import Cancelled, LivePortraitError
from ...files import open_unlinked, sha256_of
from ...remedies import remedy

Progress = Callable[[str, int, "int | None"], None]
ATTEMPTS = 5  # that get no further
PAUSE = 1.0  # seconds before another attempt
HUGGING_FACE = "https://huggingface.co"


class DownloadError(LivePortraitError):
    """A file can't be fetched, or fails its check."""


class DownloadStopped(Cancelled):
    """The caller asked a download to stop."""

    goes_on = "stopped; what has come is kept, and the same command goes on from there"


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        repository: on Hugging Face.
        path: in the repository.
        size: in bytes, where it is known.
        about: in bytes, roughly, where `size` is not known.
        sha256: where it is known.
    """

    repository: str
    path: str
    size: int | None = None
    sha256: str | None = None
    about: int | None = None

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def url(self) -> str:
        """Address of the file; $HF_ENDPOINT names a mirror of Hugging Face."""
        server = (os.environ.get("HF_ENDPOINT") or HUGGING_FACE).rstrip("/")
        return f"{server}/{self.repository}/resolve/main/{self.path}"


def _upstream(path: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile("KwaiVGI/LivePortrait", f"liveportrait/{path}", size, sha256)


UPSTREAM = (
    _upstream(
        "base_models/appearance_feature_extractor.pth",
        3387959,
        "5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
    ),
    _upstream(
        "base_models/motion_extractor.pth",
        112545506,
        "251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
    ),
    _upstream(
        "base_models/warping_module.pth",
        182180086,
        "2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
    ),
    _upstream(
        "base_models/spade_generator.pth",
        221813590,
        "4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
    ),
    _upstream(
        "retargeting_models/stitching_retargeting_module.pth",
        2393098,
        "3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
    ),
)
LANDMARKS = _upstream(
    "landmark.onnx", 114666491, "31d22a5041326c31f19b78886939a634a5aedcaa5ab8b9b951a1167595d147db"
)
# The same tensors; sizes and hashes come from the server.
SAFETENSORS = tuple(
    RemoteFile("Kijai/LivePortrait_safetensors", Path(file.name).stem + ".safetensors", about=file.size)
    for file in UPSTREAM
)
ANIMALS = tuple(
    RemoteFile("KwaiVGI/LivePortrait", f"liveportrait_animals/base_models_v1.1/{file.name}", about=file.size)
    for file in UPSTREAM
    if "base_models" in file.path
)
"""The networks for animals, of the same sizes; hashes come from the server."""
ANIMALS_FOLDER = "liveportrait_animals/base_models_v1.1"
"""Where they go below a folder of weights, as their files have the names of those for humans."""
PUBLISHED = {"humans": (SAFETENSORS, ""), "animals": (ANIMALS, ANIMALS_FOLDER)}
"""What is fetched of each model, and where it goes below a folder of weights."""
KNOWN = {file.name: file for file in (*UPSTREAM, LANDMARKS)}


def download(
    files: Iterable[RemoteFile],
    folder: str | Path,
    *,
    on_progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Path]:
    """Fetch files into a folder, flat. Files that are already there are left alone.

    Args:
        on_progress: called with a file's name, the bytes that are there, and those there will be, if known.
        cancelled: polled after each piece.

    Raises:
        DownloadError: a file can't be fetched; the message says how to do it by hand, for each that is missing.
        DownloadStopped: `cancelled` returned True.
    """
    files, folder = list(files), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    limits = httpx.Timeout(30.0)
    with httpx.Client(
        follow_redirects=True, timeout=limits, headers={"Accept-Encoding": "identity"}
    ) as client:
        for file in files:
            if not (folder / file.name).exists():
                try:
                    _Fetch(client, file, folder / file.name, on_progress, cancelled).run()
                except DownloadError as error:
                    missing = [other for other in files if not (folder / other.name).exists()]
                    raise DownloadError(f"{error}. {_by_hand(missing, folder)}") from error
    return [folder / file.name for file in files]


def _by_hand(files: list[RemoteFile], folder: Path) -> str:
    sizes = [f"{file.size:,} bytes" if file.size else f"about {file.about:,} bytes" for file in files]
    lines = [f"{file.url} ({size}) to {folder / file.name}" for file, size in zip(files, sizes, strict=True)]
    return f"{remedy('download')}, or fetch by hand: {'; '.join(lines)}"


class _Fetch:
    """One file on its way."""

    def __init__(self, client, file: RemoteFile, target: Path, on_progress, cancelled):
        self.client = client
        self.file = file
        self.target = target
        self.part = target.with_name(f"{target.name}.part")
        self.tag = target.with_name(f"{target.name}.part.etag")  # of the version that the part is of
        self.on_progress = on_progress
        self.cancelled = cancelled
        self.size, self.sha256 = file.size, file.sha256

    def run(self) -> None:
        for left in (self.part, self.tag):  # their names are known: others may have put links there
            if left.is_symlink():
                left.unlink()
        failures, furthest = 0, self._have()
        while True:
            try:
                if self._request(self._have()):
                    break
                reason = "the server doesn't go on with the file that it began"
            except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
                raise DownloadError(f"{self.file.url} can't be fetched: {error}") from error
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            failures = 0 if self._have() > furthest else failures + 1
            furthest = max(furthest, self._have())
            if failures >= ATTEMPTS:
                raise DownloadError(f"{self.file.url} can't be fetched: {reason}")
            time.sleep(PAUSE)
        self._check_whole()
        with open(self.part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.part, self.target)
        self.tag.unlink(missing_ok=True)

    def _have(self) -> int:
        """Return the number of bytes to resume from; 0 where their version is unknown."""
        return self.part.stat().st_size if self.part.exists() and self.tag.exists() else 0

    def _request(self, start: int) -> bool:
        """Fetch from byte `start` on; False, with nothing kept, where the server can't resume there."""
        headers = {"Range": f"bytes={start}-", "If-Range": self.tag.read_text()} if start else {}
        with self.client.stream("GET", self.file.url, headers=headers) as answer:
            if answer.status_code == 416 or (
                answer.status_code == 206 and not self._continues(answer, start)
            ):
                self._discard()
                return False
            if answer.status_code not in (200, 206):
                raise DownloadError(
                    f"{self.file.url} can't be fetched: the server answers {answer.status_code}"
                )
            resumed = answer.status_code == 206
            self._learn(answer, start if resumed else 0)
            with open(self.part, "ab" if resumed else "wb", opener=open_unlinked) as out:
                for piece in answer.iter_raw():
                    out.write(piece)
                    if self.size is not None and out.tell() > self.size:
                        break  # _check_whole says so
                    if self.on_progress is not None:
                        self.on_progress(self.file.name, out.tell(), self.size)
                    if self.cancelled is not None and self.cancelled():
                        raise DownloadStopped(f"stopped while fetching {self.file.name}")
        return True

    def _continues(self, answer: httpx.Response, start: int) -> bool:
        tag = answer.headers.get("etag")
        right_place = answer.headers.get("content-range", "").startswith(f"bytes {start}-")
        return right_place and tag in (None, self.tag.read_text())

    def _learn(self, answer: httpx.Response, start: int) -> None:
        """Size, hash and version from the server's headers; what is known beforehand is held against them."""
        length = answer.headers.get("content-length")
        declared = start + int(length) if length is not None else None
        if declared is not None and self.file.size is not None and declared != self.file.size:
            self._discard()
            raise DownloadError(
                f"{self.file.url} should have {self.file.size:,} bytes, the server has {declared:,}"
            )
        self.size = self.file.size or declared
        if self.sha256 is None:
            # Hugging Face names the hash of a large file where it redirects to it.
            for earlier in (*answer.history, answer):
                found = re.fullmatch(r'"?([0-9a-f]{64})"?', earlier.headers.get("x-linked-etag", ""))
                self.sha256 = found[1] if found else self.sha256
        tag = answer.headers.get("etag", "")
        if start == 0:
            # A weak tag does not identify the bytes.
            self.tag.unlink(missing_ok=True)
            if tag and not tag.startswith("W/"):
                self.tag.write_text(tag)

    def _check_whole(self) -> None:
        size = self.part.stat().st_size
        if self.size is not None and size != self.size:
            self._discard()
            raise DownloadError(f"{self.file.url} should have {self.size:,} bytes, {size:,} came")
        if self.sha256 is not None:
            found = sha256_of(self.part)
            if found != self.sha256:
                self._discard()
                raise DownloadError(f"{self.file.url} should have SHA-256 {self.sha256}, {found} came")

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)
