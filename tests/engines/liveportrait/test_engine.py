"""What the engine does with clips: which frames lead which, what is computed when, and where the result lies."""

from __future__ import annotations

import gc
import itertools
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_faces import landmarks
from made_networks import MadeNetworks

from liveportrait_v2v import compose
from liveportrait_v2v.engines.liveportrait.batches import MemoryWarning
from liveportrait_v2v.engines.liveportrait.crops import source_crops, source_squares
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.engines.liveportrait.model import LivePortraitModel
from liveportrait_v2v.engines.liveportrait.motion import Motion, driven_axes, place
from liveportrait_v2v.engines.liveportrait.networks import Networks
from liveportrait_v2v.errors import LivePortraitError, SettingsError
from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.media import Clip, VideoWriter
from liveportrait_v2v.run import animate
from liveportrait_v2v.run.splice import DrivingMotion, splice
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

RATE = Fraction(30)
SIDE = 240
PLAIN = {"stitching": False, "lip_zero": False}


def pictures(count: int, seed: int = 0, width: int = SIDE) -> torch.Tensor:
    """Smooth colours that drift from frame to frame, uint8 [count, 240, width, 3]."""
    make = torch.Generator().manual_seed(seed)
    first, last = torch.rand(2, 1, 3, 6, 6, generator=make)
    steps = torch.linspace(0, 1, max(count, 2))[:count].view(-1, 1, 1, 1)
    grown = F.interpolate(torch.lerp(first, last, steps), (SIDE, width), mode="bicubic").clamp(0, 1)
    return (grown * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def face(**changes) -> torch.Tensor:
    return landmarks(**{"at": (SIDE / 2, SIDE / 2), "size": 5.0, **changes})


def shot(
    frames: torch.Tensor, faces: list[torch.Tensor | None] | None = None, scenes: list[int] | None = None
) -> TrackedChunk:
    faces = [face()] * len(frames) if faces is None else faces
    found = torch.tensor([f is not None for f in faces])
    marks = torch.stack([torch.zeros(478, 3) if f is None else f for f in faces])
    return TrackedChunk(frames, marks, found, scenes=torch.tensor(scenes or [0]))


def begin(networks=None, options=None, rates=(RATE, RATE), **settings):
    """A session without smoothing, corrections and lip_zero, unless they are asked for."""
    engine = LivePortraitEngine(networks or MadeNetworks())
    options = options or MotionOptions(smoothing=0.0)
    return engine.session(AnimationSettings(**{**PLAIN, **settings}), options, *rates)


def lead(session, *shots: TrackedChunk) -> list[DrivingMotion]:
    session.survey(iter(shots))
    return [DrivingMotion(motion, motion, 0.0) for motion in session.motions(iter(shots))]


def target_of(networks: MadeNetworks) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints of source and target of all frames that were rendered."""
    calls = networks.calls_of("render")
    return torch.cat([c[1] for c in calls]), torch.cat([c[2] for c in calls])


@pytest.mark.parametrize("driving_option", ["pose-friendly", "expression-friendly"])
def test_a_driving_clip_that_stands_still_leaves_the_source_as_it_is(driving_option):
    networks = MadeNetworks()
    options = MotionOptions(smoothing=3e-6, source_motion="add", driving_option=driving_option)
    session = begin(networks, options)
    cues = lead(session, shot(pictures(1, seed=1).expand(4, -1, -1, -1)))
    splice(session.render, shot(pictures(4)), cues)
    source, target = target_of(networks)
    torch.testing.assert_close(target, source, atol=3e-6, rtol=0)


def test_the_keypoints_are_those_of_the_networks_answers_put_together():
    networks = MadeNetworks()
    session = begin(networks, MotionOptions(smoothing=0.0, source_motion="add"))
    driving = shot(pictures(3, seed=1))
    cues = lead(session, driving)
    splice(session.render, shot(pictures(3)), cues)
    source, target = target_of(networks)

    answers = [networks.motion(crop) for (crop,) in networks.calls_of("motion")]
    drive, own = answers[:3], answers[3:]
    for k in range(3):
        turns = [euler(a) for a in (own[k], drive[k], drive[0])]
        turn = turns[1] @ turns[2].T @ turns[0]
        free = [1, 2, 6, *range(11, 21)]
        exp = own[k].exp[0].clone()
        change = (drive[k].exp - drive[0].exp)[0]
        exp[free] += change[free]
        for axis, points in ((1, [3, 4, 9]), (2, [5, 8, 9])):
            exp[points, axis] += change[points, axis]
        flat = own[k].t[0] * torch.tensor([1.0, 1.0, 0.0])
        wanted = own[k].scale[0] * (own[k].kp[0] @ turn + exp) + flat
        torch.testing.assert_close(target[k], wanted, atol=1e-5, rtol=0)
        start = own[k].scale[0] * (own[k].kp[0] @ turns[0] + own[k].exp[0]) + flat
        torch.testing.assert_close(source[k], start, atol=1e-5, rtol=0)


def euler(answer) -> torch.Tensor:
    """Rx, Ry and Rz multiplied as columns, transposed for rows."""
    p, y, r = (torch.deg2rad(angle[0]) for angle in (answer.pitch, answer.yaw, answer.roll))
    zero, one = torch.zeros(()), torch.ones(())

    def matrix(*rows):
        return torch.stack([torch.stack(row) for row in rows])

    rx = matrix((one, zero, zero), (zero, p.cos(), -p.sin()), (zero, p.sin(), p.cos()))
    ry = matrix((y.cos(), zero, y.sin()), (zero, one, zero), (-y.sin(), zero, y.cos()))
    rz = matrix((r.cos(), -r.sin(), zero), (r.sin(), r.cos(), zero), (zero, zero, one))
    return (rz @ ry @ rx).T


@pytest.mark.parametrize("dsize", [64, 256, 512, 1024])
def test_the_result_lies_where_the_face_is_whatever_dsize(dsize):
    """The made networks render the crop itself: pasted back, it has to meet the frame it was cut from."""
    frames = pictures(2)
    session = begin(dsize=dsize)
    result = splice(
        session.render,
        shot(frames, [face(roll=20, size=3), face(roll=-35, at=(100, 130), size=3)]),
        lead(session, shot(frames)),
    ).frames
    assert (result.int() - frames.int()).abs().max() <= 3


def test_frames_are_the_source_outside_of_the_square():
    frames = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.uint8)
    session = begin(scale=1.2)
    result = splice(session.render, shot(frames), lead(session, shot(frames))).frames
    square = source_squares(face()[None], AnimationSettings(scale=1.2))
    outside = compose.border_mask(compose.PixelRect(0, 0, SIDE, SIDE).to_square(square))[0] == 0
    assert outside.float().mean() > 0.2
    assert torch.equal(result[0][outside], frames[0][outside])
    assert not torch.equal(result, frames)


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_a_source_frame_without_a_face_passes_and_the_others_keep_their_motion(missing):
    full, gappy = MadeNetworks(), MadeNetworks()
    frames = pictures(5)
    options = MotionOptions(smoothing=0.0, source_motion="add")
    faces = [None if k == missing else face() for k in range(5)]
    for networks, who in ((full, None), (gappy, faces)):
        session = begin(networks, options)
        result = splice(session.render, shot(frames, who), lead(session, shot(pictures(5, seed=1)))).frames
    assert torch.equal(result[missing], frames[missing])
    rest = [k for k in range(5) if k != missing]
    torch.testing.assert_close(target_of(gappy)[1], target_of(full)[1][rest])


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_a_driving_frame_without_a_face_shows_the_source_and_shifts_nothing(missing):
    frames, driving = pictures(5), pictures(5, seed=1)
    session = begin(MadeNetworks())
    faces = [None if k == missing else face() for k in range(5)]
    cues = lead(session, shot(driving, faces))
    assert [cue.before is None for cue in cues] == [k == missing for k in range(5)]
    result = splice(session.render, shot(frames), cues).frames
    assert torch.equal(result[missing], frames[missing])
    whole = lead(begin(MadeNetworks()), shot(driving))
    for k in set(range(5)) - {missing}:
        assert torch.equal(cues[k].before, whole[k].before)


def test_what_comes_out_does_not_depend_on_where_the_chunks_end():
    results = []
    for cuts in ([6], [1, 3, 2]):
        networks = MadeNetworks(stitch=0.01)
        session = begin(networks, MotionOptions(), stitching=True, lip_zero=True)
        sources, drivings = pictures(6).split(cuts), pictures(6, seed=1).split(cuts)
        cues = lead(session, *(shot(part) for part in drivings))
        made = []
        for part in session.source(shot(part) for part in sources):
            made.append(splice(session.render, part, cues[: len(part)]).frames)
            del cues[: len(part)]
        results.append((torch.cat(made), target_of(networks)[1]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-6, rtol=0)


def test_rotation_and_expression_are_smoothed_over_time_as_by_the_matrix_smoother():
    tints = torch.rand(20, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    driving = shot((pictures(20, seed=1) * tints).to(torch.uint8))
    raw = torch.stack([cue.before for cue in lead(begin(), driving)])
    calm = torch.stack([cue.before for cue in lead(begin(options=MotionOptions(smoothing=1e-6)), driving)])
    wanted = matrix_smoother(raw[:, :72].double().numpy(), 1e-6)
    np.testing.assert_allclose(calm[:, :72].numpy(), wanted, atol=2e-5)
    assert torch.equal(calm[:, 72:], raw[:, 72:])
    assert (calm - raw).abs().max() > 1e-3


def matrix_smoother(values: np.ndarray, variance: float) -> np.ndarray:
    """Kalman filter and Rauch-Tung-Striebel smoother over all frames, with matrices, as the textbook has them."""
    q, r, one = (np.eye(values.shape[1]) * scale for scale in (1e-5, variance, 1.0))
    mean, p, steps = values[0], one, []
    for t, value in enumerate(values):
        before = p if t == 0 else p + q
        gain = before @ np.linalg.inv(before + r)
        mean, p = mean + gain @ (value - mean), (one - gain) @ before
        steps.append((mean, p, before))
    smoothed = [mean]
    for (mean, p, _), (_, _, before) in zip(steps[-2::-1], steps[:0:-1], strict=True):
        smoothed.append(mean + p @ np.linalg.inv(before) @ (smoothed[-1] - mean))
    return np.stack(smoothed[::-1])


def test_rotations_are_orthonormal_after_smoothing_and_between_frames():
    tints = torch.rand(12, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    driving = shot((pictures(12, seed=1) * tints).to(torch.uint8))
    rows = [cue.before for cue in lead(begin(options=MotionOptions(smoothing=1e-4)), driving)]
    mixed = torch.stack([DrivingMotion(a, b, 0.4).motion() for a, b in itertools.pairwise(rows)])
    turns = mixed[:, :9].unflatten(1, (3, 3))
    assert (turns @ turns.mT - torch.eye(3)).abs().max() > 1e-4
    turns = Motion.unpack(mixed).rotation
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(11, 3, 3), atol=1e-6, rtol=0)


def test_smoothing_starts_anew_at_a_cut_that_leaves_the_face_at_its_place():
    first, second = pictures(5, seed=1), pictures(5, seed=2)
    session = begin(options=MotionOptions(smoothing=1e-4))
    cut = lead(session, shot(torch.cat((first, second)), scenes=[0] * 5 + [1] * 5))
    alone = lead(begin(options=MotionOptions(smoothing=1e-4)), shot(second))
    torch.testing.assert_close(cut[5].before, alone[0].before)


def test_smoothing_starts_anew_after_a_gap_and_at_a_cut():
    first, second = pictures(5, seed=1), pictures(5, seed=2)
    faces = [face()] * 5 + [face(at=(60.0, 60.0), size=3.0)] * 5
    session = begin(options=MotionOptions(smoothing=1e-4))
    cut = lead(session, shot(torch.cat((first, second)), faces))
    alone = lead(begin(options=MotionOptions(smoothing=1e-4)), shot(second, faces[5:]))
    torch.testing.assert_close(cut[5].before, alone[0].before)


def test_a_stills_features_are_computed_once():
    networks = MadeNetworks()
    session = begin(networks, rates=(None, RATE))
    cues = lead(session, shot(pictures(9, seed=1)))
    networks.calls.clear()
    (first,) = session.source([shot(pictures(1))])
    results = [splice(session.render, first, cues[:1]).frames]
    results += [splice(session.render, first.hold(4), cues[k : k + 4]).frames for k in (1, 5)]
    assert len(networks.calls_of("appearance")) == len(networks.calls_of("motion")) == 1
    assert len(torch.cat(results)) == 9
    assert len(target_of(networks)[1]) == 9


def test_a_held_frame_looks_as_it_did_when_it_came():
    frames = pictures(3)
    driving = pictures(1, seed=1).expand(5, -1, -1, -1)
    session = begin()
    cues = lead(session, shot(driving))
    last = shot(frames)
    shown = splice(session.render, last, cues[:3]).frames
    held = splice(session.render, last.hold(2), cues[3:]).frames
    assert torch.equal(held[0], shown[2])
    assert torch.equal(held[1], shown[2])


def test_a_held_frame_is_the_last_one_even_if_that_one_had_no_motion():
    networks = MadeNetworks()
    session = begin(networks)
    cues = lead(session, shot(pictures(1, seed=1)))
    first, last = shot(pictures(1)), replace(shot(pictures(1, seed=5)), index=1)
    splice(session.render, first, cues)
    splice(session.render, last, [DrivingMotion(None, None, 0.0)])
    splice(session.render, last.hold(1), cues)
    rendered = networks.calls_of("render")[-1][0]
    settings = AnimationSettings()
    wanted = source_crops(last.frames, source_squares(last.landmarks, settings), settings)
    assert torch.equal(rendered, wanted)


def test_a_chunk_that_half_precision_cannot_do_is_computed_again_with_its_features_and_the_next_one_is_not():
    class Overflowing(MadeNetworks):
        overflows = True

        def appearance(self, crops):
            volume = super().appearance(crops)
            return volume / (self.precise or not self.overflows)

    networks, plain = Overflowing(), MadeNetworks()
    frames = pictures(3)
    made = []
    for kind in (networks, plain):
        session = begin(kind)
        cues = lead(session, shot(pictures(1, seed=1))) * 3
        made.append([splice(session.render, shot(frames), cues).frames])
        networks.overflows = False
        made[-1].append(splice(session.render, shot(frames), cues).frames)
        networks.overflows = True
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])
    assert sum(len(arguments[0]) for arguments in networks.calls_of("appearance")) == 9


def test_on_a_gpu_a_chunk_is_looked_at_when_it_is_settled_in_whatever_thread(monkeypatch):
    class Overflowing(MadeNetworks):
        overflows = True

        def render(self, volume, kp_source, kp_driving):
            return super().render(volume, kp_source, kp_driving) / (self.precise or not self.overflows)

    monkeypatch.setattr(LivePortraitModel, "device", torch.device("mps"))  # tensors stay on the CPU
    frames, made, rendered = pictures(3), [], []
    for networks in (Overflowing(), MadeNetworks()):
        session = begin(networks)
        cues = lead(session, shot(pictures(1, seed=1))) * 3
        rendered.append(splice(session.render, shot(frames), cues))
        networks.overflows = False
        later = splice(session.render, shot(frames), cues)
        with ThreadPoolExecutor(1) as sink:
            made += [sink.submit(part.settled).result().frames for part in (rendered[-1], later)]
    assert not torch.equal(rendered[0].frames, made[0])
    assert all(torch.equal(part, made[2]) for part in made)


def test_settled_frames_hold_nothing_for_a_rescue(monkeypatch):
    monkeypatch.setattr(LivePortraitModel, "device", torch.device("mps"))
    session = begin()
    rendered = splice(session.render, shot(pictures(2)), lead(session, shot(pictures(1, seed=1))) * 2)
    assert rendered.check is not None
    settled = rendered.settled()
    assert settled.check is None
    assert settled.frames is rendered.frames
    assert settled.settled() is settled


def test_on_a_cpu_frames_are_settled_at_once():
    session = begin()
    rendered = splice(session.render, shot(pictures(2)), lead(session, shot(pictures(1, seed=1))) * 2)
    assert rendered.check is None


def test_features_of_past_frames_are_let_go():
    alive: list[weakref.ref] = []

    class Watched(MadeNetworks):
        def appearance(self, crops):
            volume = super().appearance(crops)
            alive.append(weakref.ref(volume))
            return volume

        def _called(self, name, *arguments):
            pass

    session = begin(Watched())
    cues = lead(session, shot(pictures(1, seed=1))) * 2
    for part in session.source(shot(pictures(2, seed=k)) for k in range(6)):
        splice(session.render, part, cues)
        gc.collect()
        assert sum(ref() is not None for ref in alive) == 0
    assert len(alive) == 12


def test_after_a_cut_in_the_source_its_first_frame_is_the_new_resting_face():
    networks = MadeNetworks()
    session = begin(networks)
    cues = lead(session, shot(pictures(1, seed=1).expand(4, -1, -1, -1)))
    faces = [face(), face(), face(at=(70.0, 80.0), size=3.0), face(at=(70.0, 80.0), size=3.0)]
    splice(session.render, shot(torch.cat((pictures(2), pictures(2, seed=5))), faces), cues)
    source, target = target_of(networks)
    same = [(source[k] - target[k]).abs().max().item() < 1e-5 for k in range(4)]
    assert same == [True, False, True, False]


def test_after_a_cut_to_another_face_at_the_same_place_its_first_frame_is_the_new_resting_face():
    networks = MadeNetworks()
    session = begin(networks)
    cues = lead(session, shot(pictures(1, seed=1).expand(4, -1, -1, -1)))
    splice(session.render, shot(torch.cat((pictures(2), pictures(2, seed=5))), scenes=[0, 0, 1, 1]), cues)
    source, target = target_of(networks)
    same = [(source[k] - target[k]).abs().max().item() < 1e-5 for k in range(4)]
    assert same == [True, False, True, False]


def test_the_chosen_reference_frame_is_the_one_that_moves_nothing():
    networks = MadeNetworks()
    options = MotionOptions(smoothing=0.0, source_motion="add", reference_frame=2)
    session = begin(networks, options)
    splice(
        session.render, shot(pictures(5)), lead(session, shot(pictures(3, seed=1)), shot(pictures(2, seed=2)))
    )
    source, target = target_of(networks)
    same = [(source[k] - target[k]).abs().max().item() < 1e-5 for k in range(5)]
    assert same == [False, False, True, False, False]


def wider() -> torch.Tensor:
    """A face of other proportions at the same place."""
    marks = face()
    marks[:, 0] = SIDE / 2 + 1.25 * (marks[:, 0] - SIDE / 2)
    return marks


@pytest.mark.parametrize(
    ("behind", "reference_frame", "still"),
    [
        (wider, 0, [True, False, True, False]),  # another person starts from their own first frame
        (face, 0, [True, False, False, False]),
        (wider, 3, [True, False, False, True]),  # the chosen frame is of the other person
    ],
)
def test_relative_motion_starts_anew_behind_a_cut_to_another_person(behind, reference_frame, still):
    networks = MadeNetworks()
    options = MotionOptions(smoothing=0.0, source_motion="add", reference_frame=reference_frame)
    session = begin(networks, options)
    driving = shot(pictures(4, seed=1), [face(), face(), behind(), behind()], scenes=[0, 0, 1, 1])
    splice(session.render, shot(pictures(4)), lead(session, driving))
    source, target = target_of(networks)
    same = [(source[k] - target[k]).abs().max().item() < 1e-5 for k in range(4)]
    assert same == still


def test_motion_behind_a_cut_is_as_far_from_its_own_start_as_alone():
    pair = pictures(2, seed=5)
    both, alone = MadeNetworks(), MadeNetworks()
    options = MotionOptions(smoothing=0.0, source_motion="add")
    session = begin(both, options)
    driving = shot(torch.cat((pictures(1, seed=1), pair)), [face(), wider(), wider()], scenes=[0, 1, 1])
    splice(session.render, shot(pictures(3)), lead(session, driving))
    session = begin(alone, options)
    splice(session.render, shot(pictures(3)[1:]), lead(session, shot(pair, [wider()] * 2)))
    torch.testing.assert_close(target_of(both)[1][1:], target_of(alone)[1], atol=1e-5, rtol=0)


def test_a_reference_frame_without_a_face_is_the_next_one_with():
    networks = MadeNetworks()
    session = begin(networks, MotionOptions(smoothing=0.0, source_motion="add", reference_frame=1))
    splice(
        session.render, shot(pictures(3)), lead(session, shot(pictures(3, seed=1), [face(), None, face()]))
    )
    source, target = target_of(networks)
    torch.testing.assert_close(source[1], target[1], atol=1e-5, rtol=0)


def test_a_reference_frame_behind_the_last_face_is_refused():
    session = begin(options=MotionOptions(reference_frame=3))
    with pytest.raises(SettingsError, match=r"reference_frame .* got 3 of 3 frames"):
        session.survey([shot(pictures(3))])


def test_a_driving_clip_that_is_not_square_is_cut_to_its_face_with_one_square():
    frames = pictures(4, seed=1, width=400)
    faces = [face(at=(100 + 20 * k, 120)) for k in range(4)]
    for parts in ([shot(frames, faces)], [shot(frames[:1], faces[:1]), shot(frames[1:], faces[1:])]):
        networks = MadeNetworks()
        session = begin(networks)
        lead(session, *parts)
        read = torch.cat([call[0] for call in networks.calls_of("motion")])[-4:]
        square = session._square
        assert square.center[0, 0].item() == pytest.approx(130, abs=3)
        wanted = compose.crop(frames, square, 256)
        torch.testing.assert_close(read, wanted, atol=0.02, rtol=0)


def test_a_square_driving_clip_is_read_whole_unless_it_is_to_be_cut():
    for crop_drive_face in (False, True):
        session = begin(crop_drive_face=crop_drive_face)
        lead(session, shot(pictures(2, seed=1)))
        assert (session._square is not None) == crop_drive_face


def test_out_of_memory_goes_on_with_smaller_batches_to_the_same_result():
    frames, results = pictures(6), []
    for most in (100, 2):
        engine = LivePortraitEngine(MadeNetworks(most=most), batch=8)
        session = engine.session(AnimationSettings(**PLAIN), MotionOptions(), RATE, RATE)
        if most == 2:
            with pytest.warns(MemoryWarning):
                cues = lead(session, shot(pictures(6, seed=1)))
        else:
            cues = lead(session, shot(pictures(6, seed=1)))
        results.append(splice(session.render, shot(frames), cues).frames)
    assert torch.equal(*results)
    assert engine.model.batches.size == 2


def test_what_a_caller_gives_is_not_modified():
    frames, marks = pictures(3), torch.stack([face()] * 3)
    session = begin(lip_zero=True, stitching=True)
    cues = lead(session, shot(pictures(3, seed=1)))
    kept = frames.clone(), marks.clone(), [cue.before.clone() for cue in cues]
    splice(session.render, TrackedChunk(frames, marks, torch.ones(3, dtype=torch.bool)), cues)
    assert torch.equal(frames, kept[0])
    assert torch.equal(marks, kept[1])
    assert all(torch.equal(cue.before, row) for cue, row in zip(cues, kept[2], strict=True))


def test_a_driving_stills_expression_is_taken_and_the_head_stays():
    networks = MadeNetworks()
    session = begin(networks, MotionOptions(source_motion="add"), rates=(RATE, None))
    splice(session.render, shot(pictures(2)), lead(session, shot(pictures(1, seed=1))) * 2)
    driving, *own = (networks.motion(crop) for (crop,) in networks.calls_of("motion"))
    _, target = target_of(networks)
    for k in range(2):
        neutral = torch.zeros(1, 21, 3)
        neutral[0, 19], neutral[0, 20] = torch.tensor([[0, -0.015, -0.002], [0, 0.006, 0.003]])
        exp = own[k].exp + driven_axes("all", whole=False) * (driving.exp - neutral)
        none = torch.zeros(1, 2), torch.zeros(1, 1)
        wanted = place(own[k].kp, Motion(euler(own[k])[None], exp, own[k].scale, own[k].t, *none))
        torch.testing.assert_close(target[k], wanted[0], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def real(clips, tmp_path_factory):
    """make(count, rate): clips of a real face, 200 x 200."""
    frames = next(Clip(clips["single_face"]).chunks(12)).frames[:, 60:260, 220:420].contiguous()
    folder = tmp_path_factory.mktemp("clips")

    def make(count: int, rate: int):
        path = folder / f"{count}_{rate}.mp4"
        if not path.exists():
            with VideoWriter(path, Fraction(rate), crf=10) as writer:
                writer.write(torch.cat([frames[k % 12][None] for k in range(count)]))
        return path

    return make


@pytest.mark.parametrize(
    ("source", "driving", "method", "frames"),
    [
        ((6, 24), (20, 30), "cut", 6),
        ((12, 25), (5, 25), "cut", 5),
        ((12, 25), (5, 25), "circle", 12),
        ((5, 25), (12, 25), "none", 12),
        ((12, 24), (5, 30), "none", 12),
    ],
)
def test_length_and_times_are_the_pairings_in_each_mode(real, tmp_path, source, driving, method, frames):
    engine, out = LivePortraitEngine(MadeNetworks()), tmp_path / "out.mp4"
    settings = AnimationSettings(mismatch_method=method)
    result = animate(real(*source), real(*driving), engine=engine, output=out, settings=settings)
    info = Clip(out).info
    assert (result.frames, result.rate) == (info.frame_count, info.rate) == (frames, source[1])
    assert len(target_of(engine.model.networks)[1]) == frames


def test_frames_between_two_driving_frames_are_led_by_the_motion_between():
    networks = MadeNetworks()
    session = begin(networks)
    rows = [cue.before for cue in lead(session, shot(pictures(2, seed=1)))]
    one = shot(pictures(1))
    splice(session.render, one, [DrivingMotion(rows[0], rows[1], 0.25)])
    between = Motion.unpack(torch.lerp(rows[0], rows[1], 0.25)[None]).pack()[0]
    splice(session.render, one, [DrivingMotion(between, None, 0.0)])
    _, target = target_of(networks)
    torch.testing.assert_close(target[0], target[1], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_the_real_networks_animate_a_real_still(clips):
    """Random weights make noise of the face; it lies in the face's square and nowhere else."""
    networks = Networks.random(1)
    engine, parts = LivePortraitEngine(networks, batch=2), []
    settings = AnimationSettings(video_frame_load_cap=3)
    result = animate(
        clips["astronaut"], clips["jwp_intro"], engine=engine, settings=settings, sink=parts.append
    )
    frames, source = (
        torch.cat([part.frames for part in parts]),
        next(Clip(clips["astronaut"]).chunks()).frames,
    )
    assert result.frames == len(frames) == 3
    assert result.frames_without_driving_face == 0
    landmarks, *_ = FaceTracker().track(source).face(0)
    place = compose.PixelRect(0, 0, 512, 512).to_square(source_squares(landmarks, settings))
    opacity = compose.border_mask(place)[0]
    changed = (frames.int() - source.int()).abs().amax(-1)
    assert changed[:, opacity == 0].max() == 0
    assert (changed[:, opacity == 1] > 0).float().mean() > 0.9


def test_given_crops_are_animated_without_looking_for_faces():
    make = torch.Generator().manual_seed(0)
    source, driving = torch.rand(1, 3, 256, 256, generator=make), torch.rand(3, 3, 256, 256, generator=make)
    networks = MadeNetworks()
    engine = LivePortraitEngine(networks)
    settings, options = AnimationSettings(**PLAIN), MotionOptions()
    pictures = engine.model.animate_crops(source, driving, settings=settings, options=options)
    assert pictures.shape == (3, 3, 512, 512)
    assert len(networks.calls_of("appearance")) == 1
    still, target = target_of(networks)
    torch.testing.assert_close(target[0], still[0], atol=1e-5, rtol=0)
    own, *drive = (networks.motion(crop) for crop in (source, *driving.split(1)))
    for k in range(3):
        turn = euler(drive[k]) @ euler(drive[0]).T @ euler(own)
        exp = own.exp + drive[k].exp - drive[0].exp
        t = own.t + drive[k].t - drive[0].t
        scale = own.scale * drive[k].scale / drive[0].scale
        wanted = scale * (own.kp[0] @ turn + exp[0]) + t * torch.tensor([1.0, 1.0, 0.0])
        torch.testing.assert_close(target[k], wanted, atol=1e-5, rtol=0)


def test_given_crops_may_have_a_reference_and_openings():
    make = torch.Generator().manual_seed(0)
    source, driving = torch.rand(2, 2, 3, 256, 256, generator=make)
    networks = MadeNetworks(lip=1)
    openings = torch.full((2, 2), 0.3), torch.tensor([[0.2], [0.0]])
    LivePortraitEngine(networks).model.animate_crops(
        source,
        driving,
        reference=driving[1:],
        settings=AnimationSettings(stitching=False),
        options=MotionOptions(source_motion="add"),
        source_openings=openings,
    )
    own, target = target_of(networks)
    torch.testing.assert_close(target[1], own[1], atol=1e-5, rtol=0)
    step = target[0] - own[0]
    assert step.abs().min() > 0.1


def test_landmarks_of_the_published_network_are_used_where_it_is_there():
    class Points:
        """Finds mouths wide open."""

        def extend(self, given):
            points = torch.zeros(len(given), 681, 3)
            points[:, :478] = given.landmarks
            points[:, 478:, :2] = given.landmarks[:, :203, :2]
            points[:, 478 + 48, :2], points[:, 478 + 66, :2] = torch.tensor([[100.0, 150.0], [140.0, 150.0]])
            points[:, 478 + 90, :2], points[:, 478 + 102, :2] = torch.tensor([[120.0, 140.0], [120.0, 160.0]])
            return TrackedChunk(given.frames, points, given.present)

    networks = MadeNetworks(lip=1)
    engine = LivePortraitEngine(networks, Points())
    session = engine.session(AnimationSettings(), MotionOptions(), RATE, RATE)
    cues = lead(session, engine.add_points(shot(pictures(2, seed=1))))
    (source,) = session.source([engine.add_points(shot(pictures(2)))])
    splice(session.render, source, cues)
    ratios = torch.cat([call[1] for call in networks.calls_of("lip_delta")])
    torch.testing.assert_close(ratios, torch.tensor([[0.5, 0.0]] * 2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_pictures_that_are_not_finite_in_float32_either_are_an_error(precision):
    networks = MadeNetworks()
    networks.precision = precision
    networks.render = lambda volume, *_: volume.new_full((len(volume), 3, 512, 512), torch.nan)
    session = begin(networks)
    cues = lead(session, shot(pictures(1, seed=1)))
    with pytest.raises(LivePortraitError, match=r"aren't finite, in float32 as well: check the weights"):
        splice(session.render, shot(pictures(1)), cues)
