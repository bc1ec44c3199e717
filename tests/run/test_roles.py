"""Several faces in one run."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from made_networks import MadeNetworks
from recording_engine import SIZE, Recorder, Unsettled

from liveportrait_v2v.engines import RenderedFrames, create_engine
from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine
from liveportrait_v2v.errors import FaceNotFoundError, SettingsError
from liveportrait_v2v.faces import FaceTracker
from liveportrait_v2v.media import Clip, Frames
from liveportrait_v2v.plan import Role, make_plan
from liveportrait_v2v.run import animate, run_plan
from liveportrait_v2v.settings import AnimationSettings, MotionOptions
from liveportrait_v2v.tracking import TrackedChunk

pytestmark = pytest.mark.slow


def test_a_role_draws_over_settled_frames(make, make_two):
    frames = []
    for engine in (Recorder(), Unsettled()):
        got = []
        whole = AnimationSettings(video_frame_load_cap=0)
        roles = [Role(Clip(make(20, 25)), whole, source_face=face) for face in range(2)]
        run_plan(make_plan(make_two(20, 25), roles), engine=engine, sink=got.append)
        frames.append(torch.cat([rendered.frames for rendered in got]))
    assert torch.equal(*frames)


class Half(Recorder):
    """Draws a number over the left or the right half of the frame: the role's `dsize` says which."""

    def session(self, settings, options, source_rate, driving_rate):
        session = Half()
        session.left = settings.dsize == 64
        return session

    def render(self, chunk: TrackedChunk, driving: torch.Tensor, masks: bool = False) -> RenderedFrames:
        rendered = super().render(chunk, driving, masks)
        half = slice(0, SIZE) if self.left else slice(SIZE, 2 * SIZE)
        frames = chunk.frames.clone()
        frames[:, 20:, half] = driving.to(torch.uint8).view(-1, 1, 1, 1)
        mask = torch.zeros(frames.shape[:3])
        mask[:, 20:, half] = 1
        (square,) = rendered.squares
        out_of_reach = replace(
            square, side=square.side / 10, center=square.center + torch.tensor([float(half.start), 0])
        )
        return RenderedFrames(frames, mask if masks else None, (out_of_reach,))


class Counted(Clip):
    """A clip that counts the passes through it."""

    passes = 0

    def chunks(self, *arguments, **options):
        self.passes += 1
        yield from super().chunks(*arguments, **options)


def halves(*driving: Clip, **values) -> list[Role]:
    """A role for each half of a clip with two faces."""
    order = MotionOptions(face_order="left-right")
    return [
        Role(clip, AnimationSettings(dsize=size, video_frame_load_cap=0, **values), order, source_face=face)
        for face, (clip, size) in enumerate(zip(driving, (64, 512), strict=True))
    ]


def shown(got: list[RenderedFrames]) -> list[list[int]]:
    """What `Half` drew into the left and the right half."""
    frames = torch.cat([rendered.frames for rendered in got])
    return [frames[:, 100, SIZE * k + 50, 0].tolist() for k in range(2)]


def test_roles_are_chained_over_one_pass_of_the_source(make, make_two):
    source, got = make_two(20, 25), []
    source.__class__ = Counted
    roles = halves(Clip(make(20, 25)), Clip(make(20, 50)))
    result = animate(source, roles=roles, engine=Half(), sink=got.append, masks=True)
    assert result.frames == 10
    assert source.passes == 1
    assert shown(got) == [list(range(10)), list(range(0, 20, 2))]
    mask = torch.cat([rendered.mask for rendered in got])
    assert mask[:, 20:].min() == 1
    assert mask[:, :20].max() == 0
    assert [len(square) for square in got[0].squares] == [8, 8]


