"""Entry point of `python -m benchmarks.gpu`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from .machine import machine
from .options import CARRIED, Options
from .report import JSON_NAME, TABLE_NAME, Report, earlier_parts
from .table import summary

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
    parser.add_argument("--forms", help="form to measure and to run (what stages finds)")
    parser.add_argument(
        "--seconds-limit", type=float, default=360, help="begin nothing after these seconds (360)"
    )
    parser.add_argument(
        "--max-autotune", action="store_true", help="compile the reference as upstream: minutes"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU, without GPU-only figures")
    parser.add_argument("--carried", type=Path, default=CARRIED, help="folder that gather filled")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results")
    parser.add_argument("--add", action="store_true", help="keep the other parts' results in that folder")
    asked = parser.parse_args(words)
    unknown = [part for part in asked.parts if part not in PARTS]
    if unknown:
        parser.error(f"a part is one of {', '.join(PARTS)}, got {', '.join(unknown)}")
    if torch.device(asked.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu --tiny runs everything small")
    values = vars(asked)
    parts, out, add = (values.pop(name) for name in ("parts", "out", "add"))
    parts = [part for part in PARTS if part in parts or not parts]
    options = Options(**values)
    return measure(options, parts, out, add) if len(parts) == 1 else measure_apart(options, parts, out, add)


def measure(options: Options, parts: list[str], out: Path, add: bool = False) -> int:
    """Run parts in this process and leave their results in a folder.

    Args:
        add: keep the results of other parts that the folder has.

    Returns:
        1 where anything failed or is out of its bound, 0 otherwise.
    """
    report = Report(out, machine(options.device), options, earlier_parts(out) if add else None)
    for name in parts:
        report.run(name, _part(name))
    print(f"\n{summary(report.results)}\n\n{out / JSON_NAME}, {out / TABLE_NAME}", flush=True)
    found = [report.results["parts"][name] for name in parts]
    return int(
        any(
            part["error"] or any(row.get("ok") is False or row.get("error") for row in part["rows"])
            for part in found
        )
    )


def measure_apart(options: Options, parts: list[str], out: Path, add: bool = False) -> int:
    """Run each part in a process of its own; arguments and result are those of `measure`.

    An error that spoils the GPU for its process, or ends the process, then ends one part alone.
    """
    failed = 0
    for name in parts:
        words = ["--device", options.device, "--precision", options.precision, "--batch", str(options.batch)]
        words += ["--forms", options.forms] if options.forms else []
        words += ["--tiny"] * options.tiny + ["--max-autotune"] * options.max_autotune + ["--add"] * add
        words += ["--seconds-limit", f"{options.seconds_left():.0f}"]
        words += ["--carried", str(options.carried), "--out", str(out)]
        code = subprocess.run([sys.executable, "-m", __package__, name, *words]).returncode
        if code not in (0, 1):
            report = Report(out, machine(options.device), options, earlier_parts(out) if add else None)
            report.lost(name, f"its process ended with {code}")
        failed, add = max(failed, int(code != 0)), True
    return failed


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
