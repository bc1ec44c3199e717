"""ComfyUI's internals, for the other nodes: files, socket values, progress, interrupts, memory.

ComfyUI's own modules are imported where they are used, so that the pack starts quickly and its schemas can be
looked at without a server.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from comfy_api.latest import InputImpl, io

from ..liveportrait_v2v.errors import Cancelled, LivePortraitError, SettingsError
from .errors import node_error

if TYPE_CHECKING:
    import torch
    from aiohttp import web
    from PIL import Image

    from ..liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
    from ..liveportrait_v2v.media import Audio, AudioStream, Clip
    from ..liveportrait_v2v.run import Progress
    from ..liveportrait_v2v.tracking import TrackMemory

CATEGORY = "video/LivePortrait"
EXAMPLES = Path(__file__).parent.parent / "examples"
"""Clips of generated faces, 0.3 MB in all, for the templates and the first try."""
NEAR_LOSSLESS = 12
"""Constant rate factor of files that faces are cropped from."""
_log = logging.getLogger(__name__)
# Memory of a batch of eight frames besides the weights, in half precision; with less, batches get smaller.
_RUN_BYTES = 3 << 30
_PREVIEW_SECONDS = 1.0
_TEXT_SECONDS = 0.5
_PREVIEW_SIDE = 512
_SILENT_RATE = 44100


# Files


def input_clips() -> list[str]:
    """Return the names of the videos, and behind them the pictures, in ComfyUI's input folder.

    The pack's examples are put there first: the front end shows files of no other folder.
    """
    import folder_paths

    _offer_examples()
    folder = folder_paths.get_input_directory()
    files = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    videos = folder_paths.filter_files_content_types(files, ["video"])
    return [*videos, *folder_paths.filter_files_content_types(files, ["image"])]


def _offer_examples() -> None:
    """Copy those of the pack's example clips into ComfyUI's input folder that it lacks."""
    import folder_paths

    folder = Path(folder_paths.get_input_directory())
    for example in EXAMPLES.iterdir():
        if not (folder / example.name).exists():
            try:
                shutil.copyfile(example, folder / example.name)
            except OSError as error:
                _log.warning("LivePortrait: the example %s could not be copied: %s", example.name, error)


def input_path(name: str) -> Path | None:
    """Return the file that a widget names, None where there is none or the name leads out of its folder.

    The folder is ComfyUI's input folder, or the one of a name that ends in " [output]" or " [temp]". Links count by
    where they lead.
    """
    import folder_paths

    name, folder = folder_paths.annotated_filepath(name)
    root = Path(folder or folder_paths.get_input_directory()).resolve()
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, links in a circle, a null character
        return None


def temp_file(suffix: str) -> Path:
    """Return a new name in ComfyUI's temp folder."""
    import folder_paths

    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"liveportrait_{uuid.uuid4().hex}{suffix}"


def system_folder() -> Path:
    """Return the pack's folder that ComfyUI never serves over HTTP: keys, and the journal of paid jobs."""
    import folder_paths

    return Path(folder_paths.get_system_user_directory("liveportrait_v2v"))


def model_folders() -> list[Path]:
    """Return the folders of the LivePortrait weights: ComfyUI's own first, then those of extra_model_paths.yaml."""
    import folder_paths

    own = Path(folder_paths.models_dir) / "liveportrait"
    folder_paths.add_model_folder_path("liveportrait", str(own))
    named = map(Path, folder_paths.get_folder_paths("liveportrait"))
    return list(dict.fromkeys([own, *named]))


def add_route(method: str, path: str, handle: Callable[[web.Request], Awaitable[web.Response]]) -> None:
    """Register a route, "post" or "get"; no-op without a server."""
    from server import PromptServer

    if getattr(PromptServer, "instance", None) is not None:
        getattr(PromptServer.instance.routes, method)(path)(handle)


# Values of sockets


def video_value(path: Path):
    """Return a VIDEO of a file."""
    return InputImpl.VideoFromFile(str(path))


