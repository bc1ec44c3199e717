"""Triton's kernels, which its interpreter runs on a CPU, beside torch; and the networks without them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache, partial
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from liveportrait_v2v.engines.liveportrait.networks import (
    CompileWarning,
    Forms,
    Networks,
    bundle,
    convolution,
    generator,
    random_weights,
)

FUSED = Forms(fused_spade=True, fused_enlarged=True, fused_activation=True)

# Each in a process of its own: Triton reads the variable when it is imported.
NORMS = """
import torch, torch.nn.functional as F
from liveportrait_v2v.engines.liveportrait.networks.gpu.fused_spade import measure, modulate, trial

torch.manual_seed(0)
assert trial(torch.device("cpu")).isfinite().all()
for dtype, channels, scale, slope in (
    (torch.half, 128, 1, 0.2), (torch.half, 64, 2, None), (torch.bfloat16, 64, 4, 0.2), (torch.float, 64, 1, None)
):
    # Means far from 0 beside small differences: what squares lose digits in.
    maps = (torch.randn(2, channels, 32, 32) + 50 * torch.randn(2, channels, 1, 1)).to(dtype)
    both = torch.randn(2, 2 * channels, 32 * scale, 32 * scale).to(dtype)
    found = modulate(measure(maps), both, slope)
    gamma, beta = both.float().chunk(2, 1)
    wanted = F.interpolate(F.instance_norm(maps.float()), scale_factor=scale) * gamma + beta
    wanted = wanted if slope is None else F.leaky_relu(wanted, slope)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted.to(dtype), atol=1e-4, rtol=2 * torch.finfo(dtype).eps)
"""
ENLARGED = """
import torch, torch.nn.functional as F
from liveportrait_v2v.engines.liveportrait.networks.enlarged import tap_bias, tap_kernel
from liveportrait_v2v.engines.liveportrait.networks.gpu.fused_enlarged import sum_taps, trial

torch.manual_seed(0)
assert trial(torch.device("cpu")).isfinite().all()
for scale, parts, channels in ((2, 1, 40), (4, 2, 8), (3, 2, 33)):
    maps, weights = torch.randn(2, 24, 6, 5), torch.randn(parts, channels, 24, 3, 3)
    biases = torch.randn(parts, channels)
    taps = F.conv2d(maps, tap_kernel(weights.unbind()), tap_bias(biases.unbind()))
    found = sum_taps(taps, parts, scale)
    assert len(found) == parts
    for part, weight, bias in zip(found, weights, biases):
        wanted = F.relu(F.conv2d(F.interpolate(maps, scale_factor=scale), weight, bias, padding=1))
        assert part.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(part, wanted, atol=1e-4, rtol=1e-4)
"""
ACTIVATIONS = """
import torch, torch.nn.functional as F
from liveportrait_v2v.engines.liveportrait.networks.gpu.forms import channels_last
from liveportrait_v2v.engines.liveportrait.networks.gpu.fused_activation import activate, add_and_norm, trial

torch.manual_seed(0)
assert trial(torch.device("cpu")).isfinite().all()
for shape in ((2, 40, 6, 8), (1, 144, 3, 2, 2)):
    maps, bias, scale, shift = torch.randn(shape), *torch.randn(3, shape[1])
    maps = maps.contiguous(memory_format=channels_last(maps))
    column = [-1] + [1] * (len(shape) - 2)
    active = F.leaky_relu(maps + bias.view(column), 0.1)
    torch.testing.assert_close(activate(maps.clone(), bias, 0.1), active)
    means = F.avg_pool2d(active.flatten(0, 1), 2).unflatten(0, shape[:2])
    torch.testing.assert_close(activate(maps.clone(), bias, 0.1, pool=2), means)
    sums = torch.randn(shape).contiguous(memory_format=channels_last(maps))
    wanted = sums + maps + bias.view(column)
    normed = F.relu(wanted * scale.view(column) + shift.view(column))
    torch.testing.assert_close(add_and_norm(maps, bias, sums, scale, shift), normed)
    torch.testing.assert_close(sums, wanted)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed; torch brings it with CUDA")
@pytest.mark.parametrize(
    "comparison", [NORMS, ENLARGED, ACTIVATIONS], ids=["norms", "enlarged", "activations"]
)
def test_kernels_give_what_torch_gives(comparison):
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", comparison], check=True, env=environment, timeout=300)


