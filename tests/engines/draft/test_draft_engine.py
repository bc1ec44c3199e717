"""Frames rendered by the draft engine."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from made_faces import HEIGHT, LOWER_LIP, UPPER_LIP, WIDTH, landmarks, picture

from liveportrait_v2v import compose
from liveportrait_v2v.engines import create_engine
from liveportrait_v2v.engines.draft import engine, face, sampling
from liveportrait_v2v.engines.draft.mesh import RING_PLACES, warp_mesh
from liveportrait_v2v.engines.draft.motion import RestingFace, Target, transfer
from liveportrait_v2v.engines.draft.raster import Surface, cross
from liveportrait_v2v.engines.draft.warp import Rings, make_warp, without_folds
from liveportrait_v2v.errors import SettingsError
from liveportrait_v2v.faces import FaceSquare, topology
from liveportrait_v2v.geometry import face_crop
from liveportrait_v2v.run.splice import DrivingMotion, splice
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

RATE = Fraction(30)
AT, SIZE = (180.0, 150.0), 7.0


def place(**changes) -> torch.Tensor:
    return landmarks(at=AT, size=SIZE, **changes)


def stretched(face: torch.Tensor) -> torch.Tensor:
    """Return the landmarks of a wider face at the same place."""
    face = face.clone()
    face[:, 0] = AT[0] + 1.15 * (face[:, 0] - AT[0])
    return face


def render(
    sources,
    drivings,
    frames=None,
    options=None,
    scenes=None,
    driving_scenes=(0,),
    driving_frames=None,
    **settings,
) -> torch.Tensor:
    """Render a whole clip in one chunk; None stands for a frame without a face. `scenes` are the source's.

    Driving frames are the source's if left out.
    """
    options = options or MotionOptions(smoothing=0.0)
    frames = picture(len(sources)) if frames is None else frames
    session = create_engine("draft").session(AnimationSettings(**settings), options, RATE, RATE)

    def chunk(faces):
        found = torch.tensor([f is not None for f in faces])
        return TrackedChunk(
            frames, torch.stack([torch.zeros(478, 3) if f is None else f for f in faces]), found
        )

    driving = replace(chunk(drivings), scenes=torch.tensor(driving_scenes))
    if driving_frames is not None:
        driving = replace(driving, frames=driving_frames)
    motions = [DrivingMotion(motion, motion, 0.0) for motion in session.motions([driving])]
    source = chunk(sources)
    if scenes is not None:
        source = replace(source, scenes=torch.tensor(scenes))
    return splice(session.render, source, motions).frames


@pytest.mark.parametrize(
    "options", [MotionOptions(smoothing=0.0), MotionOptions(smoothing=0.0, source_motion="add")]
)
@pytest.mark.parametrize("dsize", [64, 512])
def test_no_motion_gives_the_source_within_rounding(options, dsize):
    frames = torch.randint(0, 256, (2, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    result = render(
        [place(roll=7)] * 2, [landmarks(size=3)] * 2, frames, options, dsize=dsize, lip_zero=False
    )
    assert (result.int() - frames.int()).abs().max() <= 1


def test_motion_changes_the_face():
    result = render([place()] * 2, [place(), place(yaw=15, drop=1.2)])
    changed = (result[1].int() - picture()[0].int()).abs().amax(-1) > 3
    assert changed[140:240, 120:240].float().mean() > 0.2


@pytest.mark.parametrize(("squares", "counts"), [(0.5, [1] * 5), (2.5, [2, 2, 1]), (8, [5])])
def test_few_frames_of_large_faces_are_drawn_at_once_with_the_same_result(monkeypatch, squares, counts):
    sources, drivings = [place()] * 5, [place(drop=0.4 * k, yaw=3 * k) for k in range(5)]
    whole = render(sources, drivings)
    drawn, animate = [], engine.DraftSession._animate

    def counted(session, frames, *given):
        drawn.append(len(frames))
        return animate(session, frames, *given)

    side = face_crop(place().unsqueeze(0), AnimationSettings()).side.item()
    monkeypatch.setattr(engine, "PIXELS_AT_ONCE", squares * min(side**2, HEIGHT * WIDTH))
    monkeypatch.setattr(engine.DraftSession, "_animate", counted)
    assert torch.equal(render(sources, drivings), whole)
    assert drawn == counts


def test_pixels_outside_the_crop_keep_their_bytes():
    frames = torch.randint(0, 256, (2, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    result = render([place()] * 2, [place(), place(yaw=20, drop=1.5)], frames, scale=1.5)
    square = face_crop(place().unsqueeze(0), AnimationSettings(scale=1.5))
    outside = compose.border_mask(compose.PixelRect(0, 0, HEIGHT, WIDTH).to_square(square))[0] == 0
    assert outside.float().mean() > 0.2
    assert torch.equal(result[0][outside], frames[0][outside])
    assert torch.equal(result[1][outside], frames[1][outside])


def led_by(driving: torch.Tensor) -> tuple[Target, FaceSquare]:
    """Target of a resting face led by a driving face that was at rest before, and the crop square."""
    source, settings = place().unsqueeze(0), AnimationSettings()
    rests = RestingFace.of(source[0]), RestingFace.of(place())
    target = transfer(source, driving.unsqueeze(0), *rests, settings, MotionOptions(), True, False)
    return target, face_crop(source, settings)


def border_shift(stitching: bool) -> float:
    """Mean shift in pixels of the crop's outermost pixels when the head moves by 12 pixels."""
    target, square = led_by(landmarks(at=(AT[0] + 12, AT[1]), size=SIZE))
    shift = make_warp(target, Rings(target, square, stitching).mesh(target), 128).at_nodes()[0] * square.side
    edges = torch.cat((shift[:, 0], shift[:, -1], shift[:, :, 0], shift[:, :, -1]), dim=1)
    return edges.norm(dim=0).mean().item()


