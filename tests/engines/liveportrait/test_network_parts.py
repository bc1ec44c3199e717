"""Each exact saving gives what the plain form gives."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveportrait_v2v.engines.liveportrait.networks import convolution, generator
from liveportrait_v2v.engines.liveportrait.networks.appearance import ResBlock3d
from liveportrait_v2v.engines.liveportrait.networks.convolution import (
    convolve,
    convolve_to_one,
    quicker_form,
)
from liveportrait_v2v.engines.liveportrait.networks.cpu import fourier, nnpack, scratch, winograd
from liveportrait_v2v.engines.liveportrait.networks.cpu.fourier import convolve_by_fourier
from liveportrait_v2v.engines.liveportrait.networks.cpu.nnpack import convolve_by_nnpack, nnpack_works
from liveportrait_v2v.engines.liveportrait.networks.cpu.products import (
    convolve_by_products,
    convolve_unfolded,
)
from liveportrait_v2v.engines.liveportrait.networks.cpu.winograd import convolve_by_winograd
from liveportrait_v2v.engines.liveportrait.networks.dense_motion import (
    HEAT_VARIANCE,
    UpBlock,
    heatmaps,
    shifted_volumes,
)
from liveportrait_v2v.engines.liveportrait.networks.enlarged import convolve_enlarged, enlarged_kernels
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


BOUND = 1e-5
# Largest rounding error of a sum of K products in float32, in units of eps * sqrt(K) of the largest value: what sums in
# any order stay below, and what tiles whose transforms cancel out again leave (Winograd's F(4x4, 3x3), and NNPACK's
# F(6x6, 3x3)). The transforms set the factors, not the CPU: 0.4, 4.8 and 6.6 were seen with AVX-512.
PLAIN_UNITS, WINOGRAD_UNITS, NNPACK_UNITS = 2, 16, 32


def close(ours: Tensor, expected: Tensor, within: float = BOUND) -> bool:
    assert ours.shape == expected.shape
    return bool((ours - expected).abs().max() <= within * expected.abs().max())


def rounding(ours: Tensor, exact: Tensor) -> float:
    """Largest error of a float32 result against the same in float64, in shares of the largest exact value."""
    return ((ours - exact).abs().max() / exact.abs().max()).item()


def is_exact(form: Callable[..., Tensor] | None, ours: Tensor, exact: Tensor, terms: int) -> bool:
    """Whether a float32 result of sums of so many terms differs from a float64 one by the form's rounding alone."""
    assert ours.shape == exact.shape
    units = {convolve_by_winograd: WINOGRAD_UNITS, convolve_by_nnpack: NNPACK_UNITS}.get(form, PLAIN_UNITS)
    allowed = units * torch.finfo().eps * math.sqrt(terms) * exact.abs().max()
    return bool((ours - exact).abs().max() <= allowed)


