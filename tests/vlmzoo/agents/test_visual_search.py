"""Visual search on models that misbehave, and within budgets."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.agents.noun_chunks import cue_phrase, longest_chunks, plain_noun_chunks
from vlmzoo.agents.visual_search import Detection, VisualSearch, heat_share, split_patch
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame, HeatMap

IMAGE = Frame.original("scene", width=1024, height=896)


class BlindLocator:
    """Sees nothing anywhere; what it answers can be set."""

    def __init__(self, *, probability=None, heat=0.0, cue="", delay_s=0.0):
        self.probability, self.heat, self.cue, self.delay_s = probability, heat, cue, delay_s
        self.questions = []

    def detect(self, patches, question):
        self.questions.append(question)
        time.sleep(self.delay_s)
        return [self.detect_one(patch) for patch in patches]

    def detect_one(self, patch):
        boxes = [] if self.probability is None else [Box.whole(patch)]
        heat = None if self.heat is None else HeatMap(np.full((patch.height, patch.width), self.heat), frame=patch)
        return Detection(boxes=boxes, probabilities=[self.probability] * len(boxes), heat=heat)

    def describe(self, patch, question):
        self.questions.append(question)
        return self.cue

    def locate(self, patch, question):
        self.questions.append(question)
        return None


def search(locator, *, name="cup", **options):
    return VisualSearch(**options).search(locator, IMAGE, name)


def test_a_model_without_loc_ends_in_an_empty_answer():
    result = search(BlindLocator(heat=None))
    assert (result.is_found, result.final, result.boxes) == (False, None, [])
    assert len(result.visits) == 1 + 4 + 16
    assert result.stopped_by == "exhausted"


def test_probabilities_of_zero_still_name_the_first_patch():
    result = search(BlindLocator(probability=0.0))
    assert (result.final, result.path_length, result.is_found) == (0, 1, False)


def test_a_flat_heat_map_ranks_nothing_and_breaks_nothing():
    result = search(BlindLocator(probability=0.1, heat=9.0))
    assert all(visit.heat_source in ("target", None) for visit in result.visits)
    assert all(visit.score == 0 for visit in result.visits[1:])


def test_equal_scores_are_visited_in_the_order_of_their_discovery():
    result = search(BlindLocator(probability=0.1))
    areas = [Box.whole(visit.patch).to(IMAGE).xyxy[:2] for visit in result.visits]
    assert areas[:5] == [(0, 0), (0, 0), (512, 0), (0, 448), (512, 448)]
    assert [visit.level for visit in result.visits] == [1] + 4 * [2] + 16 * [3]


@pytest.mark.parametrize("name", ["c++ (book)", "[LOC]", "a|b", "\\d+", ""])
def test_names_are_taken_as_they_are(name):
    locator = BlindLocator(cue=f"The {name} is most likely to appear on the {name} near the shelf.")
    search(locator, name=name, max_visits=1)
    assert locator.questions[0] == f"Please locate the {name} in this image."
    assert locator.questions[2] == "Please locate the shelf in this image."


def test_visits_are_limited():
    result = search(BlindLocator(), max_visits=3)
    assert (len(result.visits), result.stopped_by) == (3, "max_visits")


def test_seconds_are_limited():
    result = search(BlindLocator(delay_s=0.05), time_budget_s=0.01)
    assert (len(result.visits), result.stopped_by) == (1, "time_budget")


def test_a_certain_candidate_on_the_whole_image_brings_all_others():
    class Sure(BlindLocator):
        def detect_one(self, patch):
            boxes = [Box.from_xywh((10 * i, 0, 5, 5), frame=patch) for i in range(4)]
            return Detection(boxes=boxes, probabilities=[0.6, 0.9, 0.5, 0.51])

    result = search(Sure())
    assert [box.x0 for box in result.boxes] == [0, 10, 30]
    assert (result.is_hit, result.probability, result.stopped_by) == (True, 0.9, "hit")


def test_looking_ahead_asks_once_for_all_parts():
    ahead, alone = BlindLocator(), BlindLocator()
    search(ahead, looks_ahead=True)
    search(alone, looks_ahead=False)
    located = [locator.questions.count("Please locate the cup in this image.") for locator in (ahead, alone)]
    assert located == [1 + 1 + 4, 21]


@pytest.mark.parametrize("looks_ahead", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_each_patch_keeps_what_was_found_in_it_however_deep_the_search_goes(seed, looks_ahead):
    def chance(patch):
        box = Box.whole(patch).to(large)
        return (box.x0 + 3 * box.y0 + 5 * (box.x1 - box.x0)) / 20000

    class Remembering(BlindLocator):
        def detect_one(self, patch):
            return Detection(boxes=[Box.whole(patch)], probabilities=[chance(patch)])

    large = Frame.original("scene", width=1024, height=1024)
    search = VisualSearch(smallest_size=130, order="random", seed=seed, looks_ahead=looks_ahead)
    result = search.search(Remembering(), large, "cup")
    assert max(visit.level for visit in result.visits) == 4
    assert [visit.probability for visit in result.visits] == [chance(visit.patch) for visit in result.visits]


@pytest.mark.parametrize(
    "options", [{"confidence_high": 1.5}, {"max_visits": 0}, {"time_budget_s": -1.0}, {"smallest_size": 0}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        VisualSearch(**options)


@given(st.integers(4, 400), st.integers(4, 400))
def test_parts_cover_a_patch_once(width, height):
    patch = Frame.original("any", width=width, height=height)
    parts = [Box.whole(part).to(patch) for part in split_patch(patch)]
    assert sum(part.area for part in parts) == pytest.approx(width * height)
    values = np.random.default_rng(0).random((height, width))
    shares = [heat_share(HeatMap(values, frame=patch), part) for part in split_patch(patch)]
    assert sum(shares) == pytest.approx(1.0)


spans = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)).map(lambda pair: (pair[0], sum(pair))), max_size=8)


@given(spans)
def test_kept_chunks_do_not_overlap_and_every_other_one_meets_a_longer(found):
    kept = longest_chunks(found)
    assert all(one[1] < other[0] for one, other in pairwise(kept))
    for first, last in set(found) - set(kept):
        rivals = [(a, b) for a, b in kept if a <= last and first <= b]
        assert max(b - a for a, b in rivals) >= last - first


def test_several_things_are_looked_for_as_a_region():
    phrase = cue_phrase(
        "It is most likely to appear on the desk and the shelf.",
        "cup",
        marker="most likely to appear",
        noun_chunks=plain_noun_chunks,
        region="region {phrase}",
    )
    assert phrase == "region on the desk and the shelf"