def test_stitching_keeps_the_crops_border_in_place_and_without_it_all_moves():
    assert border_shift(True) < 0.2
    assert border_shift(False) > 5


@pytest.mark.parametrize(
    "driving",
    [{"yaw": 60}, {"pitch": -50}, {"roll": 120}, {"at": (900, 20)}, {"yaw": -70, "roll": 60, "drop": 3}],
)
def test_nothing_around_the_face_folds_at_any_driving_motion(driving):
    target, square = led_by(landmarks(**{"at": AT, "size": SIZE, **driving}))
    _, after, _ = without_folds(target, square, True)[1]
    corners = after[:, warp_mesh().triangles[warp_mesh().outer]]
    assert cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]).min() > 0


@pytest.mark.parametrize(
    "far", [{"roll": 25}, {"roll": -25}, {"yaw": 25}, {"pitch": 20}, {"roll": 20, "yaw": -15}]
)
def test_a_head_that_turns_far_is_not_held_back(far):
    target, square = led_by(place(**far))
    held, _ = without_folds(target, square, True)
    assert held.strength.item() > 0.9


def test_a_small_turn_leaves_what_is_far_from_the_head_where_it_is():
    target, square = led_by(place(yaw=6, drop=1))
    before, after, _ = Rings(target, square, True).mesh(target)
    way = (after - before).norm(dim=-1)[0, 468:].view(len(RING_PLACES), -1)
    assert way[0].max() > 0.005
    assert way[RING_PLACES.index(0.85)].max() < 5e-4


@pytest.mark.parametrize("turn", [20, -20])
def test_the_outline_does_not_bulge_where_the_source_shows_it_edge_on(turn):
    source, driving = place(yaw=turn), place(yaw=-turn / 2)
    rests = RestingFace.of(source), RestingFace.of(place())
    target = transfer(source[None], driving[None], *rests, AnimationSettings(), MotionOptions(), True, False)
    square = face_crop(source[None], AnimationSettings())
    before, after, _ = without_folds(target, square, True)[1]
    moved = square.to_crop(target.moved[:, :468, :2])
    outline = list(topology.OVAL)
    outwards = torch.nn.functional.normalize(before[0, outline] - before[0, outline].mean(0), dim=-1)
    ways = [(points[0, outline] - before[0, outline]) for points in (moved, after)]
    free, held = ((way * outwards).sum(-1) for way in ways)
    assert free.max() > 0.01
    assert held.max() < 0.5 * free.max()
    nose = 4
    torch.testing.assert_close(after[0, nose], moved[0, nose])


