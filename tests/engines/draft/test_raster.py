"""Rasterization of triangles."""

from __future__ import annotations

import torch

from liveportrait_v2v.engines.draft.raster import fill, planes, rasterize

# Clockwise on the screen (y down), which has a positive area.
SQUARE = torch.tensor([[[2.0, 2.0], [10.0, 2.0], [10.0, 10.0], [2.0, 10.0]]])
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]])
NONE = len(HALVES)


def flat(vertices: torch.Tensor, depth: float = 0.0) -> torch.Tensor:
    return torch.full(vertices.shape[:2], depth)


def test_two_triangles_cover_their_square_without_a_hole():
    front = rasterize(SQUARE, flat(SQUARE), HALVES, 16)[0]
    covered = front < NONE
    assert covered[2:10, 2:10].all()
    assert covered.sum() == 64


def test_each_pixel_belongs_to_the_triangle_at_its_centre():
    front = rasterize(SQUARE, flat(SQUARE), HALVES, 16)[0]
    assert front[3, 8] == 0
    assert front[8, 3] == 1


def test_a_triangle_seen_from_behind_is_left_out():
    assert (rasterize(SQUARE, flat(SQUARE), HALVES.flip(1), 16) == NONE).all()


def test_the_nearer_triangle_wins_whatever_the_order():
    both = torch.cat((SQUARE, SQUARE), dim=1)
    depth = torch.tensor([[5.0] * 4 + [1.0] * 4])
    triangles = torch.cat((HALVES, HALVES + 4))
    assert (rasterize(both, depth, triangles, 16)[0, 2:10, 2:10] >= 2).all()
    assert (rasterize(both, 6 - depth, triangles, 16)[0, 2:10, 2:10] < 2).all()


def test_triangles_are_clipped_at_the_border():
    front = rasterize(SQUARE - 6, flat(SQUARE), HALVES, 16)[0]
    assert (front < NONE).sum() == 16
    assert (front[:4, :4] < NONE).all()


def test_frames_of_a_batch_do_not_mix():
    pair = torch.cat((SQUARE, SQUARE + 3))
    both = rasterize(pair, flat(pair), HALVES, 16)
    assert torch.equal(both[1], rasterize(SQUARE + 3, flat(SQUARE), HALVES, 16)[0])


def test_values_are_carried_linearly_over_the_triangles():
    front = rasterize(SQUARE, flat(SQUARE), HALVES, 16)
    x, y = SQUARE[..., 0], SQUARE[..., 1]
    values = torch.stack((x, y, 3 * x - 2 * y + 1), dim=-1)
    filled = fill(front, planes(SQUARE, values, HALVES))[0]
    axis = torch.arange(16) + 0.5
    wanted = torch.stack(
        (axis.expand(16, 16), axis.view(-1, 1).expand(16, 16), 3 * axis - 2 * axis.view(-1, 1) + 1)
    )
    inside = front[0] < NONE
    torch.testing.assert_close(filled[:, inside], wanted[:, inside], atol=1e-4, rtol=0)
    assert filled[:, ~inside].abs().max() == 0


def test_a_triangle_without_area_is_no_division_by_zero():
    line = torch.tensor([[[2.0, 2.0], [6.0, 6.0], [10.0, 10.0]]])
    assert planes(line, line, torch.tensor([[0, 1, 2]])).isfinite().all()