@pytest.mark.parametrize(("method", "frames"), [("cut", 7), ("circle", 20)])
def test_roles_with_the_same_driving_clip_decode_and_track_it_once(
    make, make_two, monkeypatch, method, frames
):
    tracked, track = [], FaceTracker.track
    monkeypatch.setattr(
        FaceTracker, "track", lambda tracker, chunk: tracked.append(len(chunk)) or track(tracker, chunk)
    )
    driving, got = Counted(make(7, 25)), []
    roles = halves(driving, driving, mismatch_method=method)
    result = animate(make_two(20, 25), roles=roles, engine=Half(), sink=got.append)
    assert driving.passes == math.ceil(frames / 7)
    assert sum(tracked) == 7 + frames
    assert result.frames == frames
    assert shown(got) == [[k % 7 for k in range(frames)]] * 2


def test_roles_that_share_a_driving_clip_end_each_pass_together_whatever_they_look_ahead(make, make_two):
    class Lagging(Half):
        def motions(self, chunks):
            motions = super().motions(chunks)
            yield from list(motions) if self.left else motions

        def session(self, *arguments):
            session = Lagging()
            session.left = arguments[0].dsize == 64
            return session

    for sides in ((64, 512), (512, 64)):
        driving, got = Clip(make(18, 50)), []
        roles = [
            Role(
                driving,
                AnimationSettings(dsize=side, video_frame_load_cap=0, mismatch_method="circle"),
                source_face=k,
            )
            for k, side in enumerate(sides)
        ]
        animate(make_two(20, 25), roles=roles, engine=Lagging(), sink=got.append)
        assert shown(got) == [[2 * k % 18 for k in range(20)]] * 2


def test_a_role_for_all_faces_animates_each_of_them_by_one_reading_of_the_driving_clip(make, make_two):
    read = []

    class All(Recorder):
        def motions(self, chunks):
            for motion in super().motions(chunks):
                read.append(motion)
                yield motion

    engine, got = All(), []
    role = Role(Clip(make(20, 25)), AnimationSettings(video_frame_load_cap=0), source_face="all")
    result = animate(make_two(20, 25), roles=[role], engine=engine, sink=got.append)
    assert engine.driving == [
        k for start in (0, 8, 16) for _ in range(2) for k in range(start, min(start + 8, 20))
    ]
    assert len(read) == 20
    sides = torch.stack([square.side for square in got[0].squares])
    assert (sides > 0).tolist() == [[True] * 8] * 2 + [[False] * 8] * 4
    assert (result.frames_without_source_face, result.frames_without_driving_face) == (0, 0)


def test_faces_and_notes_of_several_roles_have_the_names_of_the_roles(make, make_two):
    path = make(20, 25, without=range(5, 13))
    roles = halves(Clip(make(20, 25)), Clip(path))
    result = animate(make_two(20, 25), roles=roles, engine=Half())
    first, second = (f"role {place} ({role.driving_name})" for place, role in enumerate(roles, 1))
    assert [(face.role, face.clip, face.first.number) for face in result.faces] == [
        (first, "source", 0),
        (first, "driving", 0),
        (second, "source", 1),
        (second, "driving", 0),
    ]
    (note,) = result.notes
    assert note.startswith(f"{second}: driving face 0 is lost in frame 5-")
    assert result.to_dict()["faces"][3]["role"] == second


def test_a_role_for_all_faces_needs_one_that_is_found(make):
    role = Role(Clip(make(6, 25)), source_face="all")
    with pytest.raises(
        FaceNotFoundError, match="no face was found in the frames read of the source clip; give a clip"
    ):
        animate(make(6, 25, without=range(6)), roles=[role], engine=Recorder())


@pytest.mark.parametrize(
    ("face", "driver"), [({"source_face": 4}, "source_face"), ({"drive_face": 4}, "drive_face")]
)
def test_a_face_that_nobody_has_is_an_error_that_names_the_role(make, make_two, face, driver):
    path = make(6, 25)
    roles = [Role(Clip(path)), Role(Clip(path), **{"source_face": 1, **face})]
    with pytest.raises(FaceNotFoundError, match=rf"^role 2 \({path.name}\): face 4 .* set {driver}$"):
        animate(make_two(6, 25), roles=roles, engine=Recorder())


