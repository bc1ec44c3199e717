"""How long jobs would wait in clusters larger than any that was tried: a discrete simulation.

    python benchmarks/cluster_plan.py [--jobs N] [--frames N] [--database-cores N] ...

Jobs arrive at random (Poisson) and are taken in order of arrival by the first free GPU. Lengths of clips are
log-normal. Each claim passes the database, which has what heartbeats, progress, clients that ask and looks in vain
leave of its cores, and takes one submit at a time. What it leaves out: networks, stores, failures, and clients that
come in waves. What is measured and what is assumed is in docs/server.md.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from dataclasses import dataclass, fields

GPUS = (1, 10, 100, 300, 1_000, 10_000)
LOADS = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Plan:
    """Measured and assumed figures.

    Attributes:
        frame_seconds: of a GPU, from file to file.
        job_seconds: of a GPU for each job besides: fetching, starting, storing.
        frames, spread: median of the clips' lengths, and standard deviation of their logarithm.
        job_ms: CPU time of the database for a job: submit, claim, end, and what is asked about its files.
        submit_ms: time in which the database is busy with one submit alone, most of it the disk's.
        beat_ms, look_ms, ask_ms: the same of a heartbeat or progress, of a look in vain, of a question of a client.
        beat, look, ask: seconds between a worker's heartbeats, an idle worker's looks, a waiting client's questions.
        database_cores: cores of the database's machine.
        connections: of the database, for each GPU.
    """

    frame_seconds: float = 1 / 109
    job_seconds: float = 0.5
    frames: float = 250
    spread: float = 0.8
    job_ms: float = 4.0
    submit_ms: float = 2.0
    beat_ms: float = 0.3
    look_ms: float = 0.15
    ask_ms: float = 0.13
    beat: float = 10
    look: float = 5
    ask: float = 2
    database_cores: float = 8
    connections: float = 4

    def mean_seconds(self) -> float:
        """Return the mean seconds of a job on a GPU."""
        return self.job_seconds + self.frame_seconds * self.frames * math.exp(self.spread**2 / 2)

    def background(self, gpus: int, load: float) -> float:
        """Return the share of the database that does not go by the number of jobs, 1 is all of it."""
        beats = gpus * (1 + load) / self.beat  # those that compute note their progress, too
        looks = gpus * (1 - load) / self.look
        asks = gpus * load / self.ask
        used = beats * self.beat_ms + looks * self.look_ms + asks * self.ask_ms
        return used / 1000 / self.database_cores


def simulate(plan: Plan, gpus: int, load: float, jobs: int, seed: int = 1) -> list[float] | None:
    """Return how long each job waited, in seconds; None if the database could not keep up.

    The first tenth of the jobs, which finds an empty cluster, is left out.
    """
    arrivals_a_second = load * gpus / plan.mean_seconds()
    left = 1 - plan.background(gpus, load)
    jobs_a_second = 1000 * min(plan.database_cores * left / plan.job_ms, 1 / plan.submit_ms)
    if left <= 0 or arrivals_a_second >= jobs_a_second:
        return None
    dice = random.Random(seed)
    free = [0.0] * gpus
    now = database_free = 0.0
    waits = []
    for _ in range(jobs):
        now += dice.expovariate(arrivals_a_second)
        begin = max(now, heapq.heappop(free), database_free) + 1 / jobs_a_second
        database_free = begin
        length = dice.lognormvariate(math.log(plan.frames), plan.spread)
        heapq.heappush(free, begin + plan.job_seconds + length * plan.frame_seconds)
        waits.append(begin - now)
    return waits[jobs // 10 :]


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for field in fields(Plan):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=field.default, help="default: %(default)g")
    parser.add_argument("--jobs", type=int, default=200_000)
    options = vars(parser.parse_args())
    jobs = options.pop("jobs")
    plan = Plan(**options)
    print(f"a job takes {plan.mean_seconds():.1f} s of a GPU\n")
    print("| GPUs | load | jobs a second | of the database | connections | mean wait | 95 % wait less than |")
    print("|---|---|---|---|---|---|---|")
    for gpus in GPUS:
        for load in LOADS:
            arrivals = load * gpus / plan.mean_seconds()
            share = plan.background(gpus, load) + arrivals * plan.job_ms / 1000 / plan.database_cores
            waits = simulate(plan, gpus, load, max(jobs, 20 * gpus))
            row = (
                f"| {gpus:,} | {load:.0%} | {arrivals:,.2f} | {share:.1%} | {gpus * plan.connections:,.0f} |"
            )
            if waits is None:
                print(f"{row} it can't keep up | |")
            else:
                print(
                    f"{row} {statistics.mean(waits):.2f} s | {statistics.quantiles(waits, n=20)[-1]:.2f} s |"
                )


if __name__ == "__main__":
    main()
