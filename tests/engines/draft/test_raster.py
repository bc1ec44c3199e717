"""Rasterization of triangles."""

from __future__ import annotations

import torch

from liveportrait_v2v.engines.draft.raster import BRIDGED_NODES, Surface, fill, planes, rasterize

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


def test_between_nodes_the_edge_of_what_is_in_front_is_where_its_triangles_end():
    behind = torch.tensor([[[-8.0, -8.0], [24.0, -8.0], [24.0, 24.0], [-8.0, 24.0]]])
    front = torch.tensor([[[5.3, 0.0], [16.0, 0.0], [16.0, 16.0], [7.3, 16.0]]])
    values = torch.tensor([0.0] * 4 + [1.0] * 4).view(1, 8, 1)
    depth = torch.tensor([[5.0] * 4 + [1.0] * 4])
    triangles = torch.cat((HALVES, HALVES + 4))
    surface = Surface.of(torch.cat((behind, front), dim=1), depth, values, triangles, 16)
    y, x = torch.arange(4, 12, 0.25), torch.arange(3, 10, 0.05)
    places = torch.cartesian_prod(x, y).unsqueeze(1)
    shown = surface.at(torch.zeros(len(places), dtype=torch.int64), places).view(len(x), len(y))
    edge = x[shown.int().argmax(0)]
    assert ((shown == 0) | (shown == 1)).all()
    assert (edge - (5.3 + y / 8 - BRIDGED_NODES)).abs().max() < 0.06  # in nodes; by them alone, up to 0.5


def test_between_nodes_a_triangle_that_none_of_them_sees_leaves_no_hole():
    corners = torch.tensor([[0.0, 0.0], [6.6, 0.0], [6.9, 0.0], [16.0, 0.0]])
    strip = torch.cat((corners, corners + torch.tensor([0.0, 16.0]))).unsqueeze(0)
    triangles = torch.tensor([[0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6]]) + 4
    behind = torch.tensor([[[-8.0, -8.0], [24.0, -8.0], [24.0, 24.0], [-8.0, 24.0]]])
    values = torch.tensor([0.0] * 4 + [1.0] * 8).view(1, 12, 1)
    depth = torch.tensor([[5.0] * 4 + [1.0] * 8])
    surface = Surface.of(torch.cat((behind, strip), dim=1), depth, values, torch.cat((HALVES, triangles)), 16)
    places = torch.tensor([[[6.75, 8.5]]])
    assert surface.at(torch.tensor([0]), places).item() == 1
