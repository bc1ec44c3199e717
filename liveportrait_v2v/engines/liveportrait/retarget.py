"""Corrections of the target's keypoints by the small networks: openings of eyes and lips, and stitching.

Always in this order, each once: the wanted openings of eyes and lips; stitching; the lips that are shut and the
source's own blinks that are taken out before any motion. These last come after stitching, as in the published code.
"""

from __future__ import annotations

import torch

from ..base import Edits
from .motion import USUAL_EYES, Faces, Transfer

# Eyes narrower than this are shut (the published code's constant).
SHUT_EYES = 0.18


def refine(
    networks, transfer: Transfer, faces: Faces, x: torch.Tensor, edits: Edits | None = None
) -> torch.Tensor:
    """Return the keypoints that the source is warped to.

    Unlike in the published code, all other motion is kept when eyes or lips are retargeted: the networks give the step
    from the opening that the target has by then, and a multiplier scales the wanted opening alone.

    Args:
        networks: `Networks`, of which `stitch`, `lip_delta` and `eye_delta` are used.
        x: the target's keypoints so far, float32 [N, 21, 3]; not modified.
        edits: on the CPU; their targets take the place of all other openings, by their weights.

    Returns:
        float32 [N, 21, 3].
    """
    settings = transfer.settings
    final = x
    eyes, lips = _target(edits, "eyes_open", x), _target(edits, "lips_open", x)
    if settings.eye_retargeting and transfer.moves_eyes:
        wanted = faces.driving.eyes.mean(1, keepdim=True) * settings.eyes_retargeting_multiplier
        wanted = wanted if eyes is None else torch.lerp(wanted, *eyes)
        final = final + networks.eye_delta(x, torch.cat((faces.target.eyes, wanted), dim=1))
    elif eyes is not None:
        wanted = torch.lerp(faces.target.eyes.mean(1, keepdim=True), *eyes)
        step = networks.eye_delta(x, torch.cat((faces.target.eyes, wanted), dim=1))
        final = final + _where(eyes, step)
    if settings.lip_retargeting and transfer.moves_lips:
        wanted = faces.driving.lips * settings.lip_retargeting_multiplier
        wanted = wanted if lips is None else torch.lerp(wanted, *lips)
        final = final + networks.lip_delta(x, torch.cat((faces.target.lips, wanted), dim=1))
    elif lips is not None:
        wanted = torch.lerp(faces.target.lips, *lips)
        step = networks.lip_delta(x, torch.cat((faces.target.lips, wanted), dim=1))
        final = final + _where(lips, step)
    if settings.stitching:
        final = networks.stitch(faces.kp_source, final)
    if settings.relative and settings.lip_zero and transfer.moves_lips and not settings.lip_retargeting:
        final = final + _less(lips, _shut_lips(networks, faces, settings.lip_zero_threshold))
    if _own_eyes_stay(transfer):
        final = final + _less(eyes, _rest_eyes(networks, transfer, faces))
    return final


_Opening = tuple[torch.Tensor, torch.Tensor]  # that is to be had, [N, 1], and its weight 0..1, [N, 1]


def _target(edits: Edits | None, name: str, like: torch.Tensor) -> _Opening | None:
    """Return the opening that a channel asks for; None where it asks for none in any frame."""
    if edits is None or not edits.any(f"{name}_weight"):
        return None
    return edits(name).to(like.device).unsqueeze(1), edits(f"{name}_weight").to(like.device).unsqueeze(1)


def _where(opening: _Opening, step: torch.Tensor) -> torch.Tensor:
    """Return a step [N, 21, 3] where the opening has a weight, and 0 elsewhere."""
    return torch.where((opening[1] > 0).unsqueeze(-1), step, 0.0)


def _less(opening: _Opening | None, step: torch.Tensor) -> torch.Tensor:
    """Return the part of a step [N, 21, 3] that the opening leaves."""
    return step if opening is None else step * (1 - opening[1]).unsqueeze(-1)


def _own_eyes_stay(transfer: Transfer) -> bool:
    """Return whether the result's eyes are the base's, or relative to them: of a video, which may blink."""
    if transfer.source_is_still:
        return False
    if not transfer.moves_eyes:
        return True
    return transfer.settings.relative and not transfer.settings.eye_retargeting


def _shut_lips(networks, faces: Faces, threshold: float) -> torch.Tensor:
    """Return the step that shuts the base's lips, [N, 21, 3], in frames in which they are open by the threshold."""
    lips = faces.base.lips
    step = networks.lip_delta(faces.kp_base, torch.cat((lips, torch.zeros_like(lips)), dim=1))
    return torch.where((lips >= threshold).unsqueeze(-1), step, 0.0)


def _rest_eyes(networks, transfer: Transfer, faces: Faces) -> torch.Tensor:
    """Return the step that opens the base's eyes as far as they are at rest, [N, 21, 3].

    Taken in every frame where the source's own blinks are to be kept out; otherwise only where its eyes happen to be
    shut at rest, and would be so all along.
    """
    rest = faces.rest.eyes.mean(1, keepdim=True)
    shut = rest < SHUT_EYES
    wanted = torch.where(shut, USUAL_EYES, rest)
    step = networks.eye_delta(faces.kp_base, torch.cat((faces.base.eyes, wanted), dim=1))
    if transfer.options.source_eye_retargeting:
        return step
    replaced = transfer.options.source_motion == "replace" and transfer.moves_eyes
    return torch.where(shut.unsqueeze(-1) & replaced, step, 0.0)
