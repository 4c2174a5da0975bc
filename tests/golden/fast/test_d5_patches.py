"""Splits, scores, object crops and their places in words, chunk filtering."""

import pytest
from safetensors.numpy import load_file

from vlmzoo.agents.noun_chunks import longest_chunks
from vlmzoo.agents.visual_search import VisualSearch, heat_share, split_patch
from vlmzoo.data.object_crops import location_text, object_crop
from vlmzoo.geometry import Box, Frame, HeatMap, iou

GOLDEN = ("fast", "d5_patches/*.json")


def frame_of(bbox):
    """A patch of some image large enough."""
    x, y, width, height = bbox
    image = Frame.original("golden", width=x + width, height=y + height)
    return image, image.cropped(Box.from_xywh(bbox, frame=image))


def test_splits_are_the_authors(golden):
    for item in golden.content["items"]:
        image, patch = frame_of(item["bbox"])
        parts = [[round(number) for number in Box.whole(part).to(image).xywh] for part in split_patch(patch)]
        assert parts == item["sub_patches"]


def test_smallest_sizes_are_the_authors(golden):
    for item in golden.content["items"]:
        _, _, width, height = item["bbox"]
        image = Frame.original("golden", width=width, height=height)
        assert VisualSearch().least_side(image) == item["smallest_size_if_whole"]


def test_shares_of_a_heat_map_are_the_authors(golden):
    tensors = load_file(golden.path.with_suffix(".safetensors"))
    num_scored = 0
    for number, item in enumerate(golden.content["items"]):
        if "scores" not in item:
            continue
        num_scored += 1
        _, patch = frame_of(item["bbox"])
        heat = HeatMap(tensors[f"{number}.heatmap"][..., 0], frame=patch)
        found = [heat_share(heat, part) for part in split_patch(patch)]
        assert found == pytest.approx(item["scores"], abs=1e-6)
    assert num_scored == sum(name != "zero.heatmap" for name in tensors)


def test_an_empty_heat_map_prefers_nothing(golden):
    values = load_file(golden.path.with_suffix(".safetensors"))["zero.heatmap"][..., 0]
    patch = Frame.original("golden", width=values.shape[1], height=values.shape[0])
    heat = HeatMap(values, frame=patch)
    assert [heat_share(heat, part) for part in split_patch(patch)] == golden.content["zero_scores"]


def test_object_crops_are_the_authors(golden):
    for crop in golden.content["crops"]:
        width, height = crop["image_wh"]
        box = Box.from_xywh(crop["bbox"], frame=Frame.original("golden", width=width, height=height))
        assert list(object_crop(box, scale=1.2).xyxy) == crop["patch_scale_1_2"]
        assert list(object_crop(box).xyxy) == crop["patch_default224"]


def test_places_in_words_are_the_authors(golden):
    for crop in golden.content["crops"]:
        width, height = crop["image_wh"]
        box = Box.from_xywh(crop["bbox"], frame=Frame.original("golden", width=width, height=height))
        assert location_text(box) == crop["location_text"]


def test_overlaps_are_the_authors(golden):
    frame = Frame.original("golden", width=1000, height=1000)
    for one, other, expected in golden.content["iou_xywh"]:
        boxes = [Box.from_xywh(numbers, frame=frame) for numbers in (one, other)]
        assert iou(*boxes) == pytest.approx(expected, abs=1e-6)


def test_chunks_are_filtered_as_the_authors_do(golden):
    for spans, expected in golden.content["filter_chunk_list"]:
        assert [list(span) for span in longest_chunks([tuple(span) for span in spans])] == expected