def test_an_option_that_an_engine_does_not_support_is_refused_by_the_name_of_the_role(make):
    path = make(6, 25)
    roles = [
        Role(Clip(path)),
        Role(Clip(path), options=MotionOptions(source_eye_retargeting=True), source_face=1),
    ]
    with pytest.raises(SettingsError, match=rf"^role 2 \({path.name}\): source_eye_retargeting must be"):
        animate(path, roles=roles, engine=create_engine("draft"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "got neither; give one of them"),
        ({"driving": "x.mp4", "roles": []}, "got both; give one of them"),
        ({"roles": [], "settings": AnimationSettings()}, "beside roles; give them to Role"),
        ({"roles": []}, "needs one role at least"),
    ],
)
def test_animate_takes_one_driving_clip_or_roles(make, arguments, message):
    with pytest.raises(SettingsError, match=message):
        animate(make(6, 25), engine=Recorder(), **arguments)


def test_one_role_is_what_a_driving_clip_alone_is(make):
    settings = AnimationSettings(dsize=128)
    results = []
    for arguments in (
        {"driving": make(12, 25), "settings": settings},
        {"roles": [Role(Clip(make(12, 25)), settings)]},
    ):
        got = []
        animate(make(12, 25), engine=create_engine("draft"), sink=got.append, **arguments)
        results.append(torch.cat([rendered.frames for rendered in got]))
    assert torch.equal(*results)


class LedNetworks(MadeNetworks):
    """Networks whose pictures are brighter or darker as the keypoints of the driving face are."""

    def render(self, volume, kp_source, kp_driving):
        change = (kp_driving - kp_source).abs().mean(dim=(1, 2)).view(-1, 1, 1, 1)
        return super().render(volume, kp_source, kp_driving) * (1 - 4 * change).clamp(min=0)


@pytest.fixture(params=["draft", "liveportrait"])
def local_engine(request):
    """Each local engine; LivePortrait's has made networks."""
    return create_engine("draft") if request.param == "draft" else LivePortraitEngine(LedNetworks())


def both_and_each(source: Clip, drivings: tuple[Clip, Clip], engine, **settings) -> list[torch.Tensor]:
    """The result of two roles, and of each alone; int32 [N, H, W, 3]."""
    values, order = AnimationSettings(dsize=128, scale=1, **settings), MotionOptions(face_order="left-right")
    roles = [Role(driving, values, order, source_face=face) for face, driving in enumerate(drivings)]
    results = []
    for chosen in (roles, roles[:1], roles[1:]):
        got = []
        animate(source, roles=chosen, engine=engine, sink=got.append)
        results.append(torch.cat([rendered.frames for rendered in got]).int())
    return results


def check_halves(both: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Check that each half is as in a run of its own, in which the other one stays as it is."""
    assert torch.equal(both[:, :, :SIZE], left[:, :, :SIZE])
    assert torch.equal(both[:, :, SIZE:], right[:, :, SIZE:])
    assert (left - right)[:, :, :SIZE].abs().max() > 20
    assert (left - right)[:, :, SIZE:].abs().max() > 20


def test_each_face_is_animated_as_in_a_run_of_its_own(make, faces, make_two, local_engine):
    drivings = Clip(make(3, 25)), Clip(Frames(faces[[0, 11, 5]], Fraction(25)))
    check_halves(*both_and_each(make_two(3, 25), drivings, local_engine))


def test_networks_with_random_weights_animate_each_face_as_in_a_run_of_its_own(make, faces, make_two):
    drivings = Clip(make(3, 25)), Clip(Frames(faces[[7, 11]], Fraction(25)))
    engine = create_engine("liveportrait", random_weights=1)
    check_halves(*both_and_each(make_two(1, 25), drivings, engine, relative=False))


def test_all_faces_with_one_driver_are_animated_as_by_a_role_each(make, make_two, local_engine):
    driving, settings = Clip(make(3, 25)), AnimationSettings(dsize=128)
    each = [Role(driving, settings, source_face=face) for face in range(2)]
    results = []
    for roles in ([Role(driving, settings, source_face="all")], each):
        got = []
        animate(make_two(3, 25), roles=roles, engine=local_engine, sink=got.append)
        results.append(torch.cat([rendered.frames for rendered in got]))
    assert torch.equal(*results)