def audio_value(audio: AudioStream | None, seconds: Fraction) -> Any:
    """Return an AUDIO: float32 [1, C, T]; of no audio, silence of this length, as no node of ComfyUI's takes None.

    It is absent if it doesn't fit into the memory that is free.
    """
    import torch
    from comfy.model_management import get_free_memory

    if audio is None:
        return {"waveform": torch.zeros(1, 2, round(seconds * _SILENT_RATE)), "sample_rate": _SILENT_RATE}
    needed, free = 4 * audio.channels * audio.count, get_free_memory(torch.device("cpu"))
    if needed > free:
        return blocked(
            f"{audio.count / audio.rate:.0f} s of audio as AUDIO need {needed / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} GiB are free; take it from the video output, or shorten the clip"
        )
    return {"waveform": audio.read().samples.unsqueeze(0), "sample_rate": audio.rate}


def image_value(picture: Image.Image) -> torch.Tensor:
    """Return an IMAGE of one picture: float32 [1, H, W, 3]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(picture.convert("RGB"))).unsqueeze(0).float().div_(255)


def is_linked(node: type[io.ComfyNode], slot: int) -> bool | None:
    """Return whether another node of the graph takes this output of a node.

    Returns:
        None where that is unknown: a node that another one put into the graph is in no prompt.
    """
    own = node.hidden.unique_id
    prompts = [node.hidden.prompt] if node.hidden.prompt else _running_prompts()
    around = next((prompt for prompt in prompts if own in prompt), None)
    if around is None:
        return None
    inputs = (value for other in around.values() for value in other["inputs"].values())
    return any(value == [own, slot] for value in inputs)


def _running_prompts() -> list[dict[str, Any]]:
    """Return the prompts that ComfyUI is working on: nodes don't get theirs before they run."""
    from server import PromptServer

    queue = getattr(PromptServer.instance, "prompt_queue", None)
    return [] if queue is None else [item[2] for item in list(queue.currently_running.values())]


