"""Crop Faces, Paste Back and what local engines give beside their frames, on real clips."""

from __future__ import annotations

import pytest
import torch
from made_networks import MadeNetworks
from standin_comfyui import ExecutionBlocker, InterruptProcessingException, VideoFromFile

from liveportrait_v2v.media import Clip

COUNT = 12


@pytest.fixture
def source(clips):
    return VideoFromFile(str(clips["single_face"]), duration=0.5)


@pytest.fixture
def quick(nodes):
    """Settings that make a run short."""
    values = {item.id: item.default for item in nodes.Settings.GET_SCHEMA().inputs}
    (settings,) = nodes.Settings.execute(**{**values, "dsize": 128, "video_frame_load_cap": COUNT}).args
    return settings


@pytest.fixture
def link(nodes, monkeypatch):
    """link(node, *outputs): have these outputs of a node taken by another one, and no others."""

    def link(node, *outputs: str) -> None:
        slots = [slot for slot, item in enumerate(node.GET_SCHEMA().outputs) if item.id in outputs]
        taken = {"class_type": "Any", "inputs": {str(slot): ["7", slot] for slot in slots}}
        monkeypatch.setattr(node.hidden, "prompt", {"7": {"inputs": {}}, "9": taken})

    return link


def outputs(node, result) -> dict:
    return {item.id: value for item, value in zip(node.GET_SCHEMA().outputs, result.args, strict=True)}


def frames_of(video) -> torch.Tensor:
    clip = Clip(video.file, duration=getattr(video, "window", (0, 0))[1] or None)
    return torch.cat([chunk.frames for chunk in clip.chunks(8)]).float() / 255


def test_crops_are_cut_out_with_their_mask_placement_and_boxes(nodes, source, quick):
    crops, mask, placement, boxes, report = nodes.CropFaces.execute(clip=source, settings=quick).args
    count = len(placement)
    assert crops.shape == (count, 128, 128, 3)
    assert (mask.shape, mask[0, 64, 64].item(), mask[0, 0, 0].item()) == ((1, 128, 128), 1.0, 0.0)
    assert [len(frame) for frame in boxes] == [1] * count
    (box,) = boxes[0]
    side = placement.squares.side[0].item()
    assert side <= box["width"] < 1.1 * side
    assert report == f"{count} crops of 128x128 from {count} frames"


def test_what_is_pasted_back_is_what_comes_in_at_any_size(nodes, source, quick, clips):
    crops, _, placement, *_ = nodes.CropFaces.execute(clip=source, settings=quick).args
    for size in (128, 300):
        red = torch.zeros(len(crops), size, size, 3)
        red[..., 0] = 1
        made = outputs(nodes.PasteBack, nodes.PasteBack.execute(clip=source, crops=red, placement=placement))
        x, y = placement.squares.center[0].int().tolist()
        assert made["images"][0, y, x].tolist() == [1, 0, 0]
        assert torch.equal(made["images"][0, :, :60], frames_of(source)[0, :, :60])
        info = Clip(made["video"].file).info
        assert (info.frame_count, info.rate) == (len(placement), Clip(clips["single_face"]).info.rate)
        assert made["frame_count"] == len(made["images"]) == len(placement)


def test_a_mask_for_all_crops_or_for_each_says_what_is_shown(nodes, source, quick):
    crops, _, placement, *_ = nodes.CropFaces.execute(clip=source, settings=quick).args
    nothing = torch.zeros(1, 16, 16)
    for mask in (nothing, nothing[0], nothing.expand(len(crops), 16, 16)):
        result = nodes.PasteBack.execute(clip=source, crops=1 - crops, placement=placement, mask=mask)
        assert torch.equal(result.args[0], frames_of(source))