def test_without_triton_the_networks_are_torchs(monkeypatch, recwarn):
    monkeypatch.setattr(bundle, "find_spec", lambda name: None)
    made = bundle.Networks(lambda name: {}, forms=FUSED, names=())
    assert made.forms == Forms()
    assert not [w for w in recwarn if issubclass(w.category, CompileWarning)]


def test_kernels_that_cannot_be_compiled_are_said_and_done_without(monkeypatch):
    failing = type(sys)("fused_spade")

    def trial(device):
        raise RuntimeError("Failed to find C compiler.\nmore")

    failing.trial = trial
    monkeypatch.setattr(bundle, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, f"{bundle.__package__}.gpu.fused_spade", failing)
    with pytest.warns(
        CompileWarning, match="Triton's failed, going on without it: Failed to find C compiler"
    ):
        made = bundle.Networks(
            lambda name: {}, device=torch.device("cpu"), forms=Forms(fused_spade=True), names=()
        )
    assert made.forms == Forms()


# In the networks, with torch in the kernels' place


def modulate(normed: Tensor, both: Tensor, slope: float | None) -> Tensor:
    gamma, beta = both.chunk(2, 1)
    x = F.interpolate(normed, scale_factor=both.shape[2] // normed.shape[2]) * gamma + beta
    return x if slope is None else F.leaky_relu(x, slope)


def sum_taps(taps: Tensor, parts: int, scale: int) -> list[Tensor]:
    height, width = (scale * size for size in taps.shape[2:])
    found = []
    for part in taps.chunk(parts, 1):
        large = F.pad(F.interpolate(part, scale_factor=scale), (1, 1, 1, 1)).chunk(9, 1)
        seen = [tap[:, :, i // 3 :, i % 3 :][:, :, :height, :width] for i, tap in enumerate(large)]
        found.append(F.relu(torch.stack(seen).sum(0)))
    return found


def activate(maps: Tensor, bias: Tensor, slope: float = 0.0, pool: int = 1) -> Tensor:
    x = F.leaky_relu(maps + bias.view(-1, *[1] * (maps.dim() - 2)), slope)
    kernel = (pool, pool) if maps.dim() == 4 else (1, pool, pool)
    return (F.avg_pool2d if maps.dim() == 4 else F.avg_pool3d)(x, kernel)


def add_and_norm(maps: Tensor, bias: Tensor, sums: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    assert sums.is_contiguous(memory_format=torch.channels_last_3d)
    sums += maps + bias.view(-1, 1, 1, 1)
    return F.relu(sums * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1))


KERNELS = {
    "fused_spade": {"measure": F.instance_norm, "modulate": modulate},
    "fused_enlarged": {"sum_taps": sum_taps},
    "fused_activation": {"activate": activate, "add_and_norm": add_and_norm},
}
weights = lru_cache(random_weights)


@pytest.fixture
def by_torch(monkeypatch):
    """Torch's operations in the place of Triton's kernels and of what CPUs have for convolutions."""
    for module in (convolution, generator):
        monkeypatch.setattr(module, "quicker_form", lambda *_: None)
    monkeypatch.setattr(bundle, "find_spec", lambda name: object())
    for name, functions in KERNELS.items():
        module = type(sys)(name)
        module.trial = torch.zeros(1).to
        for word, function in functions.items():
            setattr(module, word, function)
        monkeypatch.setitem(sys.modules, f"{bundle.__package__}.gpu.{name}", module)


@torch.no_grad()
def drawn(forms: str) -> tuple[Tensor, ...]:
    """Return a volume, features of a quarter of it, and what the generator makes of a quarter of these."""
    made = Networks(
        partial(weights, 0),
        forms=Forms.parse(forms),
        names=("appearance_feature_extractor", "warping_module", "spade_generator"),
    )
    noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    kp = torch.randn(2, 1, 21, 3, generator=torch.Generator().manual_seed(1)) * 0.3
    volume = made.appearance(noise)
    features = made.module["warping_module"](volume[..., :32, :32], kp[0], kp[1], torch.float32)
    return volume, features, made.module["spade_generator"](features[:, :, :16, :16])


@pytest.mark.slow
@pytest.mark.parametrize("others", ["", ",channels_last,ones,padded,planes,to_one,plain_volumes"])
def test_networks_with_kernels_give_what_they_give_without(by_torch, others):
    fused = drawn("fused_spade,fused_enlarged,fused_activation" + others)
    for found, wanted in zip(fused, drawn(""), strict=True):
        assert ((found - wanted).norm() / wanted.norm()).item() < 1e-4
