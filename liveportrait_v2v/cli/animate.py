"""The command `animate`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..progress import ProgressLine
from .common import add_options, check_device, check_output, parameter_help, parse_settings
from .stop import Stop

if TYPE_CHECKING:
    from ..animate import Result


def add(commands) -> None:
    parser = commands.add_parser(
        "animate",
        help="animate a clip or picture by a driving clip",
        description="Animates the face in SOURCE (a clip or a picture) by the face in DRIVING.",
        epilog=parameter_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="clip or picture with the face to animate")
    parser.add_argument("driving", metavar="DRIVING", help="clip with the motion")
    parser.add_argument(
        "-o", "--output", metavar="OUT.mp4", required=True, help="the result; an existing file is replaced"
    )
    parser.add_argument(
        "--engine", default="draft", help="what computes the frames: draft or liveportrait (default: draft)"
    )
    add_options(parser)
    networks = parser.add_argument_group("options of the liveportrait engine")
    weights = networks.add_mutually_exclusive_group()
    weights.add_argument(
        "--weights",
        metavar="DIR",
        help="folder with the published weights (default: where `liveportrait-v2v models` finds them)",
    )
    weights.add_argument(
        "--random-weights",
        metavar="SEED",
        type=int,
        help="random weights, for tests and timing: faces become noise",
    )
    networks.add_argument(
        "--precision",
        default="auto",
        help="fp16, bf16-convs, fp32 or auto, which is fp16 on CUDA and else fp32 (default: auto)",
    )
    networks.add_argument(
        "--compile",
        action="store_true",
        help="compile the networks at their first use; takes a minute or two",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, stop: Stop) -> None:
    settings, motion = parse_settings(options.set)
    output = check_output(options.output, options.source, options.driving)
    # torch takes seconds to load: what needs none is checked before.
    from ..animate import animate
    from ..engines import ENGINES, create_engine

    if options.engine not in ENGINES:
        raise SettingsError(f"--engine must be one of {', '.join(ENGINES)}, got {options.engine!r}")
    names = ("weights", "random_weights", "precision", "compile")
    networks = {name: getattr(options, name) for name in names}
    runs_networks = options.engine == "liveportrait"
    if not runs_networks and list(networks.values()) != [None, None, "auto", False]:
        raise SettingsError(
            f"--weights, --random-weights, --precision and --compile need --engine liveportrait, got {options.engine}"
        )
    engine = create_engine(options.engine, check_device(options.device, runs_networks), **networks)
    with ProgressLine() as line, _plain_warnings():
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
    print(describe(result))


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows a warning as one line, in the place of the progress line where there is one."""

    def show(message: Warning | str, *_: object) -> None:
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{start}liveportrait-v2v: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def describe(result: Result) -> str:
    sound = f"sound of the {result.audio} clip" if result.audio else "no sound"
    stages = [f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items() if name != "total"]
    return (
        f"{result.output}: {result.frames} frames, {result.size[0]}x{result.size[1]}, "
        f"{float(result.rate):.5g} fps, {float(result.duration):.2f} s, {sound}\n"
        f"without a face: {result.frames_without_source_face} source frames, "
        f"{result.frames_without_driving_face} driving frames; there the source is shown as it is\n"
        f"took {result.seconds['total']:.1f} s ({', '.join(stages)}; stages overlap)"
    )
