"""What the landmark network finds of a motion that is drawn, learned over a scene's inferences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch

from ...tensors import TensorStruct


@dataclass(frozen=True)
class ResponseParameters:
    """How a response is learned.

    Attributes:
        memory: weight of an inference when the next one comes.
        spread: sum of squares about the mean, of motion that was drawn, that a whole response counts with beforehand.
        limits: least and largest share of a motion that is found.
    """

    memory: float = 0.97
    spread: float = 0.05
    limits: tuple[float, float] = (0.5, 1.4)


RESPONSE = ResponseParameters()


@dataclass(frozen=True)
class Response(TensorStruct):
    """Line of regression of what is found of a motion on what is drawn of it, after each of N inferences.

    Attributes:
        sums: float32 [N, 5]: of weights, of motion x that was drawn, of what was not found of it, y, of x x and of x y.
    """

    sums: torch.Tensor

    @classmethod
    def of(cls, drawn: torch.Tensor, lost: torch.Tensor, believed: torch.Tensor) -> Response:
        """Take N inferences, each alone: motion [N], what is not found of it, and 1 where that is believed, else 0."""
        terms = torch.stack((torch.ones_like(drawn), drawn, lost, drawn * drawn, drawn * lost), dim=1)
        return cls(terms * believed.unsqueeze(1))

    def after(self, before: Response | None) -> Response:
        """Return each with those before, the last of `before` first."""
        last = None if before is None else before.sums[-1]
        rows = accumulate(self.sums, lambda sums, row: RESPONSE.memory * sums + row, initial=last)
        return Response(torch.stack(list(rows)[-len(self) :]))

    def towards(self, later: Response, share: torch.Tensor) -> Response:
        """Return a share [N, 1] of the way to a later one."""
        return Response(torch.lerp(self.sums, later.sums, share))

    def none(self) -> Response:
        """Return one that has learned nothing."""
        return Response(torch.zeros_like(self.sums))

    def correction(self, wanted: torch.Tensor, found_share: float = 1.0) -> torch.Tensor:
        """Return what is to be drawn beyond a wanted motion [N] so that this is found; 0 where nothing is learned.

        Args:
            found_share: share of it that another look at the result finds, over that which was learned from.
        """
        weight, x, y, xx, xy = self.sums.unbind(1)
        known, weight = weight > 0, weight.clamp_min(1e-6)
        x, y = x / weight, y / weight
        spread = (xx - weight * x * x).clamp_min(0) + RESPONSE.spread
        share = (1 - (xy - weight * x * y) / spread).clamp(*RESPONSE.limits)
        drawn = (x + (wanted - x + y) / share) / found_share
        return torch.where(known, drawn - wanted, 0.0)