def test_what_doesn_t_fit_is_refused_with_both_numbers(nodes, source, quick):
    crops, mask, placement, *_ = nodes.CropFaces.execute(clip=source, settings=quick).args
    count = len(placement)
    with pytest.raises(Exception, match=f"as many as the placement has, {count}, got {count - 1}"):
        nodes.PasteBack.execute(clip=source, crops=crops[1:], placement=placement)
    with pytest.raises(Exception, match=f"one for all {count} crops, or one for each, got 2"):
        nodes.PasteBack.execute(clip=source, crops=crops, placement=placement, mask=mask.expand(2, -1, -1))
    with pytest.raises(Exception, match="3 channels, got 4"):
        nodes.PasteBack.execute(clip=source, crops=crops.repeat(1, 1, 1, 2)[..., :4], placement=placement)
    with pytest.raises(Exception, match=f"the placement is of {count} frames of 640x360"):
        nodes.PasteBack.execute(clip=torch.zeros(2, 100, 100, 3), crops=crops, placement=placement)


def test_a_clip_without_the_face_is_refused(nodes, quick):
    with pytest.raises(Exception, match="face 0 was found nowhere"):
        nodes.CropFaces.execute(clip=torch.full((3, 200, 200, 3), 0.5), settings=quick)


def test_an_interrupt_ends_cutting(nodes, host, source, quick):
    host.stop = True
    with pytest.raises(InterruptProcessingException):
        nodes.CropFaces.execute(clip=source, settings=quick)


def test_the_draft_s_mask_is_where_the_picture_changed(nodes, clips, source, quick, link):
    link(nodes.AnimateDraft, "images", "mask")
    driving = VideoFromFile(str(clips["jwp_intro"]))
    made = outputs(
        nodes.AnimateDraft,
        nodes.AnimateDraft.execute(source=source, driving=driving, frames=True, settings=quick),
    )
    mask, images = made["mask"], made["images"]
    assert mask.shape == images.shape[:3]
    original = frames_of(source)[: len(images)]
    changed = (images - original).abs().amax(-1) > 0
    assert changed.any()
    assert not changed[mask == 0].any()
    assert len(made["placement"]) == len(images)


def test_a_mask_that_nothing_takes_is_not_built(nodes, clips, source, quick, link):
    link(nodes.AnimateDraft, "video")
    driving = VideoFromFile(str(clips["jwp_intro"]))
    result = nodes.AnimateDraft.execute(source=source, driving=driving, frames=True, settings=quick)
    mask = outputs(nodes.AnimateDraft, result)["mask"]
    assert isinstance(mask, ExecutionBlocker)
    assert "mask: built where something is linked" in mask.message


def test_a_node_runs_again_once_its_mask_is_linked(nodes, link):
    link(nodes.AnimateDraft, "images")
    before = nodes.AnimateDraft.fingerprint_inputs()
    link(nodes.AnimateDraft, "images", "mask")
    assert nodes.AnimateDraft.fingerprint_inputs() != before


def test_the_networks_pictures_are_restored_and_pasted_in_three_nodes(nodes, clips, source, quick, link):
    from liveportrait_v2v.engines.liveportrait.engine import LivePortraitEngine

    class Model:
        released = False

        def engine(self) -> LivePortraitEngine:
            return LivePortraitEngine(MadeNetworks())

        def release(self) -> None:
            self.released = True

    link(nodes.AnimateLocal, "images", "crops")
    driving = VideoFromFile(str(clips["jwp_intro"]))
    model = Model()
    animated = nodes.AnimateLocal.execute(
        model=model, source=source, driving=driving, frames=True, settings=quick
    )
    assert model.released
    made = outputs(nodes.AnimateLocal, animated)
    crops, placement, images = made["crops"], made["placement"], made["images"]
    assert crops.shape == (placement.crop_count, 512, 512, 3)
    upscaled = crops.repeat_interleave(2, 1).repeat_interleave(2, 2)
    result = nodes.PasteBack.execute(clip=images, crops=upscaled, placement=placement)
    pasted = outputs(nodes.PasteBack, result)
    assert (pasted["fps"], pasted["frame_count"]) == (made["fps"], made["frame_count"])
    assert (pasted["images"] - images).abs().mean() < 0.01
