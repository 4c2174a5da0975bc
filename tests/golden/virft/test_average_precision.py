"""Average precision as the released evaluation computes it; a class without annotations is left out, not NaN."""

import math

import pytest

from vlmzoo.integrations.coco_eval import average_precision

pytest.importorskip("pycocotools")

GOLDEN = ("virft", "map_case_*.json")


def test_average_precision(golden):
    case = golden.content
    expected = case["output"]
    per_class = {name: value / 100 for name, value in expected["per_class"] if value != "NaN"}
    found = average_precision(case["gt"], case["predictions"], classes=[name for name, _ in expected["per_class"]])
    assert found.per_class == pytest.approx(per_class, abs=1e-6)
    assert set(found.without_annotation) == {name for name, value in expected["per_class"] if value == "NaN"}
    theirs = [expected[name] for name in ("mAP", "AP_50", "AP_75", "AP_small", "AP_m", "AP_l")]
    assert list(found.overall.values()) == pytest.approx(theirs, abs=1e-6)
    assert math.isfinite(found.mean)
    if expected["mean_selected"] != "NaN":
        assert found.mean == pytest.approx(expected["mean_selected"] / 100, abs=1e-6)
    else:
        assert found.mean == pytest.approx(sum(per_class.values()) / len(per_class), abs=1e-6)
