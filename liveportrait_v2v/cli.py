"""The command `liveportrait-v2v`: animate, faces, demo.

Exit codes: 0 done; 2 bad input, with one line on stderr that says what to do; 130 interrupted by Ctrl-C, 143
ended by SIGTERM. After any of the latter three no half-written file is left: files are written beside their
place and moved into it when they are whole, over what was there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from . import __version__
from .errors import Cancelled, LivePortraitError, MediaError, SettingsError
from .progress import ProgressLine
from .settings import AnimationSettings, MotionOptions

if TYPE_CHECKING:
    from .animate import Result

ERROR = 2


class Stop:
    """Whether SIGINT or SIGTERM has come. The first ends a run between two chunks, a second at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> Stop:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._notice) for number in signals}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return self.signal is not None

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"liveportrait-v2v: {message}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command line and gives its exit code."""
    options = _parser().parse_args(arguments)
    with Stop() as stop:
        try:
            options.run(options, stop)
            sys.stdout.flush()
            return 0
        except (Cancelled, KeyboardInterrupt):
            print("liveportrait-v2v: stopped; no unfinished file is left", file=sys.stderr)
            return 128 + (stop.signal or signal.SIGINT)
        except LivePortraitError as error:
            print(f"liveportrait-v2v: {_one_line(error)}", file=sys.stderr)
        except BrokenPipeError:
            # The reader has gone: keep Python from complaining again when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print("liveportrait-v2v: nobody reads the output any more", file=sys.stderr)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            print(f"liveportrait-v2v: {where}{error.strerror or error}", file=sys.stderr)
        return ERROR


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="liveportrait-v2v",
        description="A source clip's face takes over the motion of a driving clip's.",
        epilog="Exit codes: 0 done, 2 bad input, 130 interrupted, 143 terminated; only 0 leaves a new file.",
    )
    parser.add_argument("--version", action="version", version=f"liveportrait-v2v {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    animate = commands.add_parser(
        "animate",
        help="animate a clip or picture by a driving clip",
        description="Animates the face in SOURCE (a clip or a picture) by the face in DRIVING.",
        epilog=_parameters(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    animate.add_argument("source", metavar="SOURCE", help="clip or picture with the face to animate")
    animate.add_argument("driving", metavar="DRIVING", help="clip with the motion")
    animate.add_argument(
        "-o", "--output", metavar="OUT.mp4", required=True, help="the result; an existing file is replaced"
    )
    animate.add_argument("--engine", default="draft", help="what computes the frames (default: draft)")
    _common(animate)
    animate.set_defaults(run=_animate)

    faces = commands.add_parser(
        "faces",
        help="find and number the faces of a clip",
        description="Finds and numbers the faces of SOURCE and draws a contact sheet: each face with its "
        "number, and the crop square that the settings give it.",
    )
    faces.add_argument("source", metavar="SOURCE", help="clip or picture")
    faces.add_argument(
        "-o",
        "--output",
        metavar="SHEET.png",
        help="the sheet; an existing file is replaced (default: SOURCE's name + _faces.png, in this folder)",
    )
    _common(faces)
    faces.set_defaults(run=_faces)

    demo = commands.add_parser(
        "demo",
        help="animate demo/source.mp4 by demo/driving.mp4",
        description="Animates source.mp4 by driving.mp4 in the folder DIR with the draft engine, and shows "
        "driving, source and result side by side.",
    )
    demo.add_argument("--dir", default="demo", metavar="DIR", help="where the clips lie (default: demo)")
    demo.set_defaults(run=_demo)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; may come several times"
    )
    parser.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, … (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")


def _parameters() -> str:
    lines = ["parameters for --set, with their defaults:"]
    for kind in (AnimationSettings, MotionOptions):
        defaults = kind().to_dict()
        for name, rule in kind.rules().items():
            default = str(defaults[name]).lower() if rule.type is bool else defaults[name]
            lines.append(f"  {name}={default}\n      {rule.help} {rule.text()[0].upper()}{rule.text()[1:]}.")
    return "\n".join(lines)


def parse_settings(words: list[str]) -> tuple[AnimationSettings, MotionOptions]:
    """The settings that `name=value` words give; a name that comes twice has its last value.

    Raises:
        SettingsError: a word without `=`, an unknown name, or a value outside its parameter's rule.
    """
    kinds = (AnimationSettings, MotionOptions)
    values: dict[type, dict[str, object]] = {kind: {} for kind in kinds}
    for word in words:
        name, equals, text = word.partition("=")
        kind = next((kind for kind in kinds if name in kind.rules()), None)
        if not equals:
            raise SettingsError(f"--set takes name=value, got {word!r}")
        if kind is None:
            known = ", ".join(name for kind in kinds for name in kind.rules())
            raise SettingsError(f"unknown parameter {name!r}; known are {known}")
        values[kind][name] = kind.rules()[name].parse(name, text)
    return AnimationSettings(**values[AnimationSettings]), MotionOptions(**values[MotionOptions])


def _animate(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    output = _output(options.output, options.source, options.driving)
    # torch takes seconds to load: what needs none is checked before.
    from .animate import animate
    from .engines import ENGINES, create_engine

    if options.engine not in ENGINES:
        raise SettingsError(f"--engine must be one of {', '.join(ENGINES)}, got {options.engine!r}")
    engine = create_engine(options.engine, device=_device(options.device))
    with ProgressLine() as line:
        result = animate(
            options.source,
            options.driving,
            output=output,
            settings=settings,
            options=motion,
            engine=engine,
            on_progress=line.show,
            cancelled=stop,
        )
    if options.json:
        print(json.dumps(result.to_dict()))
        return
    print(_describe(result))


def _describe(result: Result) -> str:
    sound = f"sound of the {result.audio} clip" if result.audio else "no sound"
    stages = [f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items() if name != "total"]
    return (
        f"{result.output}: {result.frames} frames, {result.size[0]}x{result.size[1]}, "
        f"{float(result.rate):.5g} fps, {float(result.duration):.2f} s, {sound}\n"
        f"without a face: {result.frames_without_source_face} source frames, "
        f"{result.frames_without_driving_face} driving frames; there the source is shown as it is\n"
        f"took {result.seconds['total']:.1f} s ({', '.join(stages)}; stages overlap)"
    )


def _faces(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    name = options.output or f"{Path(options.source).stem}_faces.png"
    output = _sheet_output(name, options.source)
    from .media import Clip
    from .sheet import survey

    clip = Clip(options.source)
    total = clip.info.frame_count
    with ProgressLine() as line:
        found = survey(
            clip,
            settings,
            motion,
            device=_device(options.device),
            on_frames=lambda frames: line.show_count(frames, total, "looking for faces"),
            cancelled=stop,
        )
    _save_whole(found.sheet, output)
    if options.json:
        print(json.dumps({"source": options.source, "sheet": str(output), **found.to_dict()}))
        return
    for face in found.faces:
        left, top, right, bottom = (round(value) for value in face.box)
        print(
            f"face {face.number}: in {face.frames} of {found.frames} frames, "
            f"first at {float(face.first_seen):.2f} s: {right - left}x{bottom - top} pixels at {left}, {top}"
        )
    print(f"{found.frames_without_face} frames without a face\n{output}")


def _demo(options: argparse.Namespace, stop: Stop) -> None:
    folder = Path(options.dir)
    missing = [name for name in ("source.mp4", "driving.mp4") if not (folder / name).is_file()]
    if missing:
        raise MediaError(
            folder, f"{' and '.join(missing)} not found; run `make demo`, or put your own two clips there"
        )
    from .demo import SIDE_BY_SIDE, run_demo

    with ProgressLine() as line:
        result = run_demo(folder, on_progress=line.show, on_count=line.show_count, cancelled=stop)
    print(f"{_describe(result)}\n{folder / SIDE_BY_SIDE}: driving, source and result side by side")


def _device(name: str) -> str:
    import torch

    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise SettingsError(f"--device must be one of torch's, such as cpu or cuda, got {name!r}") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise SettingsError("--device cuda needs a GPU that torch can use, and it sees none; take cpu")
    return name


def _output(name: str, *inputs: str) -> Path:
    for source in inputs:
        if os.path.exists(name) and os.path.exists(source) and os.path.samefile(name, source):
            raise MediaError(name, "is an input too, which would be lost; choose another name for the output")
    return Path(name)


def _sheet_output(name: str, source: str) -> Path:
    path = _output(name, source)
    if path.suffix.lower() != ".png":
        raise MediaError(name, "a contact sheet must end in .png")
    if not path.parent.is_dir():
        raise MediaError(name, f"there is no directory {path.parent}; create it first")
    if path.is_dir():
        raise MediaError(name, "is a directory; give a file name")
    return path


def _save_whole(picture, path: Path) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        picture.save(part, "PNG")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
