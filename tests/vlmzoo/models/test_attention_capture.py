"""Watching one layer while a model generates, beside transformers' own record of everything."""

import pytest
import torch
from PIL import Image

from tests.vlmzoo.models.conftest import make_architecture
from vlmzoo import build_model
from vlmzoo.data.prompting import prompt_inputs
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.models.attention_capture import capture_attention
from vlmzoo.models.image_spans import image_spans
from vlmzoo.types import Sample, user
from vlmzoo.zoo import load_card

NATIVE = ("qwen2.5-vl-3b", "llava-1.5-7b-hf")
NUM_TOKENS = 4


@pytest.fixture(scope="module", params=("llama", "qwen2", *NATIVE))
def model(request):
    torch.manual_seed(0)
    if request.param in NATIVE:
        return build_model(load_card(request.param).miniature()).eval()
    architecture = make_architecture()
    text = {**architecture["language_model"], "model_type": request.param, "num_attention_heads": 4}
    return build_model(make_architecture(language_model=text)).eval()


def make_inputs(model):
    """Two prompts of different length, one with two images."""
    images = [Image.new("RGB", (56, 84), color) for color in ("red", "blue")]
    samples = [
        Sample(messages=[user("which of these two is red?", num_images=2)], images=images),
        Sample(messages=[user("what?", num_images=1)], images=images[:1]),
    ]
    return prompt_inputs(model.processor, samples, device=model.device, dtype=model.dtype)


def generate(model, inputs, **options):
    return model.generate(**inputs, max_new_tokens=NUM_TOKENS, min_new_tokens=NUM_TOKENS, do_sample=False, **options)


def test_record_is_what_transformers_tells_of_that_layer(model):
    inputs, layer = make_inputs(model), 1
    with capture_attention(model, layer=layer) as record:
        ids = generate(model, inputs)
    model.set_attn_implementation("eager")
    try:
        told = generate(model, inputs, output_attentions=True, return_dict_in_generate=True)
    finally:
        model.set_attn_implementation("sdpa")
    assert torch.equal(ids, told.sequences)
    assert len(record.steps) == NUM_TOKENS - 1
    for row in range(len(ids)):
        found = record.step_attention(row, include_prompt=True)
        for step, attentions in enumerate(told.attentions):
            expected = attentions[layer][row, :, -1].mean(dim=0)
            torch.testing.assert_close(found[step, : len(expected)], expected, rtol=1e-4, atol=1e-6)
            assert not found[step, len(expected) :].any()


def test_generation_is_not_changed_and_the_model_is_left_as_it_was(model):
    inputs = make_inputs(model)
    before = model.get_decoder().config._attn_implementation
    expected = generate(model, inputs)
    with capture_attention(model) as record:
        assert torch.equal(generate(model, inputs), expected)
        first = record.step_attention(0)
        generate(model, inputs)
        torch.testing.assert_close(record.step_attention(0), first)  # begun anew, not longer
    assert model.get_decoder().config._attn_implementation == before
    assert torch.equal(generate(model, inputs), expected)
    assert len(record.steps) == NUM_TOKENS - 1


def test_eager_attention_can_be_watched_too(model):
    inputs = make_inputs(model)
    with capture_attention(model) as record:
        generate(model, inputs)
    expected = record.step_attention(0)
    model.set_attn_implementation("eager")
    try:
        with capture_attention(model) as record:
            generate(model, inputs)
    finally:
        model.set_attn_implementation("sdpa")
    torch.testing.assert_close(record.step_attention(0), expected, rtol=1e-4, atol=1e-6)


def test_spans_are_where_the_placeholders_are(model):
    inputs = make_inputs(model)
    spans = image_spans(model, inputs["input_ids"], image_grid_thw=inputs.get("image_grid_thw"))
    assert [len(row) for row in spans] == [2, 1]
    is_image = inputs["input_ids"] == model.config.image_token_id
    marked = torch.zeros_like(is_image)
    for row, found in enumerate(spans):
        for span in found:
            assert not marked[row, span.start : span.start + span.length].any()
            marked[row, span.start : span.start + span.length] = True
    assert torch.equal(marked, is_image)


def test_gaps_before_a_prompt_are_never_looked_at(model):
    inputs = make_inputs(model)
    with capture_attention(model) as record:
        generate(model, inputs)
    gaps = inputs["attention_mask"] == 0
    assert gaps.any()
    for row in range(len(gaps)):
        found = record.step_attention(row)[:, : gaps.shape[1]]
        assert not found[:, gaps[row]].any()


def test_layers_that_do_not_exist_are_refused(model):
    with pytest.raises(ConfigError, match="`layer` must be an attention layer"), capture_attention(model, layer=99):
        pass


def test_reading_before_generating_is_an_error(model):
    with capture_attention(model) as record, pytest.raises(ShapeError, match=r"model\.generate"):
        record.step_attention(0)


def test_a_grid_without_its_placeholders_is_refused(model):
    inputs = make_inputs(model)
    if "image_grid_thw" in inputs:
        grids = inputs["image_grid_thw"]
        with pytest.raises(ShapeError, match="has 1 more instead"):
            image_spans(model, inputs["input_ids"], image_grid_thw=torch.cat([grids, grids[:1]]))


def test_cut_placeholders_are_refused(model):
    inputs = make_inputs(model)
    ids = inputs["input_ids"].clone()
    first = int((ids[0] == model.config.image_token_id).nonzero()[0])
    ids[0, first] = model.processor.tokenizer.pad_token_id or 0
    if "image_grid_thw" in inputs:
        with pytest.raises(ShapeError, match="whole images"):
            image_spans(model, ids, image_grid_thw=inputs["image_grid_thw"])


def test_what_is_kept_does_not_grow_with_the_number_of_layers():
    held = []
    for num_layers in (2, 6):
        text = {**make_architecture()["language_model"], "num_hidden_layers": num_layers}
        deep = build_model(make_architecture(language_model=text)).eval()
        inputs = make_inputs(deep)
        with capture_attention(deep) as record:
            generate(deep, inputs)
        assert record.prompt is not None
        held.append(sum(row.numel() for row in (record.prompt, *record.steps)))
    length = inputs["input_ids"].shape[1]
    assert held[0] == held[1] == 2 * sum(length + step for step in range(NUM_TOKENS))
