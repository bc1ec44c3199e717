"""Each exact saving gives what the plain form gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveportrait_v2v.engines.liveportrait.networks import convolution
from liveportrait_v2v.engines.liveportrait.networks.appearance import ResBlock3d
from liveportrait_v2v.engines.liveportrait.networks.dense_motion import UpBlock, heatmaps, shifted_volumes
from liveportrait_v2v.engines.liveportrait.networks.generator import SharedConv, SpadeBlock, SpectralConv
from liveportrait_v2v.engines.liveportrait.networks.layers import Conv, ConvNorm, fold


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomize(module: nn.Module) -> nn.Module:
    """Noise in every parameter and statistic; variances are positive."""
    for seed, (name, tensor) in enumerate(module.state_dict().items()):
        if tensor.is_floating_point():
            values = noise(*tensor.shape, seed=seed)
            tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return module.eval()


def close(ours: Tensor, expected: Tensor) -> bool:
    assert ours.shape == expected.shape
    return bool((ours - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (3, 3, 3)])
def test_a_batch_norm_folds_into_the_convolution_before_it(kernel):
    layer = randomize(ConvNorm(4, 6, *kernel))
    x = noise(2, 4, *(8 for _ in kernel))
    convolve = F.conv2d if len(kernel) == 2 else F.conv3d
    y = convolve(x, layer.conv.weight, layer.conv.bias, padding=kernel[0] // 2)
    norm = layer.norm
    expected = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert close(fold(layer)(x), expected)


def test_a_norm_ahead_of_a_residual_block_becomes_scale_and_shift():
    block = randomize(ResBlock3d(4))
    x = noise(1, 4, 5, 6, 7)
    y = block.conv1(F.relu(block.norm1(x)))
    expected = x + block.conv2(F.relu(block.norm2(y)))
    assert close(fold(block)(x, torch.float32), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_spectral_norm_folds_away(bias):
    layer = randomize(SpectralConv(4, 6, 3, bias=bias))
    plain = nn.utils.spectral_norm(nn.Conv2d(4, 6, 3, padding=1, bias=bias))
    plain.load_state_dict(layer.state_dict())
    x = noise(2, 4, 8, 8)
    assert close(fold(layer)(x), plain.eval()(x))


@pytest.mark.parametrize("convs", [1, 2])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_convolution_of_an_enlarged_map_needs_no_enlarged_map(scale, convs):
    layers = [randomize(Conv(5, 6, 3, 3)) for _ in range(convs)]
    x = noise(2, 5, 7, 8)
    large = F.interpolate(x, scale_factor=float(scale), mode="nearest")
    expected = torch.cat([F.relu(F.conv2d(large, c.weight, c.bias, padding=1)) for c in layers], 1)
    assert close(SharedConv(layers, scale)(x), expected)


def test_an_up_block_needs_no_enlarged_volume():
    block = randomize(UpBlock(5, 6))
    x = noise(2, 5, 4, 6, 7)
    large = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
    expected = F.relu(block.norm(F.conv3d(large, block.conv.weight, block.conv.bias, padding=1)))
    assert close(fold(block)(x), expected)


@pytest.mark.parametrize("strip", [1, 10_000, 10_000_000])
def test_a_3x3_convolution_by_winograds_filters_is_the_plain_one(monkeypatch, strip):
    monkeypatch.setattr(convolution, "STRIP", strip)
    x, weight, bias = noise(2, 5, 24, 16), noise(7, 5, 3, 3, seed=1), noise(7, seed=2)
    assert close(convolution.convolve_by_winograd(x, weight, bias), F.conv2d(x, weight, bias, padding=1))
    x, weight = noise(2, 5, 3, 24, 16), noise(7, 5, 3, 3, 3, seed=1)
    assert close(convolution.convolve_by_winograd(x, weight, bias), F.conv3d(x, weight, bias, padding=1))


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        ((1, 128, 64, 64), (128, 128, 3, 3)),
        ((1, 128, 64, 66), (128, 128, 3, 3)),
        ((1, 128, 8, 8), (128, 128, 3, 3)),
        ((1, 48, 16, 16, 16), (48, 48, 3, 3, 3)),
        ((2, 20, 8, 6), (1, 20, 7, 5)),
        ((1, 2, 3, 16, 16), (2, 2, 7, 7, 7)),
        ((1, 2, 3, 16, 8), (2, 2, 7, 7, 7)),
    ],
)
def test_whatever_the_arithmetic_a_convolution_is_a_convolution(x, weight):
    x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
    plain = F.conv2d if x.dim() == 4 else F.conv3d
    assert close(
        convolution.convolve(x, weight, bias),
        plain(x, weight, bias, padding=[size // 2 for size in weight.shape[2:]]),
    )


@pytest.mark.parametrize(("count", "kernel"), [(1, (7, 7, 7)), (2, (5, 7, 9))])
def test_a_large_convolution_is_a_product_of_fourier_transforms(count, kernel):
    x, weight, bias = noise(count, 5, 6, 32, 16), noise(4, 5, *kernel, seed=1), noise(4, seed=2)
    expected = F.conv3d(x, weight, bias, padding=[size // 2 for size in kernel])
    assert close(convolution.convolve_by_fourier(x, weight, bias), expected)


@pytest.mark.parametrize(("cin", "cout", "scale"), [(12, 12, 1), (12, 6, 2), (6, 4, 4)])
def test_a_spade_block_is_the_references(cin, cout, scale):
    room = pytest.importorskip("mimic_head.modules.util")
    plain = room.SPADEResnetBlock(cin, cout, "spadespectralinstance", 8)
    block = SpadeBlock(cin, cout, 8, scale)
    block.load_state_dict(randomize(plain).state_dict())
    size = 6 if scale < 4 else 12
    x, features = noise(2, cin, size, size), noise(2, 8, 6, 6, seed=1)
    enlarged = x if scale == 1 else F.interpolate(x, scale_factor=2.0, mode="nearest")
    assert close(fold(block)(x, features), plain.eval()(enlarged, features))


def read_plainly(volume: Tensor, shift: Tensor) -> Tensor:
    """A volume under one shift, by 5-D sampling of a shifted grid."""
    depth, height, width = volume.shape[2:]
    steps = (torch.linspace(-1, 1, size) for size in (depth, height, width))
    z, y, x = torch.meshgrid(*steps, indexing="ij")
    grid = torch.stack((x, y, z), -1) + shift
    return F.grid_sample(volume, grid[None], align_corners=False)[0]


@pytest.mark.parametrize("volumes", [1, 2])
def test_shifted_volumes_are_what_sampling_reads(volumes):
    volume = noise(volumes, 3, 4, 6, 8)
    shift = 0.5 * noise(2, 5, 3, seed=1)
    shift[0, 0] = 0
    shift[1, 4] = 3.0  # beyond the edge: nothing
    shifted = shifted_volumes(volume, shift)
    for n in range(2):
        for k in range(5):
            expected = read_plainly(volume[n : n + 1] if volumes == 2 else volume, shift[n, k])
            assert torch.allclose(shifted[n, k], expected, atol=1e-5)
    assert not shifted[1, 4].any()


def test_heatmaps_are_gaussians_around_keypoints():
    keypoints = 0.7 * noise(2, 5, 3)
    steps = (torch.linspace(-1, 1, size) for size in (4, 6, 8))
    z, y, x = torch.meshgrid(*steps, indexing="ij")
    grid = torch.stack((x, y, z), -1)
    distance = ((grid - keypoints[:, :, None, None, None]) ** 2).sum(-1)
    assert torch.allclose(heatmaps(keypoints, (4, 6, 8)), torch.exp(-0.5 * distance / 0.01), atol=1e-6)
