"""The networks in forms for GPUs give what they give in those for CPUs, in the layouts that GPUs are quick in."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liveportrait_v2v.engines.liveportrait.networks import Forms, blank_network, random_weights
from liveportrait_v2v.engines.liveportrait.networks import convolution as convolutions
from liveportrait_v2v.engines.liveportrait.networks import generator as generators
from liveportrait_v2v.engines.liveportrait.networks.enlarged import enlarged_kernels
from liveportrait_v2v.engines.liveportrait.networks.gpu.forms import (
    fused_instance_norm,
    in_channels_last,
    laid_out_for,
    of_planes,
    plain_kernel,
    to_channels_last,
)
from liveportrait_v2v.engines.liveportrait.networks.layers import arrange, convolutions_to, fold
from liveportrait_v2v.errors import SettingsError

QUICKEST = "channels_last,fused_norm,ones,planes,to_one,padded,plain_volumes"
USUAL = QUICKEST.replace("ones", "fused_spade,fused_enlarged,fused_activation,ones") + ",graphs"
EVERYTHING = "channels_last,fused_norm,ones,planes,to_one,padded,plain,plain_volumes"


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The root mean square of the difference, relative to that of the values."""
    return ((ours.float() - theirs).norm() / theirs.norm()).item()


# Names


def test_forms_are_named_by_a_text_and_give_it_back():
    forms = Forms.parse("channels_last, planes,graphs")
    assert forms == Forms("channels_last", planes=True, graphs=True)
    assert Forms.parse(str(forms)) == forms
    assert Forms.parse("") == Forms.parse("contiguous") == Forms()


def test_an_unknown_form_is_refused():
    with pytest.raises(SettingsError, match=r"forms must be some of contiguous, .*, got 'fast'"):
        Forms.parse("planes,fast")


@pytest.mark.parametrize(
    ("device", "precision", "usual"),
    [
        ("cpu", "fp32", "contiguous"),
        ("cpu", "fp16", "contiguous"),
        ("cuda", "fp32", "contiguous,graphs"),
        ("cuda", "fp16", USUAL),
        ("cuda:1", "bf16-convs", USUAL),
    ],
)
def test_the_usual_forms_are_those_of_tensor_cores_where_there_are_some(device, precision, usual):
    assert str(Forms.usual(device, precision)) == usual


@pytest.mark.parametrize(
    ("cudnn", "layout"), [(None, "contiguous"), (91002, "channels_last"), (91900, "contiguous")]
)
def test_what_is_compiled_is_plain_and_avoids_what_makes_torch_leave_cudnn(monkeypatch, cudnn, layout):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: cudnn)
    forms = Forms.usual("cuda", "fp16", compiled=True)
    assert str(forms) == f"{layout},planes,to_one,plain,plain_volumes,compiled,graphs"


def test_graphs_and_kernels_are_left_to_nvidia(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert str(Forms.usual("cuda", "fp16")) == QUICKEST


# Torch's switches


def switches() -> tuple[bool, bool, bool]:
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )


@pytest.mark.parametrize(
    ("text", "inside"),
    [("benchmark", (True, True, False)), ("tf32", (False, True, True)), ("planes", (False, True, False))],
)
def test_torchs_switches_are_set_for_the_call_alone(text, inside):
    assert switches() == (False, True, False)
    with Forms.parse(text).switches(torch.device("cuda")):
        assert switches() == inside
    assert switches() == (False, True, False)


def test_torchs_switches_are_set_back_after_an_error():
    with pytest.raises(ValueError, match="inside"), Forms(tf32=True).switches(torch.device("cuda")):
        raise ValueError("inside")
    assert switches() == (False, True, False)


# Layers


@pytest.mark.parametrize("shape", [(2, 5, 4, 6), (2, 5, 3, 4, 6), (4, 32, 1, 1), (4, 32, 1, 1, 1)], ids=str)
def test_channels_last_is_seen_by_strides_even_of_single_samples(shape):
    x = noise(*shape)
    last = to_channels_last(x)
    assert torch.equal(last, x)
    assert in_channels_last(last)
    assert in_channels_last(last.half().clone())
    assert not in_channels_last(x)


@pytest.mark.parametrize("shape", [(2, 5, 4, 6), (2, 5, 3, 4, 6)], ids=str)
def test_an_input_takes_its_weights_layout_and_a_dtype(shape):
    x, weight = noise(*shape), noise(3, 5, *[1] * (len(shape) - 2))
    assert laid_out_for(x, weight) is x
    given = laid_out_for(x, to_channels_last(weight), torch.float16)
    assert given.dtype == torch.float16
    assert in_channels_last(given)
    assert laid_out_for(given, to_channels_last(weight)) is given


@pytest.mark.parametrize("last", [False, True])
def test_planes_are_pooled_in_their_layout(last):
    x = noise(2, 5, 3, 4, 6)
    given = to_channels_last(x) if last else x
    pooled = of_planes(lambda planes: F.avg_pool2d(planes, 2), given)
    torch.testing.assert_close(pooled, F.avg_pool3d(x, (1, 2, 2)))
    assert in_channels_last(pooled) == last


