"""Entry point of `python -m benchmarks.gpu`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from .options import CARRIED, Options

PARTS = ("check", "stages", "run", "profile")


def main(argv: list[str] | None = None) -> int:
    """Measure, or gather what is needed for it; return 1 where something is wrong, 0 otherwise."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["gather"]:
        return _gather(words[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all, or gather")
    parser.add_argument("--device", default="cuda", help="torch's name of the device (cuda)")
    parser.add_argument("--precision", default="fp16", help="fp16, bf16-convs or fp32 (fp16)")
    parser.add_argument("--batch", type=int, default=8, help="frames at a time (8)")
    parser.add_argument("--forms", help="form of the networks in runs (the winner of stages)")
    parser.add_argument(
        "--seconds-limit", type=float, default=360, help="begin nothing after these seconds (360)"
    )
    parser.add_argument(
        "--max-autotune", action="store_true", help="compile the reference as upstream: minutes"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU, without GPU-only figures")
    parser.add_argument("--carried", type=Path, default=CARRIED, help="folder that gather filled")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results")
    options = parser.parse_args(words)
    parts = options.parts or list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"a part is one of {', '.join(PARTS)}, got {', '.join(unknown)}")
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu --tiny runs everything small")
    return measure(
        Options(
            device=options.device,
            precision=options.precision,
            batch=options.batch,
            forms=options.forms,
            tiny=options.tiny,
            max_autotune=options.max_autotune,
            seconds_limit=options.seconds_limit,
            carried=options.carried,
        ),
        parts,
        options.out,
    )


def measure(options: Options, parts: list[str], out: Path) -> int:
    """Run parts in their order and leave their results in a folder; return 1 where anything failed, 0 otherwise."""
    from .machine import machine
    from .report import JSON_NAME, TABLE_NAME, Report
    from .table import summary

    report = Report(out, machine(options.device), options)
    for name in PARTS:
        if name in parts:
            report.run(name, _part(name))
    print(f"\n{summary(report.results)}\n\n{out / JSON_NAME}, {out / TABLE_NAME}")
    failed = any(
        part["error"] or any(row.get("ok") is False or row.get("error") for row in part["rows"])
        for part in report.results["parts"].values()
    )
    return int(failed)


def _part(name: str) -> Callable:
    """Return a part's function; an import that fails is the part's own failure."""

    def run(options, report):
        from importlib import import_module

        getattr(import_module(f".{name}", __package__), name)(options, report)

    return run


def _gather(words: list[str]) -> int:
    from .gather import gather

    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu gather")
    parser.add_argument("--to", type=Path, default=CARRIED, help="the folder to fill")
    gather(parser.parse_args(words).to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
