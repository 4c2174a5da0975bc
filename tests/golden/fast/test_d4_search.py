"""V* search against the authors': order, boxes, calls and scores, with the synthetic model of the golden's README."""

import json
import math
from functools import cache

import numpy as np
import pytest

from vlmzoo.agents.visual_search import Detection, VisualSearch
from vlmzoo.geometry import Box, Frame, HeatMap

GOLDEN = ("fast", "d4_search/*.json")


class SyntheticLocator:
    """Answers as the README says, and notes what it was asked."""

    def __init__(self, case):
        self.case = case
        self.calls = []

    def detect(self, patches, question):
        return [self.detect_one(patch, question) for patch in patches]

    def detect_one(self, patch, question):
        case, area = self.case, self.note("detection", question, patch)
        x0, y0, x1, y1 = area
        x, y, w, h = case["target"]
        inside = max(0, min(x + w, x1) - max(x, x0)) * max(0, min(y + h, y1) - max(y, y0))
        visible = inside / (w * h)
        fraction = w * h / ((x1 - x0) * (y1 - y0))
        probability = case["p0"] + (case["p1"] - case["p0"]) * visible * min(1.0, fraction * case["gain"])
        found = [(x, y, w, h, probability)]
        width, height = x1 - x0, y1 - y0
        found.append((x0 + width * 0.375, y0 + height * 0.375, width * 0.25, height * 0.25, case["p0"] / 2))
        found += [tuple(extra) for extra in case.get("extra", [])]
        boxes = [Box.from_xywh((fx - x0, fy - y0, fw, fh), frame=patch) for fx, fy, fw, fh, _ in found]
        grown = round(math.log2(max(case["size"][0] / width, case["size"][1] / height)))
        amplitude = case["amp"] * case["amp_grow"] ** grown * visible
        heat = self.gauss(patch, area, amplitude, (x + w / 2, y + h / 2), case["target_sigma"])
        return Detection(boxes=boxes, probabilities=[one[4] for one in found], heat=heat)

    def describe(self, patch, question):
        self.note("vqa", question, patch)
        return f"The {self.case['name']} is most likely to appear on the {self.case['cue_phrase']}."

    def locate(self, patch, question):
        area = self.note("segmentation", question, patch)
        return self.gauss(patch, area, 1.0, self.case["cue"], self.case["cue_sigma"])

    def note(self, kind, question, patch):
        original = Frame.original(patch.image, width=patch.x.original, height=patch.y.original)
        area = [round(edge) for edge in Box.whole(patch).to(original).xyxy]
        self.calls.append([kind, question, area])
        return area

    def gauss(self, patch, area, amplitude, centre, sigma):
        width, height = self.case["size"]
        x = np.arange(area[0], area[2]) + 0.5
        y = np.arange(area[1], area[3])[:, None] + 0.5
        bump = amplitude * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
        return HeatMap((bump + 1e-3 * (x / width + 2 * y / height)).astype(np.float32), frame=patch)


def run(golden, *, looks_ahead=False):
    return searched(golden.path, golden.content["id"], looks_ahead)


@cache
def searched(path, name, looks_ahead):
    content = json.loads(path.read_text(encoding="utf-8"))["cases"][name]
    case = content["case"]
    locator = SyntheticLocator(case)
    image = Frame.original("golden", width=case["size"][0], height=case["size"][1])
    options = {"smallest_size": content["smallest_size"], **case.get("kw", {})}
    search = VisualSearch(noun_chunks=lambda text: [text], looks_ahead=looks_ahead, **options)
    return search.search(locator, image, case["name"]), locator, image


def area_of(visit, image):
    return [round(number) for number in Box.whole(visit.patch).to(image).xywh]


def test_golden_visits_are_the_authors(golden):
    content = golden.content
    result, _, image = run(golden)
    expected = content["visited"]
    assert [area_of(visit, image) for visit in result.visits] == [visit["bbox"] for visit in expected]
    assert [visit.level for visit in result.visits] == [visit["scale_level"] for visit in expected]
    assert [visit.parent for visit in result.visits] == [visit["parent_index"] for visit in expected]
    scores = [visit["score"] for visit in expected]
    assert [visit.score for visit in result.visits] == [pytest.approx(s, rel=1e-4) if s else s for s in scores]


def test_golden_calls_are_the_authors(golden):
    _, locator, _ = run(golden)
    assert locator.calls == golden.content["calls"]
    assert len(locator.calls) == golden.content["n_vsm_calls"]


def test_golden_result_is_the_authors(golden):
    content = golden.content
    result, _, image = run(golden)
    assert result.is_found is content["search_successful"]
    assert result.path_length == content["path_length"]
    assert result.final == content["final_index"]
    final = result.visits[result.final]
    assert area_of(final, image) == content["final_bbox"]
    assert final.box.xywh == pytest.approx(content["final_detection"], abs=1e-3)
    boxes = content["all_valid_boxes"]
    if boxes is not None:
        assert [list(box.xywh) for box in result.boxes] == [pytest.approx(box, abs=1e-3) for box in boxes]


def test_golden_detections_on_the_way_are_the_authors(golden):
    result, _, _ = run(golden)
    for visit, expected in zip(result.visits, golden.content["visited"], strict=True):
        if "temp_detection" in expected:
            probability, box = expected["temp_detection"]
            assert visit.probability == pytest.approx(probability, abs=1e-3)
            assert visit.box.xywh == pytest.approx(box, abs=1e-3)
        if "heatmap" in expected:
            told, heat = expected["heatmap"], visit.heat.array
            assert list(heat.shape) == told["shape"][:2]
            assert heat.sum(dtype=np.float64) == pytest.approx(told["sum"], rel=1e-4)
            assert heat.max() == pytest.approx(told["max"])
            assert list(np.unravel_index(heat.argmax(), heat.shape)) == told["argmax"][:2]
        if "context_cue" in expected:
            assert f"{visit.cue}#{visit.phrase}" == expected["context_cue"]


def test_looking_ahead_visits_the_same_patches(golden):
    one_by_one, _, image = run(golden)
    ahead, _, _ = run(golden, looks_ahead=True)
    assert [area_of(visit, image) for visit in ahead.visits] == [area_of(visit, image) for visit in one_by_one.visits]
    assert ahead.boxes == one_by_one.boxes
