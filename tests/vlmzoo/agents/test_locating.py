"""A model asked about the patches of an image: many at once, and as it would answer one by one."""

import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from tests.vlmzoo.adapters.search_samples import make_batch, make_sample, search_spec
from vlmzoo.agents.locating import ModelLocator, PlainLocator
from vlmzoo.agents.visual_search import VisualSearch, split_patch
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box
from vlmzoo.models.option_scoring import option_ids
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, user

QUESTION = "Please locate the cup in this image."


def make_scene(width=900, height=640):
    return make_picture(3).resize((width, height), Image.Resampling.BILINEAR)


def make_model(name="llava-llama", *, num_steps):
    """A tiny model that has learned for so many steps to say that it sees things."""
    torch.manual_seed(0)
    model = make_base(name, adapters=[search_spec(cache_size=32)]).train()
    batch = make_batch(model, [make_sample(number) for number in range(4)])
    objective = OBJECTIVES.build({"type": "next_token"})
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(num_steps):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def trained():
    return make_model(num_steps=60)


@pytest.fixture(scope="module")
def raw():
    """It says what comes, and often that it sees something."""
    model = make_model(num_steps=0)
    with torch.no_grad():
        model.token_rows.output.mul_(20.0)
    return model


def assert_same(one, other):
    assert len(one.visits) == len(other.visits)
    for mine, theirs in zip(one.visits, other.visits, strict=True):
        assert (mine.patch, mine.level, mine.parent) == (theirs.patch, theirs.level, theirs.parent)
        assert (mine.heat_source, mine.cue, mine.phrase) == (theirs.heat_source, theirs.cue, theirs.phrase)
        assert mine.probability == (None if theirs.probability is None else pytest.approx(theirs.probability, abs=1e-4))
    assert one.final == other.final
    for mine, theirs in zip(one.boxes, other.boxes, strict=True):
        assert mine.xyxy == pytest.approx(theirs.xyxy, abs=0.05)


@pytest.mark.parametrize("which", ["trained", "raw"])
def test_a_search_comes_to_what_one_by_one_comes_to(which, request):
    model, scene = request.getfixturevalue(which), make_scene()
    results = []
    for kind in (ModelLocator, PlainLocator):
        locator = kind(model, scene, max_new_tokens=14)
        options = {"smallest_size": 330, "confidence_high": 0.999, "looks_ahead": kind is ModelLocator}
        results.append(VisualSearch(**options).search(locator, locator.frame, "cup"))
    assert_same(*results)
    assert len(results[0].visits) == 5


def test_a_trained_answer_is_found_in_one_call_and_an_image_is_read_once(trained):
    locator = ModelLocator(trained, make_scene(), max_new_tokens=14)
    patches = split_patch(locator.frame)
    seen = []
    handle = trained.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    try:
        found = locator.detect(patches, QUESTION)
        assert len(seen) == 2 and seen[0][0] == seen[1][0] == 4  # the images, then the question with its answer
        before = trained.adapters["search"].features.num_encoded
        locator.locate(patches[2], QUESTION)
        locator.describe(patches[1], "Why?")
        assert all(length <= 60 for _, length in seen[2:]) and trained.adapters["search"].features.num_encoded == before
    finally:
        handle.remove()
    for patch, detection in zip(patches, found, strict=True):
        assert len(detection.boxes) == len(detection.probabilities) == 16
        assert detection.heat is not None and detection.heat.array.shape == (patch.height, patch.width)
        assert detection.boxes[3] == detection.boxes[2:5][1]
        plain = PlainLocator(trained, make_scene(), max_new_tokens=14).detect([patch], QUESTION)[0]
        assert detection.probabilities == pytest.approx(plain.probabilities, abs=1e-4)


def test_an_answer_becomes_ids_without_any_adapter_and_the_processor_stays_as_it_is(monkeypatch):
    processor = make_base("llava-llama", adapters=[search_spec(cache_size=4)]).processor
    inputs = dict(processor.adapter_inputs)
    sample = Sample(messages=[user("Where?", num_images=1)], images=[make_picture(0)], id="one")
    with_them = option_ids(processor, sample, "I see.")  # with [LOC], the adapter would ask for a box
    for one in inputs.values():
        monkeypatch.setattr(one, "prepare", None)
        monkeypatch.setattr(one, "encode", None)
        monkeypatch.setattr(one, "image_token_counts", None)
    assert option_ids(processor, sample, "I see.", with_adapters=False) == with_them
    loc = processor.tokenizer.convert_tokens_to_ids("[LOC]")
    assert loc in option_ids(processor, sample, "I see [LOC].", with_adapters=False)
    assert processor.adapter_inputs == inputs
    with pytest.raises(TypeError):
        processor.encode_prompt(sample)


def test_no_loc_is_no_detection_and_no_crash():
    model = make_model(num_steps=0)
    with torch.no_grad():
        model.token_rows.output.fill_(-10.0)
        model.language_model.model.norm.weight.abs_()
    for kind in (ModelLocator, PlainLocator):
        locator = kind(model, make_scene(), max_new_tokens=3)
        [detection] = locator.detect([locator.frame], QUESTION)
        if detection.heat is None:
            assert detection.best is None and locator.locate(locator.frame, QUESTION) is None


def test_a_native_base_is_asked_one_by_one():
    model = make_base("qwen2.5-vl", adapters=[search_spec()])
    locator = ModelLocator(model, make_scene(300, 260), max_new_tokens=3)
    assert not locator.can_share
    result = VisualSearch(max_visits=3).search(locator, locator.frame, "c++ (book)")
    assert 1 <= len(result.visits) <= 3


@pytest.mark.parametrize("size", [(30, 20), (1, 1), (700, 9)])
def test_images_smaller_than_a_crop_are_searched(trained, size):
    locator = ModelLocator(trained, make_scene(*size), max_new_tokens=14)
    result = VisualSearch().search(locator, locator.frame, ".*[")
    assert len(result.visits) == 1
    assert all(isinstance(box, Box) for box in result.boxes)


def test_without_the_adapter_nothing_is_searched():
    with pytest.raises(ConfigError, match="must have one search adapter, but has 0"):
        ModelLocator(make_base("llava-llama"), make_scene())
