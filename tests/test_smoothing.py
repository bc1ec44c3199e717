"""The fixed-lag smoothers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kernels import Kernels

from liveportrait_v2v.smoothing import PROCESS_VARIANCE, ChunkSmoother, FixedLagSmoother, ForwardFilter


def smooth(values: torch.Tensor, variance: float, lag: int) -> torch.Tensor:
    smoother = FixedLagSmoother(variance, lag)
    done = [frame for value in values for frame in smoother.push(value)]
    return torch.stack(done + smoother.flush())


def matrix_smoother(values: np.ndarray, variance: float) -> np.ndarray:
    """Kalman filter and Rauch-Tung-Striebel smoother over all frames, with matrices, as in the textbook."""
    n, d = values.shape
    q, r, one = np.eye(d) * PROCESS_VARIANCE, np.eye(d) * variance, np.eye(d)
    mean, p = values[0], one
    means, ps, predicted = [], [], []
    for t in range(n):
        before = p if t == 0 else p + q
        gain = before @ np.linalg.inv(before + r)
        mean = mean + gain @ (values[t] - mean)
        p = (one - gain) @ before
        means.append(mean)
        ps.append(p)
        predicted.append(before)
    smoothed = [means[-1]]
    for t in range(n - 2, -1, -1):
        smoothed.append(means[t] + ps[t] @ np.linalg.inv(predicted[t + 1]) @ (smoothed[-1] - means[t]))
    return np.stack(smoothed[::-1])


@pytest.fixture
def walk() -> torch.Tensor:
    return torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).cumsum(0)


@pytest.mark.parametrize("variance", [3e-7, 3e-6, 1e-5])
def test_with_a_long_lag_it_is_the_matrix_smoother(walk, variance):
    wanted = torch.from_numpy(matrix_smoother(walk.numpy(), variance))
    torch.testing.assert_close(smooth(walk, variance, lag=60), wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("variance", [3e-7, 3e-6, 1e-5])
def test_a_lag_of_eight_frames_is_as_good_for_usual_variances(walk, variance):
    wanted = torch.from_numpy(matrix_smoother(walk.numpy(), variance))
    assert (smooth(walk, variance, lag=8) - wanted).abs().max() < 2e-3 * walk.std()


def test_every_frame_comes_out_once_and_in_order(walk):
    assert len(smooth(walk, 3e-6, lag=8)) == 40
    steady = torch.arange(40.0).unsqueeze(1)
    assert (smooth(steady, 3e-6, lag=8).diff(dim=0) > 0).all()


def test_no_more_than_the_lag_is_held_back(walk):
    smoother = FixedLagSmoother(3e-6, lag=4)
    assert [len(smoother.push(value)) for value in walk[:7]] == [0, 0, 0, 0, 1, 1, 1]


def test_constant_values_stay_constant(walk):
    torch.testing.assert_close(smooth(torch.full((20, 3), 7.0), 1e-5, lag=8), torch.full((20, 3), 7.0))


def test_jitter_shrinks(walk):
    noise = torch.randn(200, 3, generator=torch.Generator().manual_seed(2))
    assert smooth(noise, 1e-5, lag=8).std() < 0.6 * noise.std()


@pytest.mark.parametrize("variance", [3e-7, 3e-6, 1e-4])
def test_the_forward_filter_gives_what_the_smoother_gives_the_last_frame_so_far(walk, variance):
    forward = ForwardFilter(variance)
    for k, value in enumerate(walk):
        fresh = FixedLagSmoother(variance, lag=60)
        for before in walk[: k + 1]:
            fresh.push(before)
        torch.testing.assert_close(forward.push(value), fresh.flush()[-1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("variance", [3e-6, 1e-4])
def test_the_forward_filter_lags_a_steady_motion_by_as_many_frames_as_reported(variance):
    forward = ForwardFilter(variance)
    for frame in torch.arange(200.0, dtype=torch.float64):
        shown = forward.push(frame)
    assert float(frame - shown) == pytest.approx(forward.lag, abs=1e-3)


def test_a_forward_filter_without_variance_or_that_was_reset_gives_a_frame_as_it_is(walk):
    through, forward = ForwardFilter(0.0), ForwardFilter(1e-4)
    assert through.lag == 0
    assert all(torch.equal(through.push(value), value) for value in walk)
    forward.push(walk[0])
    forward.reset()
    assert torch.equal(forward.push(walk[1]), walk[1])


def test_zero_variance_passes_everything_at_once(walk):
    smoother = FixedLagSmoother(0.0)
    assert all(torch.equal(smoother.push(value)[0], value) for value in walk)
    assert smoother.flush() == []


def test_after_a_flush_it_starts_over(walk):
    smoother = FixedLagSmoother(3e-6, lag=4)
    first = [frame for value in walk[:10] for frame in smoother.push(value)] + smoother.flush()
    second = [frame for value in walk[:10] for frame in smoother.push(value)] + smoother.flush()
    assert torch.equal(torch.stack(first), torch.stack(second))


def smooth_chunks(values: torch.Tensor, variance: float, lag: int, cuts: list[int]) -> torch.Tensor:
    smoother = ChunkSmoother(variance, lag)
    done = [smoother.push(part) for part in values.split(cuts)]
    return torch.cat([*done, smoother.flush()])


@pytest.mark.parametrize("variance", [3e-7, 3e-6, 1e-4])
@pytest.mark.parametrize("cuts", [[40], [3, 8, 8, 1, 20], [1] * 40], ids=str)
def test_chunks_are_smoothed_as_frame_by_frame(walk, variance, cuts):
    wanted = smooth(walk, variance, lag=8)
    torch.testing.assert_close(smooth_chunks(walk, variance, 8, cuts), wanted, atol=1e-10, rtol=1e-10)
    single = smooth_chunks(walk.float(), variance, 8, cuts).double()
    torch.testing.assert_close(single, wanted, atol=1e-6, rtol=1e-5)


def test_of_chunks_no_more_than_the_lag_is_held_back(walk):
    smoother = ChunkSmoother(3e-6, lag=4)
    assert [len(smoother.push(part)) for part in walk.split([3, 3, 8, 26])] == [0, 2, 8, 26]
    assert len(smoother.flush()) == 4
    assert smoother.flush() is None


def test_after_a_flush_chunks_start_over(walk):
    smoother = ChunkSmoother(3e-6, lag=4)
    first = torch.cat((smoother.push(walk[:10]), smoother.flush()))
    second = torch.cat((smoother.push(walk[:10]), smoother.flush()))
    assert torch.equal(first, second)


def test_zero_variance_passes_chunks_at_once(walk):
    smoother = ChunkSmoother(0.0)
    assert torch.equal(smoother.push(walk), walk)
    assert smoother.flush() is None


def test_frames_of_any_shape_are_smoothed_number_by_number(walk):
    faces = torch.stack((walk, walk.flip(1)), dim=1)
    smoothed = smooth_chunks(faces, 3e-6, 8, [40])
    assert smoothed.shape == faces.shape
    torch.testing.assert_close(smoothed[:, 0], smooth_chunks(walk, 3e-6, 8, [40]), atol=1e-12, rtol=0)


def test_however_many_frames_come_one_product_smooths_them(walk):
    smoother = ChunkSmoother(3e-6, lag=8)
    smoother.push(walk[:20])
    with Kernels("cpu") as seen:
        smoother.push(walk[20:])
    assert sorted(seen.names) == ["aten.cat", "aten.mm"]
