"""What several commands share: parameters, device, output files."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MediaError, SettingsError
from ..settings import AnimationSettings, MotionOptions

# Extensions of motion templates.
TEMPLATES = (".safetensors", ".pkl")
NETWORK_OPTIONS = ("weights", "random_weights", "precision", "compile")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter; may come several times"
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="where torch computes: cpu, cuda, mps or auto, which is the cpu but for networks that a GPU "
        "computes (default: auto)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, and nothing else")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    # Absent from the result where they are not given, so that create_engine has the defaults.
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
        help="random weights, for tests and timing: faces become noise",
    )
    networks.add_argument(
        "--precision",
        help="fp16, bf16-convs, fp32 or auto, which is fp16 on CUDA and else fp32 (default: auto)",
    )
    networks.add_argument(
        "--compile",
        action="store_true",
        help="compile the networks at their first use, for GPUs; takes a minute or two",
    )


def network_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options for the networks that were given, as arguments of `create_engine`."""
    return {name: getattr(options, name) for name in NETWORK_OPTIONS if hasattr(options, name)}


def parameter_help() -> str:
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
    kinds: tuple[type[AnimationSettings | MotionOptions], ...] = (AnimationSettings, MotionOptions)
    values: dict[type, dict[str, Any]] = {kind: {} for kind in kinds}
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


def check_device(name: str, for_networks: bool = False) -> str:
    """The torch device that a user means.

    Args:
        for_networks: "auto" is a GPU that torch can use, where there is one.

    Raises:
        SettingsError: torch has no such device here.
    """
    import torch

    if name == "auto":
        return "cuda" if for_networks and torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise SettingsError(
            f"--device must be auto or one of torch's, such as cpu or cuda, got {name!r}"
        ) from None
    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(kind):
        raise SettingsError(f"--device {kind} needs a GPU that torch can use, and it sees none; take cpu")
    return name


def check_output(name: str, *inputs: str) -> Path:
    for source in inputs:
        if os.path.exists(name) and os.path.exists(source) and os.path.samefile(name, source):
            raise MediaError(name, "is an input too, which would be lost; choose another name for the output")
    return Path(name)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows a warning as one line, in the place of the progress line where there is one."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{start}liveportrait-v2v: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
