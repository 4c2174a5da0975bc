"""The composed LLaVA against transformers' own, and its habits in batches, caches and generation."""

import pytest
import torch
from transformers import LlavaConfig as ReferenceConfig
from transformers import LlavaForConditionalGeneration

from vlmzoo.errors import ShapeError
from vlmzoo.models import FAMILIES

IMAGE, PAD = 98, 0
VISION = {"hidden_size": 32, "intermediate_size": 64, "image_size": 28, "patch_size": 14}


def make_text_config(model_type, *, is_tied):
    config = {
        "model_type": model_type,
        "vocab_size": 99,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": is_tied,
        "pad_token_id": PAD,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {**config, "head_dim": 8} if model_type == "gemma" else config


def make_pair(model_type, *, is_tied):
    """Build transformers' tiny LLaVA and ours, carrying the same weights."""
    torch.manual_seed(0)
    text = make_text_config(model_type, is_tied=is_tied)
    vision = {"model_type": "clip_vision_model", "num_hidden_layers": 3, "num_attention_heads": 4, **VISION}
    reference_config = ReferenceConfig(
        vision_config=vision, text_config=dict(text), image_token_index=IMAGE, tie_word_embeddings=is_tied
    )
    reference = LlavaForConditionalGeneration(reference_config).eval()
    ours = FAMILIES.build(
        {
            "type": "llava",
            "encoder": {"type": "clip", "num_layers": 3, "num_heads": 4, "select_layer": -2, **VISION},
            "projector": {"type": "mlp2x_gelu"},
            "language_model": {"type": "causal_lm", **text},
            "image_token_id": IMAGE,
        }
    ).eval()
    ours.load_state_dict({rename(name): tensor for name, tensor in reference.state_dict().items()})
    return reference, ours


def rename(name):
    for theirs, ours in (
        ("model.vision_tower.", "encoder.vision."),
        ("model.multi_modal_projector.linear_1", "projector.0"),
        ("model.multi_modal_projector.linear_2", "projector.2"),
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    ):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def make_inputs():
    """Two rows padded on the left: one image in the first, two in the second."""
    rows = [[PAD] * 5 + [1, *[IMAGE] * 4, 5, 6, 7], [1, *[IMAGE] * 4, 8, 9, *[IMAGE] * 4, 5, 6]]
    input_ids = torch.tensor(rows)
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": input_ids,
        "attention_mask": (input_ids != PAD).long(),
        "pixel_values": torch.randn(3, 3, 28, 28, generator=generator),
    }


@pytest.fixture(params=[("llama", False), ("llama", True), ("qwen2", False), ("qwen2", True), ("gemma", True)], ids=str)
def pair(request):
    return make_pair(request.param[0], is_tied=request.param[1])


@torch.no_grad()
def test_logits_equal_those_of_transformers(pair):
    reference, ours = pair
    inputs = make_inputs()
    torch.testing.assert_close(ours(**inputs).logits, reference(**inputs).logits, atol=1e-5, rtol=0)


def test_greedy_generations_equal_those_of_transformers(pair):
    reference, ours = pair
    options = {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": [IMAGE]}
    inputs = make_inputs()
    assert torch.equal(ours.generate(**inputs, **options), reference.generate(**inputs, **options))


def test_a_left_padded_batch_says_what_its_rows_say_one_by_one():
    _, ours = make_pair("llama", is_tied=False)
    inputs, options = make_inputs(), {"max_new_tokens": 8, "do_sample": False, "suppress_tokens": [IMAGE]}
    together = ours.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    for row, images in ((0, slice(0, 1)), (1, slice(1, 3))):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()][None]
        alone = ours.generate(input_ids=ids, pixel_values=inputs["pixel_values"][images], **options)
        assert torch.equal(alone[0, ids.shape[1] :], together[row])


def test_generation_without_a_cache_sees_the_images_at_every_step():
    _, ours = make_pair("llama", is_tied=False)
    inputs, options = make_inputs(), {"max_new_tokens": 6, "do_sample": False, "suppress_tokens": [IMAGE]}
    assert torch.equal(
        ours.generate(**inputs, **options, use_cache=False), ours.generate(**inputs, **options, use_cache=True)
    )


def test_several_completions_of_a_row_all_see_its_own_images():
    _, ours = make_pair("llama", is_tied=False)
    inputs = make_inputs()
    options = {"max_new_tokens": 6, "num_beams": 2, "do_sample": False, "suppress_tokens": [IMAGE]}
    greedy = {**options, "num_beams": 1}
    both = ours.generate(**inputs, **options, num_return_sequences=2)
    assert both.shape[0] == 4
    expanded, kept = ours._expand_inputs_for_generation(expand_size=2, **inputs)
    repeated = ours.generate(input_ids=expanded, **kept, **greedy)
    once = ours.generate(**inputs, **greedy)
    assert torch.equal(repeated[0::2], once) and torch.equal(repeated[1::2], once)


@torch.no_grad()
def test_logprobs_are_those_of_the_logits_and_zero_elsewhere():
    _, ours = make_pair("llama", is_tied=False)
    inputs = make_inputs()
    labels = (
        inputs["input_ids"].masked_fill(inputs["input_ids"] < 5, -100).masked_fill(inputs["input_ids"] == IMAGE, -100)
    )
    outputs = ours(**inputs, labels=labels)
    expected = torch.zeros(labels.shape)
    logprobs = outputs.logits.log_softmax(dim=-1)
    for row, place in (labels != -100).nonzero().tolist():
        expected[row, place] = logprobs[row, place - 1, labels[row, place]]
    torch.testing.assert_close(outputs.logprobs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs.loss, -expected.sum() / (labels != -100).sum())
    assert ours(**inputs, labels=labels, return_logits=False).logits is None


def test_placeholders_that_do_not_match_the_images_name_the_row_and_the_counts():
    _, ours = make_pair("llama", is_tied=False)
    inputs = make_inputs()
    inputs["input_ids"][0, 6] = 5
    with pytest.raises(ShapeError, match=r"4 placeholders for each of the 3 images.*12 in all.*hold 11.*row 0 holds 3"):
        ours(**inputs)
    with pytest.raises(ShapeError, match="hold 12 instead"):
        ours(input_ids=make_inputs()["input_ids"])


def test_images_of_another_size_are_refused_with_both_sizes():
    _, ours = make_pair("llama", is_tied=False)
    with pytest.raises(ShapeError, match=r"must be \(B, 3, 28, 28\), but is \(3, 3, 32, 32\)"):
        ours(**{**make_inputs(), "pixel_values": torch.zeros(3, 3, 32, 32)})


def test_every_parameter_that_the_selected_layer_reaches_learns():
    _, ours = make_pair("llama", is_tied=False)
    inputs = make_inputs()
    ours(**inputs, labels=inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE, -100)).loss.backward()
    idle = {name for name, parameter in ours.named_parameters() if parameter.grad is None}
    assert all(name.startswith(("encoder.vision.encoder.layers.2.", "encoder.vision.post_layernorm.")) for name in idle)


def test_a_resampling_projector_decides_the_number_of_visual_tokens():
    tiny = FAMILIES.entry("llava").tiny
    projector = {"type": "perceiver", "depth": 1, "head_dim": 4, "num_heads": 2, "num_latents": 3}
    model = FAMILIES.build({"type": "llava", **tiny, "projector": projector})
    assert model.num_image_tokens == 3
    assert model.image_features(torch.zeros(2, 3, 28, 28)).shape == (2, 3, 32)
