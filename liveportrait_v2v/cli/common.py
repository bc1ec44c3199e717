"""Options and checks that several commands share: parameters, networks, device, output files."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, TypedDict, cast

from ..errors import MediaError, SettingsError
from ..settings import AnimationSettings, MotionOptions
from ..text import one_line, quoted

if TYPE_CHECKING:
    from ..engines.base import Engine

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Return value of `add_subparsers`, to which each command adds its parser."""


class NetworkOptions(TypedDict, total=False):
    """Keyword arguments of `create_engine` for the networks."""

    weights: str
    random_weights: int
    precision: str
    compile: bool
    model: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for parameters, device and output format."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter; may be given several times",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="torch device: cpu, cuda, mps or auto, which takes a GPU for the networks if there is one, and the CPU "
        "for everything else (default: auto)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the networks; those absent from the command line stay absent from the namespace."""
    networks = parser.add_argument_group(
        "options of the liveportrait engine", argument_default=argparse.SUPPRESS
    )
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
        help="use random weights, for tests and timing; faces become noise",
    )
    networks.add_argument(
        "--precision",
        help="fp16, bf16-convs, fp32 or auto, which is fp16 on CUDA and fp32 elsewhere (default: auto)",
    )
    networks.add_argument(
        "--compile",
        action="store_true",
        help="compile the networks on first use, which takes a minute or two; for GPUs",
    )

    networks.add_argument(
        "--model",
        choices=("humans", "animals"),
        help="networks for human faces, or those for animals, whose faces are given with --box (default: humans)",
    )


def network_options(options: argparse.Namespace) -> NetworkOptions:
    """Return the options of `add_network_options` that the command line gives."""
    given = {name: getattr(options, name) for name in NetworkOptions.__annotations__ if name in options}
    return cast(NetworkOptions, given)


def parameter_help() -> str:
    """Return the help text of all parameters: name, default, meaning and rule."""
    lines = ["parameters for --set, with their defaults:"]
    for kind in (AnimationSettings, MotionOptions):
        defaults = kind().to_dict()
        for name, rule in kind.rules().items():
            default = str(defaults[name]).lower() if rule.type is bool else defaults[name]
            lines.append(f"  {name}={default}\n      {rule.help} {rule.text()[0].upper()}{rule.text()[1:]}.")
    return "\n".join(lines)


def parse_settings(assignments: list[str]) -> tuple[AnimationSettings, MotionOptions]:
    """Parse `name=value` texts; the last value of a name counts.

    Raises:
        SettingsError: a text has no `=`, the name is unknown, or the value violates the parameter's rule.
    """
    kinds = (AnimationSettings, MotionOptions)
    values: dict[type, dict[str, object]] = {kind: {} for kind in kinds}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        kind = next((kind for kind in kinds if name in kind.rules()), None)
        if not equals:
            raise SettingsError(f"--set takes name=value, got {quoted(assignment)}")
        if kind is None:
            known = ", ".join(name for kind in kinds for name in kind.rules())
            raise SettingsError(f"unknown parameter {quoted(name)}; known are {known}")
        values[kind][name] = kind.rules()[name].parse(name, text)
    return (
        AnimationSettings.from_dict(values[AnimationSettings]),
        MotionOptions.from_dict(values[MotionOptions]),
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        MediaError: the file can't be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MediaError(path, f"can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise MediaError(path, f"is no JSON: {error}") from error


def check_device(name: str, for_networks: bool = False) -> str:
    """Return the torch device string for a value of `--device`.

    Args:
        name: a torch device string, or "auto".
        for_networks: "auto" is CUDA where it is available.

    Raises:
        SettingsError: torch has no such device on this machine.
    """
    import torch

    if name == "auto":
        return "cuda" if for_networks and torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise SettingsError(
            f"--device must be auto or a torch device such as cpu or cuda, got {name!r}"
        ) from None
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(kind):
        raise SettingsError(f"--device {kind} needs a GPU that torch can use, and it finds none; use cpu")
    return name


def make_local_engine(options: argparse.Namespace) -> Engine:
    """Create the engine that `--engine` names, the draft or the LivePortrait engine.

    Raises:
        SettingsError: options of the networks without them, or torch lacks the device.
        WeightsError: the networks' weights are missing, damaged or not those of the networks.
    """
    from ..engines import HostedEngine, create_engine

    networks = network_options(options)
    runs_networks = options.engine == "liveportrait"
    check_network_options(options)
    engine = create_engine(options.engine, check_device(options.device, runs_networks), **networks)
    assert not isinstance(engine, HostedEngine)
    return engine


def check_network_options(options: argparse.Namespace) -> None:
    """Check that options of the networks are given for them alone.

    Raises:
        SettingsError: another engine is to run.
    """
    given = [f"--{name.replace('_', '-')}" for name in network_options(options)]
    if given and options.engine != "liveportrait":
        verb = "needs" if len(given) == 1 else "need"
        raise SettingsError(f"{', '.join(given)} {verb} --engine liveportrait, got {options.engine}")


def check_output(name: str, *inputs: str) -> Path:
    """Return the output's path.

    Raises:
        MediaError: the output is the same file as one of the inputs.
    """
    for source in inputs:
        if os.path.exists(name) and os.path.exists(source) and os.path.samefile(name, source):
            raise MediaError(
                name, "is an input too and would be overwritten; choose another name for the output"
            )
    return Path(name)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning as one line on stderr, over the progress line on a terminal."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{start}liveportrait-v2v: {one_line(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
