"""Average precision: COCO's figures, intervals around them, and what is not annotated to the end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.errors import DataError
from vlmzoo.integrations.coco_eval import average_precision

pytest.importorskip("pycocotools")


def make_truth(num_images, *, names=("cat", "dog")):
    annotations = [
        {"id": 2 * image + place + 1, "image_id": image + 1, "category_id": place + 1, "iscrowd": 0}
        | {"bbox": [10 * place, 10, 20, 20], "area": 400}
        for image in range(num_images)
        for place in range(len(names))
    ]
    images = [{"id": image + 1, "width": 100, "height": 100} for image in range(num_images)]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": place + 1, "name": name} for place, name in enumerate(names)],
    }


def make_prediction(image, category, box, score):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def perfect(truth):
    return [make_prediction(one["image_id"], one["category_id"], one["bbox"], 0.9) for one in truth["annotations"]]


def test_perfect_boxes_have_precision_1_in_every_resample():
    truth = make_truth(5)
    found = average_precision(truth, perfect(truth), num_resamples=20)
    assert found.mean == pytest.approx(1.0)
    for name in ("AP", "AP50"):
        one = found.intervals[name]
        assert (one.mean, one.low, one.high, one.num) == (pytest.approx(1), pytest.approx(1), pytest.approx(1), 5)


def test_without_a_prediction_everything_is_0():
    found = average_precision(make_truth(3), [], num_resamples=5)
    assert found.mean == 0 and found.intervals["AP"].high == 0


SHIFTS = st.lists(st.tuples(st.integers(0, 24), st.sampled_from([0.1, 0.4, 0.4, 0.9])), min_size=4, max_size=12)


@given(shifts=SHIFTS)
@settings(max_examples=25, deadline=None)
def test_intervals_hold_the_figure_of_pycocotools(shifts):
    truth = make_truth(len(shifts))
    predictions = [
        make_prediction(image + 1, 1 + image % 2, [10 * (image % 2) + shift, 10, 20, 20], score)
        for image, (shift, score) in enumerate(shifts)
    ]
    found = average_precision(truth, predictions, num_resamples=10)
    interval = found.intervals["AP"]
    assert interval.mean == pytest.approx(found.mean, abs=1e-9)
    assert found.intervals["AP50"].mean == pytest.approx(found.overall["AP50"], abs=1e-9)
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1


def test_unmatched_boxes_are_neither_right_nor_wrong_where_not_all_is_annotated():
    truth = make_truth(2)
    wrong = [make_prediction(1, 1, [70, 70, 20, 20], 0.99)]
    assert average_precision(truth, wrong + perfect(truth)).per_class["cat"] < 1
    judged = average_precision(truth, wrong + perfect(truth), not_exhaustive={(1, 1)}, num_resamples=5)
    assert judged.per_class["cat"] == pytest.approx(1.0) and judged.intervals["AP"].low == pytest.approx(1.0)


def test_an_unknown_class_is_refused():
    with pytest.raises(DataError, match="`classes` names `bird`, which is none of the 2"):
        average_precision(make_truth(1), [], classes=["bird"])