def test_an_outline_that_does_not_bulge_holds_no_head_back():
    source, driving = place(yaw=-22, pitch=-10, roll=-12), place(yaw=-2, pitch=6, roll=-9, drop=2)
    rests = RestingFace.of(source), RestingFace.of(place())
    target = transfer(source[None], driving[None], *rests, AnimationSettings(), MotionOptions(), True, False)
    square = face_crop(source[None], AnimationSettings())
    _, bulging, _ = Rings(target, square, True).mesh(target)
    held, (_, after, _) = without_folds(target, square, True)
    assert not torch.equal(after, bulging)
    assert held.strength.item() > 0.98


@pytest.mark.parametrize("turn", [0, 40])
def test_a_tilted_head_takes_its_outline_along(turn):
    source = place(yaw=20)
    target, square = led_by(place())
    tilted = place(yaw=20, roll=turn)
    target = replace(
        target,
        source=source[None],
        moved=tilted[None],
        pose=face.first_pose(source[None]),
        moved_pose=face.first_pose(tilted[None]),
    )
    _, (_, after, _) = without_folds(target, square, True)
    torch.testing.assert_close(after[0, :468], square.to_crop(tilted[None, :468, :2])[0], atol=2e-3, rtol=0)


def squeezed(frames, factor):
    """Return square frames [N, side, side, 3], squeezed sideways towards their middle: float32 [N, 3, side, side]."""
    side = frames.shape[1]
    square = FaceSquare(torch.full((1, 2), side / 2), torch.eye(2)[None], torch.tensor([float(side)]))
    corners = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
    squeezing = (corners - 0.5) * torch.tensor([factor - 1, 0.0])
    halves = torch.tensor([[0, 1, 2], [0, 2, 3]])
    warp = Surface.of(48 * corners, torch.zeros(1, 4), squeezing, halves, 48)
    shift = warp.at_nodes()
    region = compose.PixelRect(0, 0, side, side)
    maps = (sampling.to_region(shift, square, region), sampling.squeezed(sampling.steps_of(shift)))
    return sampling.moved(frames, torch.cat(maps, dim=1), warp, square, region, [slice(0, 1)], torch.ones(1))[
        0
    ]


def test_what_the_warp_squeezes_into_a_pixel_is_averaged():
    stripes = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    middle = squeezed(stripes, 3.02)[0, 0, 20:76, 36:60]
    assert (middle - 127.5).abs().max() < 70


@pytest.mark.parametrize("factor", [1.7, 2.5, 4.0])
def test_a_hair_that_the_warp_squeezes_stays_a_line(factor):
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    hair = (1 - (x - 48 - 0.6 * (y - 48)).abs()).clamp_min(0) * 255
    line = squeezed(hair.byte()[None, ..., None].expand(-1, -1, -1, 3), factor)[0, 0, 32:64]
    light = line.sum(1)
    # A line of one brightness has the same share of its light in the brightest pixel of each row, but for its slope.
    assert light.std() < 0.12 * light.mean()
    assert light.mean() == pytest.approx(255 / factor, rel=0.1)
    assert line.amax(1).min() > 0.45 * line.amax()


def test_the_warp_is_smooth_outside_the_openings():
    target, square = led_by(place(yaw=10, drop=1))
    shift = make_warp(target, Rings(target, square, True).mesh(target), 128).at_nodes()[0]
    forehead = shift[:, 20:50, 40:90]
    assert forehead.diff(dim=1).abs().max() < 1.5 / 128
    assert forehead.diff(dim=2).abs().max() < 1.5 / 128


