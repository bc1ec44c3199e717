"""What a warp can't show because the source frame hasn't got it: the inside of a mouth, an eye that was shut."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...compose import Region, to_float
from . import face
from .face import smoothstep
from .motion import Target

# Skin away from shadows of brows, nose and lips.
_SKIN = (50, 280, 101, 330, 205, 425, 4, 151)


def skin_color(frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Colour of the face in its frame, float32 [N, 3] in 0..255, by a few places on cheeks, nose and forehead."""
    n, height, width, _ = frames.shape
    points = landmarks[:, _SKIN, :2].long()
    x, y = points[..., 0].clamp(0, width - 1), points[..., 1].clamp(0, height - 1)
    return frames[torch.arange(n, device=frames.device).unsqueeze(1), y, x].float().mean(1)


def paint_mouths(
    pictures: torch.Tensor,
    place: torch.Tensor,
    mouth: torch.Tensor,
    frames: torch.Tensor,
    target: Target,
    region: Region,
) -> None:
    """Paints the inside of open mouths below what the source's own shows.

    Args:
        pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        place: float32 [N, h, w, 2], the region's pixels on grid_sample's axes of the squares.
        mouth: float32 [N, 4, S, S] over the squares, as `Warp` has it.
        frames: uint8 [N, H, W, 3], the source.
    """
    opening = face.mouth_opening(target.moved)
    rows, columns = region.box(target.moved[:, face.UPPER + face.LOWER, :2])
    mouth = F.grid_sample(mouth, place[:, rows, columns], align_corners=False)
    inside, mouth = mouth[:, :1], mouth[:, 1:] / mouth[:, :1].clamp_min(0.05)
    lacking = smoothstep((mouth[:, 2:] - 0.75) / 0.25)
    # Between lips that nearly touch there is shade, and no sliver of teeth.
    lacking = torch.maximum(lacking, 1 - smoothstep((opening.view(-1, 1, 1, 1) - 0.03) / 0.06))
    painted = mouth_interior(mouth, opening, skin_color(frames, target.source))
    pictures[:, :, rows, columns].lerp_(painted, inside * lacking)


def mouth_interior(mouth: torch.Tensor, opening: torch.Tensor, skin: torch.Tensor) -> torch.Tensor:
    """Paints the inside of an open mouth: dark, with the upper teeth behind the lip and a hint of the tongue.

    Args:
        mouth: float32 [N, >=2, h, w]: place along the mouth -1..1, place from the upper lip 0 to the lower 1.
        opening: float32 [N], height / width of the mouth.
        skin: float32 [N, 3], colour of the face, which tells the light.

    Returns:
        float32 [N, 3, h, w] in the unit of `skin`.
    """
    opening = opening.view(-1, 1, 1)
    along = mouth[:, 0]
    below = mouth[:, 1] * opening  # distance from the upper lip, in widths of the mouth
    above = (1 - mouth[:, 1]) * opening

    def material(*share: float) -> torch.Tensor:
        """A colour by what it reflects of the light, as shares of what skin does."""
        return (torch.tensor(share, device=skin.device) * skin).view(-1, 3, 1, 1)

    sides = 1 - smoothstep((along.abs() - 0.2) / 0.6)
    teeth = smoothstep((0.13 - below) / 0.08) * sides * smoothstep(opening / 0.12)
    tongue = smoothstep((0.2 - above) / 0.2) * sides * smoothstep((opening - 0.1) / 0.2)
    shade = (0.45 + 0.55 * smoothstep(below / 0.09)).unsqueeze(1)  # the upper lip's shadow
    picture = torch.lerp(material(0.26, 0.15, 0.14), material(0.72, 0.48, 0.46), 0.6 * tongue.unsqueeze(1))
    return torch.lerp(picture, material(1.0, 1.15, 1.22) * shade, 0.7 * teeth.unsqueeze(1))


class EyeMemory:
    """What the source's eyes look like when open, lids and lashes with them, for frames that show them shut."""

    # Half width and half height of what is kept, in widths of the eye, and its size in pixels.
    REACH = (0.65, 0.4)
    SIZE = (52, 84)

    def __init__(self) -> None:
        self._patches: torch.Tensor | None = None  # [2, 3, h, w], 0..255
        self._openings: torch.Tensor | None = None  # [2]

    def learn(self, frames: torch.Tensor, target: Target) -> None:
        """Keeps the eyes of the last frame in which both are about as open as at rest."""
        good = (target.eyes >= 0.85 * target.rest_eyes).all(1).nonzero().flatten().tolist()
        if not good:
            return
        k = good[-1]
        frame = frames[k : k + 1]
        whole = Region(0, 0, *frame.shape[1:3])
        x = torch.linspace(-self.REACH[0], self.REACH[0], self.SIZE[1], device=frame.device)
        y = torch.linspace(-self.REACH[1], self.REACH[1], self.SIZE[0], device=frame.device)
        local = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        patches = []
        for eye in (0, 1):
            center, axes = face.eye_frame(target.source[k : k + 1, :, :2], eye)
            places = local.view(1, -1, 2) @ axes + center
            rows, columns = whole.box(places)
            part = Region(rows.start, columns.start, rows.stop, columns.stop)
            if part.empty:
                return
            grid = part.sample_at(places).view(1, *self.SIZE, 2)
            patches.append(
                F.grid_sample(to_float(part.of(frame)), grid, padding_mode="border", align_corners=False)
            )
        self._patches, self._openings = torch.cat(patches), face.eye_openings(target.source[k : k + 1])[0]

    def paint(self, pictures: torch.Tensor, target: Target, region: Region) -> None:
        """Paints remembered eyes, with their lids, where the source's are shut and the target's are not.

        Args:
            pictures: float32 [N, 3, h, w] in 0..255, of the region; modified.
        """
        if self._patches is None:
            return
        shut = smoothstep((0.8 - target.eyes / target.rest_eyes) / 0.3)
        ratio = face.eye_openings(target.moved) / self._openings
        share = shut * smoothstep((ratio - 0.3) / 0.3)
        reach = torch.tensor(self.REACH, device=pictures.device)
        for eye in (0, 1):
            which = share[:, eye].nonzero().flatten()
            if not len(which):
                continue
            center, axes = (x.unsqueeze(1) for x in face.eye_frame(target.moved[which, :, :2], eye))
            corners = (
                torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], device=reach.device)
                * reach
            )
            rows, columns = region.box(center + corners @ axes.squeeze(1))
            pixels = region.pixels(rows, columns, reach.device)
            place = (pixels - center.unsqueeze(1)) @ torch.linalg.inv(axes) / reach
            soft = 1 - smoothstep((place.norm(dim=-1) - 0.6) / 0.35)
            stretch = torch.stack(
                (torch.ones(len(which), device=reach.device), 1 / ratio[which, eye].clamp(0.9, 1.6)), -1
            )
            patch = self._patches[eye].expand(len(which), -1, -1, -1)
            eyes = F.grid_sample(
                patch, place * stretch.view(-1, 1, 1, 2), padding_mode="border", align_corners=True
            )
            part = pictures[which, :, rows, columns]
            weight = (soft * share[which, eye].view(-1, 1, 1)).unsqueeze(1)
            pictures[which, :, rows, columns] = torch.lerp(part, eyes, weight)
