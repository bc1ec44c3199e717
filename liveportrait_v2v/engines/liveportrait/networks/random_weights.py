"""Random weights under the published names, of a size that keeps every layer's values within reason."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .published import NETWORKS, blank_network

# Standard deviations of layers whose output is not to have that of their input: M's heads, and SPADE's modulation.
SPREADS = {"fc_kp": 0.02, "fc_exp": 0.02, "fc_t": 0.05, "fc_scale": 0.05, "mlp_gamma": 0.3, "mlp_beta": 0.3}
SCALE = 1.3  # the middle of M's scale


def random_weights(seed: int, network: str) -> dict[str, Tensor]:
    """Return the tensors of one of NETWORKS in float32, under their published names.

    Norms have statistics and spectral norms have vectors of their own, so that folding them is no formality. M's
    keypoints fill the crop, expressions are small and scales near 1.3; G's pictures are noise with some contrast.
    """
    generator = torch.Generator().manual_seed(len(NETWORKS) * seed + list(NETWORKS).index(network))
    tensors = {
        name: _tensor(name, tensor.shape, generator)
        for name, tensor in blank_network(network).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for name in [name for name in tensors if name.endswith("weight_orig")]:
        _norm_vectors(tensors, name.removesuffix("_orig"))
    return tensors


def _tensor(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    *_, layer, kind = name.split(".")
    noise = torch.randn(shape, generator=generator)
    if kind == "running_var":
        return 1 + 0.2 * noise.tanh()
    if kind == "weight" and len(shape) == 1:  # of a norm
        return 1 + 0.1 * noise
    if kind not in ("weight", "weight_orig"):
        if layer == "fc_kp":
            return noise.tanh() / 2
        return SPREADS.get(layer, 0.1) * noise + (SCALE if layer == "fc_scale" else 0)
    size = math.prod(shape[1:]) ** 0.5
    if "retarget" in name and shape[0] in (63, 65):
        return 0.02 / size * noise
    return SPREADS.get(layer, 2**0.5) / size * noise


def _norm_vectors(tensors: dict[str, Tensor], name: str) -> None:
    """One step towards a weight's first singular vectors, as training leaves them."""
    matrix = tensors[f"{name}_orig"].flatten(1)
    v = F.normalize(tensors[f"{name}_u"] @ matrix, dim=0)
    tensors[f"{name}_v"] = v
    tensors[f"{name}_u"] = F.normalize(matrix @ v, dim=0)