def test_an_opened_mouth_is_dark_inside_with_teeth_as_far_down_as_the_driving_face_shows_them():
    moved = place(drop=2.5)
    driving = picture(2)
    x, top, bottom = (int(v) for v in (moved[UPPER_LIP, 0], moved[UPPER_LIP, 1], moved[LOWER_LIP, 1]))
    driving[1, top:bottom, x - 20 : x + 20] = 20
    driving[1, top : top + (bottom - top) // 3, x - 20 : x + 20] = 240
    result = render([place()] * 2, [place(), moved], driving_frames=driving)[1].float()
    column = result[top:bottom, x - 2 : x + 2].mean((1, 2))
    skin = picture()[0, int(AT[1]) - 40, x].float().mean()
    assert bottom - top > 12
    assert column.min() < 0.6 * skin
    assert column[: len(column) // 2].max() > 1.3 * column[len(column) // 2 :].min()


def test_a_shut_mouth_shows_nothing_of_its_inside():
    result = render([place(drop=2)], [place()])[0].float()
    spot = place()[[UPPER_LIP, LOWER_LIP], :2].mean(0).int().tolist()
    assert (
        result[spot[1] - 1 : spot[1] + 2, spot[0] - 8 : spot[0] + 8].mean()
        > 0.6 * picture()[0].float().mean()
    )


def test_eyes_that_shut_for_a_moment_are_remembered_open():
    frames = picture(2)
    shown, eye = place(), place()[list(face.EYES[0][2]), :2].mean(0)
    x, y = eye.int().tolist()
    frames[0, y - 2 : y + 2, x - 2 : x + 2] = torch.tensor([0, 0, 255], dtype=torch.uint8)  # a blue iris
    result = render([shown, place(lids=0.02)], [place()] * 2, frames)
    blue = result[1, y - 2 : y + 2, x - 2 : x + 2].float().mean((0, 1))
    assert blue[2] > 150
    assert blue[0] < 100


def test_a_frame_without_a_face_passes_unchanged_and_the_next_one_is_animated():
    frames = torch.randint(0, 256, (4, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    moving = [place(), place(drop=1), place(drop=1), place(drop=1)]
    result = render([place(), None, place(), place()], [*moving[:3], None], frames)
    assert torch.equal(result[1], frames[1])
    assert torch.equal(result[3], frames[3])
    changes = (result.int() - frames.int()).abs().amax((1, 2, 3)).tolist()
    assert changes[0] <= 1  # animated by a face at rest
    assert changes[2] > 8


def test_a_face_that_reaches_over_the_frames_edge_is_rendered():
    faces = [landmarks(at=(10, 20), size=SIZE)] * 2
    result = render(faces, [place(), place(drop=1, yaw=10)])
    assert result.shape == (2, HEIGHT, WIDTH, 3)
    assert not torch.equal(result[1], picture()[0])


@pytest.mark.parametrize("place_of_crop", [{"vy_ratio": 0.5}, {"vy_ratio": -0.5}, {"vx_ratio": 0.4}])
def test_a_crop_that_leaves_out_eyes_or_mouth_is_rendered(place_of_crop):
    moving = [place(), place(drop=1, lids=0.3, yaw=5)]
    result = render([place()] * 2, moving, scale=1.0, **place_of_crop)
    assert not torch.equal(result[1], picture()[0])


@pytest.mark.parametrize("x", [-15, WIDTH + 15])
def test_a_face_with_one_eye_outside_the_frame_is_rendered(x):
    faces = [landmarks(at=(x, 150), size=SIZE)] * 2
    result = render(faces, [place(), place(drop=1, lids=0.3)])
    assert not torch.equal(result[1], picture()[0])


def test_a_face_outside_the_frame_changes_nothing():
    faces = [landmarks(at=(-900, -900), size=SIZE)] * 2
    assert torch.equal(render(faces, [place(), place(drop=1)]), picture(2))


def test_frames_and_landmarks_are_not_modified():
    frames, faces, moves = picture(2), [place()] * 2, [place(), place(drop=1)]
    kept = frames.clone(), faces[0].clone(), moves[1].clone()
    render(faces, moves, frames)
    assert torch.equal(frames, kept[0])
    assert torch.equal(faces[0], kept[1])
    assert torch.equal(moves[1], kept[2])


def test_the_result_does_not_depend_on_where_chunks_end():
    frames = torch.randint(0, 256, (9, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    faces = torch.stack([place(roll=k) for k in range(9)])
    moves = torch.stack([place(drop=0.2 * k, yaw=k) for k in range(9)])
    results = []
    for size in (9, 4):
        session = create_engine("draft").session(AnimationSettings(), MotionOptions(), RATE, RATE)
        cut = [slice(k, k + size) for k in range(0, 9, size)]
        present = torch.ones(9, dtype=torch.bool)
        motions = list(session.motions(TrackedChunk(frames[s], moves[s], present[s]) for s in cut))
        chunks = session.source(TrackedChunk(frames[s], faces[s], present[s]) for s in cut)
        rendered, at = [], 0
        for chunk in chunks:
            rendered.append(
                splice(
                    session.render, chunk, [DrivingMotion(m, m, 0.0) for m in motions[at : at + len(chunk)]]
                ).frames
            )
            at += len(chunk)
        results.append(torch.cat(rendered))
    # Rounding may put one sample of a pixel in noise into the one beside.
    difference = (results[0].int() - results[1].int()).abs()
    assert (difference > 1).sum() < 1e-5 * difference.numel()
    assert difference.max() < 40


def test_a_still_that_is_shown_frame_by_frame_moves_as_one_whose_every_frame_is_read_anew():
    frame = torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    moves = torch.stack([place(drop=0.2 * k, yaw=2 * k) for k in range(6)])
    other = landmarks(at=(200.0, 160.0), size=6.0)

    def drawn(between: torch.Tensor | None) -> torch.Tensor:
        session = create_engine("draft").session(AnimationSettings(), MotionOptions(), None, RATE)
        session.survey([TrackedChunk(frame, moves[:1], torch.tensor([True]))])
        results = []
        for motion in session.motions(TrackedChunk(frame, m[None], torch.tensor([True])) for m in moves):
            still = TrackedChunk(frame.clone(), place()[None].clone(), torch.tensor([True]))
            results.append(session.render(still, motion[None]).frames)
            if between is not None:  # the session of another face takes the caches' places
                away = TrackedChunk(frame, between[None], torch.tensor([True]))
                session.for_another_face().render(away, motion[None])
        return torch.cat(results)

    assert torch.equal(drawn(None), drawn(other))


def test_a_moment_between_two_driving_frames_is_between_their_motions():
    frames = picture(1)
    session = create_engine("draft").session(AnimationSettings(), MotionOptions(smoothing=0.0), RATE, RATE)
    chunk = TrackedChunk(frames, place().unsqueeze(0), torch.tensor([True]))
    rest, opened = place(), place(drop=2)
    list(session.motions([TrackedChunk(frames, rest.unsqueeze(0), torch.tensor([True]))]))
    half = splice(session.render, chunk, [DrivingMotion(rest, opened, 0.5)]).frames
    alone = splice(session.render, chunk, [DrivingMotion(torch.lerp(rest, opened, 0.5), None, 0.0)]).frames
    assert torch.equal(half, alone)


def test_smoothing_reduces_jitter_and_restarts_after_a_gap():
    noise = torch.randn(40, 478, 3, generator=torch.Generator().manual_seed(0))
    marks = place() + noise
    present = torch.ones(40, dtype=torch.bool)
    present[20:24] = False
    frames = torch.zeros(40, 4, 4, 3, dtype=torch.uint8)
    session = create_engine("draft").session(AnimationSettings(), MotionOptions(smoothing=1e-5), RATE, RATE)
    out = list(session.motions([TrackedChunk(frames, marks, present)]))
    assert [motion is not None for motion in out] == present.tolist()
    smooth = torch.stack([motion[:478] for motion in out if motion is not None])
    assert (smooth - place()).std() < 0.65 * noise.std()


def test_after_a_cut_another_face_keeps_its_own_shape_and_pose():
    other = landmarks(at=(90.0, 90.0), size=4.0, roll=20, drop=0.0)
    frames = torch.randint(0, 256, (4, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    result = render([place(), place(), other, other], [place()] * 4, frames)
    assert (result.int() - frames.int()).abs().max() <= 1


@pytest.mark.parametrize("missing", [(), (2,)])
def test_after_a_cut_another_face_at_the_same_place_keeps_its_own_shape(missing):
    # Also where the cut's first frame is not rendered, for want of a driving face.
    frames = torch.randint(0, 256, (5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    other = stretched(place())
    drivings = [None if k in missing else place() for k in range(5)]
    result = render([place(), place(), *[other] * 3], drivings, frames, scenes=[0, 0, 1, 1, 1])
    assert (result.int() - frames.int()).abs().max() <= 1


@pytest.mark.parametrize("options", [{}, {"lip_zero": False}])
def test_behind_a_cut_in_the_driving_clip_another_face_moves_nothing_by_its_proportions(options):
    frames = torch.randint(0, 256, (4, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    drivings = [place(), place(), *[stretched(place(roll=3))] * 2]
    result = render([place()] * 4, drivings, frames, driving_scenes=(0, 0, 1, 1), **options)
    assert (result.int() - frames.int()).abs().max() <= 1


def test_behind_a_cut_in_the_driving_clip_another_face_moves_the_source_as_far_as_itself():
    alone = render([place()] * 2, [stretched(place()), stretched(place(drop=2, yaw=8))])
    behind = render(
        [place()] * 3,
        [place(), stretched(place()), stretched(place(drop=2, yaw=8))],
        driving_scenes=(0, 1, 1),
    )
    moved = (alone[1].int() - picture(1)[0].int()).abs().float().mean()
    assert (behind[2].int() - alone[1].int()).abs().float().mean() < 0.15 * moved


def test_behind_a_cut_in_the_driving_clip_the_same_face_keeps_its_rest():
    drivings = [place(), place(drop=2), place(drop=2)]
    within, behind = (render([place()] * 3, drivings, driving_scenes=s) for s in ((0, 0, 0), (0, 1, 1)))
    assert torch.equal(within, behind)


def test_smoothing_does_not_reach_across_a_cut_to_another_face_at_the_same_place():
    frames = torch.zeros(20, 4, 4, 3, dtype=torch.uint8)
    marks = torch.stack([place()] * 10 + [stretched(place())] * 10)
    scenes = torch.tensor([0] * 10 + [1] * 10)
    chunk = TrackedChunk(frames, marks, torch.ones(20, dtype=torch.bool), scenes=scenes)
    session = create_engine("draft").session(AnimationSettings(), MotionOptions(smoothing=1e-5), RATE, RATE)
    (smooth,) = session.source([chunk])
    torch.testing.assert_close(smooth.landmarks, marks, atol=1e-3, rtol=0)


def test_smoothing_does_not_reach_across_a_cut():
    frames = torch.zeros(20, 4, 4, 3, dtype=torch.uint8)
    marks = torch.stack([place()] * 10 + [landmarks(at=(60.0, 60.0), size=4.0)] * 10)
    session = create_engine("draft").session(AnimationSettings(), MotionOptions(smoothing=1e-5), RATE, RATE)
    out = torch.stack(list(session.motions([TrackedChunk(frames, marks, torch.ones(20, dtype=torch.bool))])))
    torch.testing.assert_close(out[:, :478], marks, atol=1e-3, rtol=0)


def test_clips_of_few_frames_a_second_are_smoothed_less():
    noise = torch.randn(40, 478, 3, generator=torch.Generator().manual_seed(0))
    chunk = TrackedChunk(
        torch.zeros(40, 4, 4, 3, dtype=torch.uint8), place() + noise, torch.ones(40, dtype=torch.bool)
    )
    left = []
    for rate in (Fraction(60), Fraction(30), Fraction(12)):
        session = create_engine("draft").session(AnimationSettings(), MotionOptions(), RATE, rate)
        left.append((torch.stack(list(session.motions([chunk])))[:, :478] - place()).std().item())
    assert left[0] < left[1] < left[2]


def test_the_chosen_reference_frame_is_the_one_that_moves_nothing():
    frames = torch.randint(0, 256, (3, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    options = MotionOptions(smoothing=0.0, reference_frame=2)
    session = create_engine("draft").session(AnimationSettings(lip_zero=False), options, RATE, RATE)
    drivings = torch.stack([place(yaw=15, drop=1.0), place(yaw=20, drop=1.5), place()])
    chunk = TrackedChunk(frames, drivings, torch.ones(3, dtype=torch.bool))
    session.survey([chunk])
    motions = [DrivingMotion(motion, motion, 0.0) for motion in session.motions([chunk])]
    result = splice(
        session.render, TrackedChunk(frames, place().expand(3, -1, -1), chunk.present), motions
    ).frames
    changes = (result.int() - frames.int()).abs().amax((1, 2, 3)).tolist()
    assert changes[0] > 8
    assert changes[1] > 8
    assert changes[2] <= 1


def test_a_reference_frame_beyond_the_clips_end_is_refused():
    session = create_engine("draft").session(
        AnimationSettings(), MotionOptions(reference_frame=5), RATE, RATE
    )
    with pytest.raises(SettingsError, match=r"reference_frame .* got 5 of 1 frames"):
        session.survey([TrackedChunk(picture(1), place().unsqueeze(0), torch.tensor([True]))])