def exactly(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution in float64."""
    return plain(x.double(), weight.double(), bias.double())


def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    convolution = F.conv2d if x.dim() == 4 else F.conv3d
    return convolution(x, weight, bias, padding=[size // 2 for size in weight.shape[2:]])


needs_nnpack = pytest.mark.skipif(not nnpack_works(), reason="torch has no NNPACK here")


@pytest.fixture(
    params=[pytest.param(True, marks=needs_nnpack, id="NNPACK"), pytest.param(False, id="products")]
)
def by_nnpack(request, monkeypatch) -> bool:
    """Whether NNPACK counts as quicker than forms made of products."""
    monkeypatch.setattr(
        convolution, "quickest", lambda _, forms, __: list(forms.values())[1 if request.param else 0]
    )
    return request.param


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (3, 3, 3)])
def test_a_batch_norm_folds_into_the_convolution_before_it(kernel):
    layer = randomize(ConvNorm(4, 6, *kernel))
    x = noise(2, 4, *(8 for _ in kernel))
    y = plain(x, layer.conv.weight, layer.conv.bias)
    norm = layer.norm
    expected = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert close(fold(layer)(x), F.relu(expected))


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
    found = SharedConv(layers, scale)(x)
    for ours, conv in zip(found, layers, strict=True):
        assert close(ours, F.relu(F.conv2d(large, conv.weight, conv.bias, padding=1)))


def test_heat_is_nowhere_subnormal():
    # Given keypoints that hardly move, whose tails nearly cancel out.
    keypoints = noise(2, 21, 3).clamp(-1, 1)
    # When heatmaps and their differences are made.
    before, after = heatmaps(keypoints, (16, 64, 64)), heatmaps(keypoints + 1e-6, (16, 64, 64))
    # Then every value is zero or a normal number.
    for heat in (before, after, after - before):
        assert ((heat == 0) | (heat.abs() >= torch.finfo().tiny)).all()


def test_heat_is_a_bump_around_its_keypoint():
    keypoints = noise(2, 21, 3).clamp(-1, 1)
    z, y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, n, dtype=torch.float64) for n in (16, 64, 64)), indexing="ij"
    )
    away = (torch.stack((x, y, z), -1) - keypoints.double()[:, :, None, None, None]).square().sum(-1)
    assert (heatmaps(keypoints, (16, 64, 64)) - torch.exp(-away / 2 / HEAT_VARIANCE)).abs().max() < 1e-6


@pytest.mark.parametrize("cells", [slice(0, 3), slice(2, 5), slice(4, 7)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_of_an_enlarged_map_some_rows_can_be_had_alone(scale, cells):
    shared = SharedConv([randomize(Conv(5, 6, 3, 3))], scale)
    x = noise(2, 5, 7, 8)
    rows = slice(scale * cells.start, scale * cells.stop)
    (some,), (every,) = shared(x, cells), shared(x)
    assert close(some, every[:, :, rows])


def test_an_up_block_needs_no_enlarged_volume():
    block = randomize(UpBlock(5, 6))
    x = noise(2, 5, 4, 6, 7)
    large = F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest")
    expected = F.relu(block.norm(F.conv3d(large, block.conv.weight, block.conv.bias, padding=1)))
    assert close(fold(block)(x), expected)


# Small maps and kernels that each form takes.
FORMS = {
    convolve_by_winograd: [((2, 5, 24, 16), (7, 5, 3, 3)), ((2, 5, 3, 24, 16), (7, 5, 3, 3, 3))],
    convolve_by_fourier: [
        ((1, 5, 6, 32, 16), (4, 5, 7, 7, 7)),
        ((2, 5, 6, 32, 16), (4, 5, 5, 7, 7)),
        ((2, 5, 2, 16, 32), (4, 5, 9, 7, 7)),
    ],
    convolve_by_products: [
        ((2, 5, 8, 6), (7, 5, 1, 1)),
        ((2, 5, 4, 8, 6), (7, 5, 3, 1, 1)),
        ((2, 5, 1, 8, 6), (7, 5, 3, 1, 1)),
    ],
    convolve_unfolded: [((2, 5, 6, 4, 3), (7, 5, 3, 3, 3))],
    convolve_to_one: [((2, 20, 8, 6), (1, 20, 7, 5))],
    convolve_by_nnpack: [
        ((2, 5, 23, 17), (7, 5, 3, 3)),
        ((2, 5, 7, 23, 17), (7, 5, 3, 3, 3)),
        ((2, 5, 3, 32, 16), (4, 5, 7, 7, 7)),
    ],
}
CASES = [
    pytest.param(form, *shapes, marks=needs_nnpack if form is convolve_by_nnpack else ())
    for form, cases in FORMS.items()
    for shapes in cases
]


@pytest.mark.parametrize(("form", "x", "weight"), CASES)
def test_each_form_of_a_convolution_is_the_plain_one(form, x, weight):
    x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
    assert is_exact(form, form(x, weight, bias), exactly(x, weight, bias), weight[0].numel())


@pytest.mark.parametrize(("tiles", "block"), [(1, 2), (8, 3), (10_000, 10_000)])
def test_winograds_form_is_the_same_in_strips_and_blocks_of_any_size(monkeypatch, tiles, block):
    monkeypatch.setattr(winograd, "TILES", tiles)
    monkeypatch.setattr(winograd, "BLOCK", block)
    for x, weight in FORMS[convolve_by_winograd]:
        x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
        ours, exact = convolve_by_winograd(x, weight, bias), exactly(x, weight, bias)
        assert is_exact(convolve_by_winograd, ours, exact, weight[0].numel())


@pytest.mark.parametrize("tiles", [1, 8, 10_000])
def test_fouriers_form_is_the_same_in_strips_of_any_size(monkeypatch, tiles):
    monkeypatch.setattr(fourier, "TILES", tiles)
    for x, weight in FORMS[convolve_by_fourier]:
        x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
        ours, exact = convolve_by_fourier(x, weight, bias), exactly(x, weight, bias)
        assert is_exact(convolve_by_fourier, ours, exact, weight[0].numel())


def test_either_library_multiplies_winograds_tiles():
    kernel, tiles = noise(36, 32, 16), noise(36, 16, 24, seed=1)
    exact = kernel.double() @ tiles.double()
    for multiply in winograd.MULTIPLY.values():
        assert is_exact(None, multiply(kernel, tiles, torch.empty(36, 32, 24)), exact, 16)


def test_winograds_form_is_the_plain_one_with_the_library_of_its_choice(monkeypatch):
    monkeypatch.setattr(winograd, "quickest", lambda _, forms, __: forms["oneDNN"])
    x, weight, bias = noise(2, 16, 24, 16), noise(32, 16, 3, 3, seed=1), noise(32, seed=2)
    exact = exactly(x, weight, bias)
    assert is_exact(convolve_by_winograd, convolve_by_winograd(x, weight, bias), exact, 9 * 16)


@needs_nnpack
@pytest.mark.parametrize("planes", [1, 2, 5, 100])
def test_nnpacks_form_is_the_same_for_any_number_of_planes_at_a_time(monkeypatch, planes):
    for x, weight in FORMS[convolve_by_nnpack][1:]:
        channels = weight[1] + weight[0] * weight[2]
        monkeypatch.setattr(nnpack, "AT_ONCE", planes * channels * x[-1] * x[-2])
        x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
        ours, exact = convolve_by_nnpack(x, weight, bias), exactly(x, weight, bias)
        assert is_exact(convolve_by_nnpack, ours, exact, weight[0].numel())


def test_a_torch_without_nnpack_goes_without(monkeypatch):
    monkeypatch.setattr(nnpack, "_convolution", None)
    assert not nnpack_works.__wrapped__()


def spike(*shape: int) -> Tensor:
    """One sample of 1e6 among noise: the worst for sums in which large numbers cancel out."""
    x = noise(*shape)
    x.flatten()[x.numel() // 2] = 1e6
    return x


EXTREMES = {
    "large": lambda *shape: 1e15 * noise(*shape),
    "tiny": lambda *shape: 1e-25 * noise(*shape),
    "constant": lambda *shape: torch.full(shape, 3.0),
    "nothing": torch.zeros,
    "checkered": lambda *shape: (1 - 2 * (torch.arange(math.prod(shape)) % 2.0)).view(shape),
    "a spike": spike,
}


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize(("form", "x", "weight"), CASES)
def test_each_form_is_the_plain_one_on_extreme_maps(form, x, weight, extreme):
    x, weight, bias = EXTREMES[extreme](*x), noise(*weight, seed=1), torch.zeros(weight[0])
    assert is_exact(form, form(x, weight, bias), exactly(x, weight, bias), weight[0].numel())


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("scale", [2, 4])
def test_a_convolution_of_an_enlarged_map_is_the_plain_one_on_extreme_maps(scale, extreme):
    x, weight, bias = EXTREMES[extreme](2, 5, 7, 8), noise(6, 5, 3, 3, seed=1), torch.zeros(6)
    exact = F.relu(exactly(F.interpolate(x, scale_factor=float(scale)), weight, bias))
    assert is_exact(
        None, convolve_enlarged(x, enlarged_kernels(weight), bias, scale), exact, weight[0].numel()
    )


@pytest.mark.parametrize(("form", "x", "weight"), CASES)
def test_what_is_not_finite_does_not_go_unseen(form, x, weight):
    x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
    x.flatten()[x.numel() // 2] = torch.inf
    assert not form(x, weight, bias).isfinite().all()


@pytest.mark.parametrize(
    ("x", "weight", "form", "otherwise"),
    [
        ((1, 128, 64, 64), (128, 128, 3, 3), convolve_by_nnpack, convolve_by_winograd),
        ((1, 128, 64, 66), (128, 128, 3, 3), convolve_by_nnpack, None),
        ((1, 128, 8, 8), (128, 128, 3, 3), None, None),
        ((1, 64, 64, 64), (128, 64, 3, 3), convolve_by_nnpack, None),
        ((1, 64, 64, 64), (256, 64, 3, 3), convolve_by_nnpack, convolve_by_winograd),
        ((1, 31, 64, 64), (128, 31, 3, 3), None, None),
        ((1, 128, 64, 64), (31, 128, 3, 3), None, None),
        ((1, 48, 16, 16, 16), (48, 48, 3, 3, 3), convolve_by_nnpack, convolve_by_winograd),
        ((1, 24, 16, 16, 16), (22, 24, 3, 3, 3), None, None),
        ((1, 24, 4, 4, 4), (22, 24, 3, 3, 3), convolve_unfolded, convolve_unfolded),
        ((1, 24, 16, 8, 8), (22, 24, 3, 1, 1), convolve_by_products, convolve_by_products),
        ((1, 24, 4, 8, 8), (22, 24, 3, 1, 1), None, None),
        ((1, 64, 64, 64), (64, 64, 1, 1), None, None),
        ((1, 64, 64, 64), (64, 64, 5, 5), None, None),
        ((2, 20, 8, 6), (1, 20, 7, 5), convolve_to_one, convolve_to_one),
        ((1, 2, 3, 16, 16), (2, 2, 7, 7, 7), convolve_by_fourier, convolve_by_fourier),
        ((1, 2, 3, 16, 8), (2, 2, 7, 7, 7), None, None),
        ((1, 64, 3, 32, 32), (10, 64, 7, 7, 7), convolve_by_nnpack, convolve_by_fourier),
    ],
)
def test_whatever_the_form_a_convolution_is_a_convolution(by_nnpack, x, weight, form, otherwise):
    x, weight, bias = noise(*x), noise(*weight, seed=1), noise(weight[0], seed=2)
    expected = form if by_nnpack else otherwise
    assert quicker_form(x, weight) is expected
    assert is_exact(expected, convolve(x, weight, bias), exactly(x, weight, bias), weight[0].numel())


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_bfloat16_is_computed_in_what_is_quicker(monkeypatch, chosen):
    # Given a CPU on which one of both is quicker.
    monkeypatch.setattr(convolution, "quickest", lambda _, forms, __: forms[chosen])
    x, weight, bias = noise(1, 5, 8, 8), noise(7, 5, 3, 3, seed=1), noise(7, seed=2)
    half = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
    assert convolution.computed_in(half[0]) is getattr(torch, chosen)
    # Then the result is rounded to bfloat16, once or as often as it is added up.
    result = convolve(*half)
    assert result.dtype is torch.bfloat16
    exact = plain(*(part.double() for part in half))
    assert (result - exact).abs().max() <= 2 * torch.finfo(torch.bfloat16).eps * exact.abs().max()


def test_devices_other_than_the_cpu_have_their_own_convolutions():
    x, weight = torch.empty(1, 512, 64, 64, device="meta"), torch.empty(512, 512, 3, 3, device="meta")
    assert quicker_form(x, weight) is None


def test_scratch_memory_from_inference_mode_serves_outside_of_it(monkeypatch):
    monkeypatch.setattr(scratch, "_kept", threading.local())
    x, weight, bias = noise(1, 8, 32, 32), noise(8, 8, 3, 3, seed=1), noise(8, seed=2)
    with torch.inference_mode():
        convolve_by_winograd(x, weight, bias)
    assert close(convolve_by_winograd(x, weight, bias), plain(x, weight, bias))


def test_scratch_memory_that_could_not_be_had_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(scratch, "_kept", threading.local())
    scratch.scratch(4)
    with pytest.raises(RuntimeError):
        scratch.scratch(1 << 60)
    assert [len(part) for part in scratch.scratch(8, 2)] == [8, 2]


def test_winograds_form_in_another_thread_has_scratch_memory_of_its_own():
    x, weight, bias = noise(1, 8, 32, 32), noise(8, 8, 3, 3, seed=1), noise(8, seed=2)
    expected = plain(x, weight, bias)

    def run(_: int) -> bool:
        with torch.no_grad():
            return all(close(convolve_by_winograd(x, weight, bias), expected) for _ in range(50))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(run, range(4)))


@pytest.mark.parametrize(
    ("cin", "cout", "scale", "size"),
    # The last ones are large enough for being computed block by block, in two blocks where there are more channels.
    [(12, 12, 1, 6), (12, 6, 2, 6), (6, 4, 4, 6), (64, 64, 1, 64), (256, 64, 2, 32), (128, 64, 4, 16)],
)
def test_a_spade_block_is_the_references(by_nnpack, cin, cout, scale, size):
    reference_module = pytest.importorskip("mimic_head.modules.util")
    reference = reference_module.SPADEResnetBlock(cin, cout, "spadespectralinstance", 8)
    block = SpadeBlock(cin, cout, 8, scale)
    block.load_state_dict(randomize(reference).state_dict())
    given = size * max(1, scale // 2)
    x, features = noise(2, cin, given, given), noise(2, 8, size, size, seed=1)
    enlarged = x if scale == 1 else F.interpolate(x, scale_factor=2.0, mode="nearest")
    form = convolve_by_nnpack if by_nnpack else convolve_by_winograd
    exact = reference.eval().double()(enlarged.double(), features.double())
    # Two convolutions, each after one of the features' 128 hidden channels.
    assert is_exact(form, fold(block)(x, features), exact, 2 * 9 * 128)


@pytest.mark.parametrize(
    ("cin", "cout", "scale", "size"), [(64, 64, 1, 64), (256, 64, 2, 32), (128, 64, 4, 16)]
)
def test_a_spade_block_is_the_same_in_strips(monkeypatch, by_nnpack, cin, cout, scale, size):
    block = fold(randomize(SpadeBlock(cin, cout, 8, scale)))
    given = size * max(1, scale // 2)
    x, features = noise(2, cin, given, given), noise(2, 8, size, size, seed=1)
    exact = copy.deepcopy(block).double()(x.double(), features.double())
    # Strips take other forms of convolution than the whole does; each may round off as it does. The floor is what sums
    # of float32 over the block's two layers of 3x3 taps and 128 hidden channels round off at most on average.
    allowed = max(2 * rounding(block(x, features), exact), 2 * torch.finfo().eps * math.sqrt(2 * 9 * 128))
    heights = []
    first = block.norm_0.forward
    monkeypatch.setattr(
        block.norm_0, "forward", lambda *args: heights.append(args[1].shape[2]) or first(*args)
    )
    monkeypatch.setattr(generator, "ROWS", 24)
    assert rounding(block(x, features), exact) <= allowed
    assert heights == [28, 28, 16]


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
