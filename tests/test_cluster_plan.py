"""The simulation of large clusters, where a textbook has the answer."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.cluster_plan import Plan, simulate

QUICK_DATABASE = {"job_ms": 1e-6, "submit_ms": 1e-6, "beat_ms": 0, "look_ms": 0, "ask_ms": 0}


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_jobs_of_one_length_wait_for_one_gpu_as_in_an_m_d_1_queue(load):
    plan = Plan(spread=0, **QUICK_DATABASE)
    waits = simulate(plan, 1, load, 200_000)
    assert statistics.mean(waits) == pytest.approx(load / (2 * (1 - load)) * plan.mean_seconds(), rel=0.05)


def test_many_gpus_at_the_same_load_let_jobs_wait_less():
    means = [statistics.mean(simulate(Plan(**QUICK_DATABASE), gpus, 0.8, 50_000)) for gpus in (1, 4, 16)]
    assert means[0] > 2 * means[1] > 4 * means[2]


def test_a_database_that_is_asked_too_much_cannot_keep_up():
    assert simulate(Plan(submit_ms=10), 1000, 0.5, 1000) is None
    assert simulate(Plan(beat_ms=1000), 100, 0.5, 1000) is None
    assert simulate(Plan(), 100, 0.5, 1000) is not None
