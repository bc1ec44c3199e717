"""The networks on given crops, with no face detection around them: for comparing them with other implementations."""

from __future__ import annotations

import torch
from torch import Tensor

from .keypoints import rotation_matrix, transform
from .networks import Networks


def animate_crops(
    networks: Networks, source: Tensor, driving: Tensor, *, relative: bool = True, stitching: bool = True
) -> Tensor:
    """Animates crops of a face by crops of another, frame by frame: F, M, the keypoints' transfer, S, W and G.

    Relative motion is that since the first driving crop, in rotation, expression, scale and translation; absolute
    motion takes the driving face's rotation, expression and translation and the source's scale (LivePortrait's
    published code, without smoothing, regions or retargeting).

    Args:
        source: float32 [N or 1, 3, 256, 256], RGB in 0..1, on the networks' device. One is extracted once.
        driving: float32 [N, 3, 256, 256].

    Returns:
        float32 [N, 3, 512, 512], RGB in 0..1.

    Raises:
        ValueError: the crops have other shapes.
    """
    count = len(driving)
    for name, crops, lengths in (("source", source, {1, count}), ("driving", driving, {count})):
        if crops.shape[1:] != (3, 256, 256) or len(crops) not in lengths:
            raise ValueError(f"{name} must be [{count}, 3, 256, 256], got {list(crops.shape)}")
    pictures = []
    first = None
    for i in range(count):
        if i < len(source):
            m = networks.motion(source[i : i + 1])
            volume = networks.appearance(source[i : i + 1])
            rotation = rotation_matrix(m.pitch, m.yaw, m.roll)
            kp_source = transform(m.kp, rotation, m.exp, m.scale, m.t)
        d = networks.motion(driving[i : i + 1])
        turned = rotation_matrix(d.pitch, d.yaw, d.roll)
        first = first or (d, turned)
        if relative:
            begun, began = first
            kp_driving = transform(
                m.kp,
                turned @ began.mT @ rotation,
                m.exp + d.exp - begun.exp,
                m.scale * d.scale / begun.scale,
                m.t + d.t - begun.t,
            )
        else:
            kp_driving = transform(m.kp, turned, d.exp, m.scale, d.t)
        if stitching:
            kp_driving = networks.stitch(kp_source, kp_driving)
        pictures.append(networks.render(volume, kp_source, kp_driving))
    return torch.cat(pictures)