@pytest.mark.parametrize("last", [False, True])
def test_the_fused_norm_is_torchs_and_keeps_the_layout(last):
    x = 3 * noise(2, 5, 8, 6) + 1
    given = to_channels_last(x) if last else x
    normed = fused_instance_norm(given)
    torch.testing.assert_close(normed, F.instance_norm(x), atol=2e-6, rtol=0)
    assert in_channels_last(normed) == last


def test_the_fused_norm_of_half_precision_has_statistics_of_float32():
    x = (300 * noise(1, 2, 64, 64)).half()  # squares overflow
    assert difference(fused_instance_norm(x), F.instance_norm(x.float())) < 1e-3


@pytest.mark.parametrize("kernel", [(4, 3, 3, 3), (4, 3, 3, 3, 3)], ids=str)
def test_the_kernel_of_an_enlarged_convolution_is_found_again(kernel):
    weight = noise(*kernel)
    torch.testing.assert_close(plain_kernel(enlarged_kernels(weight)), weight, atol=2e-6, rtol=0)


# Networks


@lru_cache(maxsize=2)
def weights(name: str) -> dict[str, Tensor]:
    return random_weights(0, name)


def network(name: str, forms: str = "", dtype: torch.dtype = torch.float32) -> nn.Module:
    made = blank_network(name)
    made.load_state_dict(weights(name), strict=True, assign=True)
    fold(made)
    arrange(made, Forms.parse(forms))
    convolutions_to(made, dtype)
    return made


@torch.no_grad()
def warped(forms: str = "", dtype: torch.dtype = torch.float32) -> Tensor:
    """Two frames of W at half the size."""
    kp = 0.3 * noise(2, 21, 3, seed=1)
    moved = kp + 0.05 * noise(2, 21, 3, seed=2)
    return network("warping_module", forms, dtype)(noise(2, 32, 16, 32, 32), kp, moved, dtype)


@torch.no_grad()
def generated(forms: str = "", dtype: torch.dtype = torch.float32) -> Tensor:
    """Two frames of G at a quarter of the size."""
    return network("spade_generator", forms, dtype)(noise(2, 256, 16, 16).to(dtype))


@pytest.fixture(scope="module")
def usual() -> dict[str, Tensor]:
    return {"W": warped(), "G": generated()}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """All convolutions are torch's own; records (input, weight) of each."""
    calls: list[tuple[Tensor, Tensor]] = []
    for room in (convolutions, generators):
        monkeypatch.setattr(room, "quicker_form", lambda *_: None)
    for name in ("conv2d", "conv3d"):
        plain = getattr(F, name)

        def convolve(x, weight, *rest, plain=plain, **more):
            calls.append((x, weight))
            return plain(x, weight, *rest, **more)

        monkeypatch.setattr(convolutions.F, name, convolve)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize(
    "forms",
    [
        "channels_last",
        "planes",
        "to_one",
        "padded",
        "padded,planes,to_one",
        "plain_volumes",
        QUICKEST,
        EVERYTHING,
    ],
)
def test_warping_is_the_same_in_every_form(usual, forms):
    assert difference(warped(forms), usual["W"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "forms", ["channels_last", "fused_norm", "ones", "plain", "ones,plain", QUICKEST, EVERYTHING]
)
def test_generating_is_the_same_in_every_form(usual, forms):
    assert difference(generated(forms), usual["G"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("forms", [QUICKEST, EVERYTHING])
def test_with_torchs_convolutions_too(usual, as_on_a_gpu, forms):
    assert difference(warped(forms), usual["W"]) < 1e-4
    assert difference(generated(forms), usual["G"]) < 1e-4


@pytest.mark.slow
def test_half_precision_in_every_form_stays_within_its_bound(usual):
    assert difference(warped(EVERYTHING, torch.float16), usual["W"]) < 0.02
    assert difference(generated(EVERYTHING, torch.float16), usual["G"]) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("run", [warped, generated])
def test_channels_last_convolutions_get_inputs_and_weights_in_that_layout(as_on_a_gpu, run):
    """Contiguous volumes in half precision leave cuDNN in torch 2.9 and 2.10."""
    run(EVERYTHING)
    assert len(as_on_a_gpu) > 10
    assert all(in_channels_last(weight) and x.stride(1) == 1 for x, weight in as_on_a_gpu)


@pytest.mark.slow
@pytest.mark.parametrize("run", [warped, generated])
def test_without_forms_everything_is_contiguous(as_on_a_gpu, run):
    run()
    assert not any(in_channels_last(weight) for _, weight in as_on_a_gpu)


@pytest.mark.slow
@torch.no_grad()
def test_appearance_is_the_same_in_channels_last_and_its_volumes_are_contiguous():
    crops = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    volumes = [
        network("appearance_feature_extractor", forms)(crops, torch.float32)
        for forms in ("", "channels_last")
    ]
    assert difference(volumes[1], volumes[0]) < 1e-4
    assert volumes[1].is_contiguous()


@pytest.mark.slow
def test_padded_channels_are_multiples_of_eight():
    made = network("warping_module", "padded,planes")
    motion = made.dense_motion_network
    sizes = [
        *motion.hourglass.encoder.first.weight.shape[:2],
        *motion.hourglass.decoder.conv.weight.shape[:2],
    ]
    sizes += motion.mask.weight.shape[:2]
    assert [size % 8 for size in sizes] == [0] * 6
