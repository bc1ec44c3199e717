"""A job from clips to the finished clip, as it should go."""

from __future__ import annotations

from liveportrait_v2v.media import Clip


def test_a_run_uploads_orders_waits_and_saves(bench, server):
    ran = bench.run()
    assert ran.error is None, ran.error
    assert Clip(bench.output).info.frame_count == 6
    assert (server.billed, bench.job.state) == (1, "SAVED")