def reported(text: str, shown: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the UI output of a node: its report, which web/js/report.js keeps on the node, and what else it shows."""
    return {**(shown or {}), "lpv2v_report": [text]}


def blocked(message: str):
    """Return an output that is absent: nodes linked to it end with this message."""
    from comfy_execution.graph import ExecutionBlocker

    return ExecutionBlocker(message)


def clips(
    *values: Any,
    at_url: Callable[[str], Clip] | None = None,
    audio: dict[str, Any] | None = None,
    rate: float | Fraction = 0,
) -> list[Clip]:
    """Return the clips behind VIDEO and IMAGE values, or URLs.

    One image is a still. A batch of several is a clip; as an IMAGE has no frame rate, it takes that of the first
    value that has one, or 25. The same value gives the same clip.

    Args:
        audio, rate: AUDIO and frames per second of the first value, if that is a batch of images; 0 = unknown.

    Raises:
        MediaError: a video can't be read.
        SettingsError: there is audio for a first value that isn't a batch.
    """
    if audio is not None and not (_is_image(values[0]) and len(values[0]) > 1):
        got = "one picture, whose result has the driving clip's" if _is_image(values[0]) else "a video"
        raise SettingsError(
            f"source_audio is the sound of a batch of images, and its clip is {got}: unlink it"
        )
    distinct = {id(value): value for value in values}
    made = {key: _clip(value, at_url) for key, value in distinct.items() if not _is_image(value)}
    rates = [clip.info.rate for clip in made.values() if clip.info.rate]
    if rate:
        # Through its decimal text, so that 29.97 is exactly 2997/100.
        rates.insert(0, Fraction(str(rate)))
    usual = rates[0] if rates else Fraction(25)
    for key, value in distinct.items():
        if key not in made:
            made[key] = _clip_of_images(value, usual, audio if key == id(values[0]) else None)
    return [made[id(value)] for value in values]


def _clip(value: Any, at_url: Callable[[str], Clip] | None) -> Clip:
    """Return the clip behind a VIDEO or a URL."""
    if isinstance(value, str) and at_url is not None:
        return at_url(value)
    return _clip_of_video(value)


def _is_image(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def is_rgba(value: Any) -> bool:
    """Return whether a value is an IMAGE with alpha."""
    return _is_image(value) and value.shape[-1] == 4


def _clip_of_images(images: torch.Tensor, rate: Fraction, audio: dict[str, Any] | None) -> Clip:
    from ..liveportrait_v2v.media import Clip, Frames

    return Clip(Frames(images, rate if len(images) > 1 else None, *_audio_of(audio)))


def _clip_of_video(video: Any) -> Clip:
    """Return the clip behind a VIDEO: its file, read inside the trim window, or the frames it was made of.

    Edits that core has only noted, such as a crop, are written to a file first, and so are images in HDR.
    """
    from ..liveportrait_v2v.media import Clip

    if isinstance(video, InputImpl.VideoFromComponents):
        hdr = hasattr(video, "get_color_space") and video.get_color_space().startswith("HDR")
        # Its stream source would be an encoding of these, with a loss.
        return _clip_as_written(video) if hdr else _clip_of_components(video)
    if _has_edits(video):
        return _clip_as_written(video)
    start, duration = _trim_window(video)
    return Clip(video.get_stream_source(), start=start, duration=duration or None)


def _clip_of_components(video: Any) -> Clip:
    import torch

    from ..liveportrait_v2v.media import Clip, Frames

    parts = video.get_components()
    images, alpha = parts.images, getattr(parts, "alpha", None)
    if alpha is not None:
        images = torch.cat((images, alpha.reshape(*images.shape[:3], 1)), 3)
    return Clip(Frames(images, Fraction(parts.frame_rate), *_audio_of(parts.audio)))


def _has_edits(video: Any) -> bool:
    """Return whether a VIDEO shows other frames than its stream source has: core has cropped or resized it."""
    if hasattr(video, "has_pending_frame_edits"):
        return video.has_pending_frame_edits()
    if not (hasattr(video, "as_cropped") and isinstance(video, InputImpl.VideoFromFile)):
        return False
    # Cores 0.35 and later keep a crop to themselves; it is always smaller than the stream.
    import av

    with av.open(video.get_stream_source()) as container:
        stream = container.streams.video[0]
        return video.get_dimensions() != (stream.width, stream.height)


_written: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()


def _clip_as_written(video: Any) -> Clip:
    """Return the clip of a VIDEO as core writes it, with all its edits and trimmed; the same file each time.

    Raises:
        SettingsError: it has alpha, which core doesn't write, and doesn't fit into the memory that is free.
    """
    from ..liveportrait_v2v.media import Clip

    if isinstance(video, InputImpl.VideoFromFile):
        whole = Clip(video.get_stream_source())
        if whole.info.has_alpha:
            width, height = video.get_dimensions()
            # Twice four channels, as core stacks the frames that it has gathered.
            _check_memory(whole.output_count(), height, width, 8, "crop a shorter file, or one without alpha")
            return _clip_of_components(video)
    path = _written.get(video)
    if path is None or not path.exists():
        path = temp_file(".mp4")
        video.save_to(str(path), crf=NEAR_LOSSLESS)
        _written[video] = path
    return Clip(path)


def _audio_of(value: Any) -> tuple[Audio | None, tuple[str, ...]]:
    """Return the samples of an AUDIO, the first of its batch, or None, and notes as in `ClipInfo.audio_notes`."""
    from ..liveportrait_v2v.media import Audio

    if value is None:
        return None, ()
    try:
        return Audio(value["waveform"][0].float(), int(value["sample_rate"])), ()
    except Exception as error:  # other nodes' values may decode a file only when they are read
        return None, (f"has audio that can't be read ({error}); it is left out",)


def _trim_window(video: Any) -> tuple[float, float]:
    """Return start and duration in seconds; a duration of 0 means to the end."""
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    # Cores before 0.23 keep it to themselves.
    start = getattr(video, "_VideoFromFile__start_time", 0.0)
    duration = getattr(video, "_VideoFromFile__duration", 0.0)
    if start < 0:
        start = max(0.0, video._get_raw_duration() + start)
    return start, duration


# Models


class Model:
    """A LPV2V_MODEL: networks that ComfyUI's model management moves to the GPU and back."""

    def __init__(
        self,
        folders: Sequence[str | Path],
        precision: str,
        compile: bool,  # noqa: A002
        model: str,
    ):
        """Load the networks.

        Args:
            folders: where to look for the weights.
            model: "humans" or "animals".

        Raises:
            WeightsError: they are missing, damaged or not those of the networks.
        """
        from comfy import model_management
        from comfy.model_patcher import ModelPatcher

        from ..liveportrait_v2v.engines.liveportrait.landmarks203 import Landmarks203
        from ..liveportrait_v2v.engines.liveportrait.networks import Forms, resolve_precision
        from ..liveportrait_v2v.engines.liveportrait.weights import load_networks

        device, rest = model_management.get_torch_device(), model_management.unet_offload_device()
        precision = resolve_precision(precision, device)
        forms = Forms.usual(device, precision, compile)
        self._networks = load_networks(folders, rest, precision, compile, forms, model)
        self._precision, self._animals = precision, model == "animals"
        self._landmarks = Landmarks203.find(folders)
        self._patcher = ModelPatcher(self._networks.module, load_device=device, offload_device=rest)

    def describe(self) -> str:
        """Return precision and device in words."""
        return f"ready: {'animals, ' * self._animals}{self._precision} on {self._patcher.load_device}"

    def engine(self) -> LivePortraitEngine:
        """Return the engine, with the networks on the device that computes."""
        from comfy.model_management import load_models_gpu

        from ..liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine

        load_models_gpu([self._patcher], memory_required=_RUN_BYTES, force_full_load=True)
        device = self._patcher.load_device
        if self._networks.device.type != device.type:
            # With --novram ComfyUI leaves modules where they are that don't cast weights layer by layer.
            _log.warning(
                "LivePortrait's networks don't compute in parts: moving them to %s as a whole", device
            )
            self._networks.to(device)
        return LivePortraitEngine(self._networks, self._landmarks, animals=self._animals)

    def release(self) -> None:
        """Let go of what a run keeps on the GPU beside the weights, which ComfyUI knows nothing of."""
        self._networks.release()


# Runs


def interrupted() -> bool:
    """Return whether the user asked for the run to end."""
    from comfy.model_management import processing_interrupted

    return processing_interrupted()


@contextmanager
def run(node: type[io.ComfyNode]) -> Iterator[Report]:
    """Context manager in which a node computes: outside of inference mode, with errors in ComfyUI's words.

    Inference mode holds for one thread: what is made inside of it can't be written to by the library's others.
    The node's last line is left as it ended: an error, an interrupt and what continues after it, such as a paid job.

    Raises:
        NodeError: in place of the library's errors.
        InterruptProcessingException: in place of Cancelled.
    """
    import torch
    from comfy.model_management import InterruptProcessingException, interrupt_current_processing

    report = Report(node.hidden.unique_id)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield report
    except Cancelled as error:
        report.ended(error.goes_on or "stopped", error=False)
        if error.goes_on:
            _log.warning("LivePortrait: %s", error.goes_on)
        interrupt_current_processing(False)
        raise InterruptProcessingException() from error
    except LivePortraitError as error:
        shown = node_error(error, _own_folders())
        report.ended(str(shown))
        raise shown from error
    except Exception as error:
        report.ended(f"failed: {error}")
        raise


def message(error: LivePortraitError) -> str:
    """Return a library's error in ComfyUI's words."""
    return str(node_error(error, _own_folders()))


def _own_folders() -> list[Path]:
    """Return ComfyUI's folders, to be left out of messages."""
    import folder_paths

    inside = [folder_paths.get_input_directory(), folder_paths.get_temp_directory()]
    return [Path(folder) for folder in (*inside, folder_paths.base_path)]


@cache
def tracks() -> TrackMemory:
    """Return the tracks of faces that runs leave for the next ones: 64 MB at most."""
    from ..liveportrait_v2v.tracking import TrackMemory

    return TrackMemory()


def log(text: str) -> None:
    """Write a line into ComfyUI's log."""
    _log.info("LivePortrait: %s", text)


def empty_images(count: int, height: int, width: int, remedy: str, channels: int = 3) -> torch.Tensor:
    """Allocate an IMAGE batch, float32 [count, height, width, channels].

    Raises:
        SettingsError: it would not fit into the memory that is free; the message ends with the remedy.
    """
    import torch

    _check_memory(count, height, width, channels, remedy)
    return torch.empty((count, height, width, channels))


def _check_memory(count: int, height: int, width: int, channels: int, remedy: str) -> None:
    """Check that so many frames fit into the memory that is free.

    Raises:
        SettingsError: they don't; the message ends with the remedy.
    """
    import torch
    from comfy.model_management import get_free_memory

    needed, free = 4 * math.prod((count, height, width, channels)), get_free_memory(torch.device("cpu"))
    if needed > free:
        raise SettingsError(
            f"{count} frames of {width}x{height} as IMAGE need {needed / 2**30:.1f} GiB of memory, and "
            f"{free / 2**30:.1f} GiB are free; {remedy}"
        )


class Report:
    """What a node shows while it runs: a bar, a line of text and now and then a picture."""

    def __init__(self, node_id: str):
        from comfy.utils import ProgressBar

        self._bar = ProgressBar(1, node_id=node_id)
        self._node_id = node_id
        self._next_preview = self._next_text = 0.0
        self._last: torch.Tensor | None = None

    def see(self, frames: torch.Tensor) -> None:
        """Keep the last of some frames uint8 [N, H, W, C] for the next preview, which shows no alpha."""
        self._last = frames[-1, ..., :3]

    def progress(self, progress: Progress) -> None:
        """Show the progress of a run."""
        parts = [f"{progress.frames}/{progress.total}" if progress.frames else progress.stage]
        if progress.fps:
            left = (progress.total - progress.frames) / progress.fps
            parts += [f"{progress.fps:.3g} fps", f"{left:.0f} s left"]
        if progress.without_face:
            parts.append(f"{progress.without_face} without a face")
        self.count(progress.frames, progress.total, ", ".join(parts))

    def count(self, done: int, total: int, text: str) -> None:
        """Move the bar, and now and then show the text and the last picture."""
        now = time.monotonic()
        picture = None
        if self._last is not None and now >= self._next_preview:
            picture, self._next_preview = self._picture(self._last), now + _PREVIEW_SECONDS
        self._bar.update_absolute(done, total, picture)
        if now >= self._next_text:
            self._next_text = now + _TEXT_SECONDS
            self.text(text)

    def looking(self, side: str) -> None:
        """Show that a clip is looked at for its faces, "source" or "driving"."""
        self.count(0, 1, f"looking for the face in the {side} clip")

    def text(self, text: str) -> None:
        """Show a line on the node at once."""
        from server import PromptServer

        from ..liveportrait_v2v.text import one_line

        if PromptServer.instance is not None:
            PromptServer.instance.send_progress_text(one_line(text), self._node_id)

    def ended(self, text: str, error: bool = True) -> None:
        """Show why there is no result; web/js/report.js keeps it on the node."""
        from server import PromptServer

        self.text(text)
        if PromptServer.instance is not None:
            shown = {"node": self._node_id, "text": text, "error": error}
            PromptServer.instance.send_sync("lpv2v.report", shown)

    def _picture(self, frame: torch.Tensor) -> tuple[str, Any, int]:
        from PIL import Image

        return "JPEG", Image.fromarray(frame.cpu().numpy()), _PREVIEW_SIDE
