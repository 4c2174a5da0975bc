"""The released evaluation, piece by piece: boxes to pixels, IoU of boxes and masks, who is right about a class."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlmzoo.data.sources.virft_lisa import corners_text
from vlmzoo.evaluation.detection import corners_iou, norm1000_to_xywh_px, unit_to_pixels
from vlmzoo.geometry import Frame, Mask, decode_rle, mask_iou
from vlmzoo.scoring import SCORES
from vlmzoo.scoring.box_lists import detections_in

GOLDEN = ("virft", "eval.jsonl")


def test_evaluation(golden):
    case = golden.content
    given, expected = case.get("input"), case["output"]
    size = {name: case[name] for name in ("width", "height") if name in case}
    if case["kind"] == "norm1000_xyxy_to_pixel_xywh":
        assert norm1000_to_xywh_px(given, **size) == pytest.approx(expected, abs=1e-6)
    elif case["kind"] == "lisa_pixel_box_to_text":
        assert corners_text(given, **size) == expected
    elif case["kind"] == "unit_box_to_sam_pixel_box":
        assert unit_to_pixels(given, **size) == expected
    elif case["kind"] == "lisa_box_iou":
        right = expected if case["label"] == "ok" else 0.0
        assert corners_iou(*given) == pytest.approx(right, abs=1e-9)
    elif case["kind"] == "mask_iou":
        check_masks(case)
    elif case["kind"] == "eval_class_judge":
        label, completion = given
        if expected != "error":
            found = SCORES.build({"type": "class_exact", "compat": "virft"})(completion, label)
            assert bool(found) == expected
    elif case["kind"] == "eval_parse_detection":
        check_detections(given, expected)
    else:
        raise AssertionError(case["kind"])


def check_detections(text, theirs):
    """Ours is the reward's parser: equal where theirs read one valid list, and never anything that is not valid."""
    found = detections_in(text)
    ours = [[list(one.edges), one.confidence] for one in found or ()]
    if isinstance(theirs, list) and theirs and all(map(is_valid, theirs)) and text.count("<answer>") <= 1:
        assert ours == [[[float(edge) for edge in edges], c] for edges, c in theirs]
    for edges, confidence in ours:
        assert is_valid([edges, confidence])


def is_valid(item):
    edges, confidence = item
    return len(edges) == 4 and all(is_number(edge) and abs(edge) <= 1e6 for edge in edges) and is_number(confidence)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def check_masks(case):
    """Polygons are filled with their outline, as Pillow draws them."""
    height, width = case["size"]
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in case["polygon"]], outline=1, fill=1)
    frame = Frame.original("golden", width=width, height=height)
    truth = Mask(np.asarray(canvas, dtype=bool), frame=frame)
    found = decode_rle(case["pred_rle"], frame=frame)
    expected = case["output"]
    assert (truth & found).area == expected["intersection"]
    assert (truth | found).area == expected["union"]
    assert truth.area == expected["gt_area"]
    union = (truth | found).area
    assert mask_iou(found, truth) * union / (union + 1e-6) == pytest.approx(expected["iou"], abs=1e-9)  # as theirs
