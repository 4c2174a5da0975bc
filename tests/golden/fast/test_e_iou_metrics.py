"""gIoU and cIoU against the authors' own meters."""

import json

import pytest
from safetensors.numpy import load_file

from tests.golden.conftest import golden_folder, report_missing
from vlmzoo.scoring.masks import cumulative_iou, mask_overlap, mean_iou

TOLERANCE = 1e-6


def cases():
    folder = golden_folder("fast") / "e_iou_metrics"
    paths = sorted(folder.glob("*.json"))
    if not paths:
        report_missing(f"{folder} has no files")
    for path in paths:
        yield path.stem, json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))


def overlaps_of(tensors, number, *, of="foreground"):
    pairs = zip(tensors[f"{number}.pred"], tensors[f"{number}.gt"], strict=True)
    return [mask_overlap(predicted, target, compat=True, of=of) for predicted, target in pairs]


def test_images_are_counted_as_the_authors_count_them():
    for name, content, tensors in cases():
        for number, sample in enumerate(content["samples"]):
            for place, of in enumerate(("background", "foreground")):
                overlaps = overlaps_of(tensors, number, of=of)
                assert sum(overlap.intersection for overlap in overlaps) == sample["inter"][place], name
                assert sum(overlap.union for overlap in overlaps) == sample["union"][place], name
                mean = mean_iou(overlaps, compat=True)
                assert mean == pytest.approx(sample["mean_iou_per_class"][place], abs=TOLERANCE), name


def test_giou_and_ciou_are_the_authors():
    for name, content, tensors in cases():
        overlaps = [overlap for number in range(len(content["samples"])) for overlap in overlaps_of(tensors, number)]
        assert len(overlaps) == content["n_masks"]
        assert mean_iou(overlaps, compat=True) == pytest.approx(content["giou"], abs=TOLERANCE), name
        reduced = mean_iou(overlaps, compat=True, is_reduced=True)
        assert reduced == pytest.approx(content["giou_after_all_reduce"], abs=TOLERANCE), name
        assert cumulative_iou(overlaps, compat=True) == pytest.approx(content["ciou"], abs=TOLERANCE), name


def test_ours_differ_from_the_authors_by_their_small_terms_alone():
    for _, content, tensors in cases():
        overlaps = [overlap for number in range(len(content["samples"])) for overlap in overlaps_of(tensors, number)]
        assert mean_iou(overlaps) == pytest.approx(content["giou"], abs=1e-4)
        assert cumulative_iou(overlaps) == pytest.approx(content["ciou"], abs=1e-6)
