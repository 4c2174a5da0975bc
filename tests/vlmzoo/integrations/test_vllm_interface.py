"""What vLLM's back end for transformers asks of models and processors, without vLLM."""

import pytest
import torch
from transformers import AttentionInterface

from vlmzoo import build_model
from vlmzoo.hub.passport.probes import probe_pictures
from vlmzoo.zoo import load_card

NAMES = ("llava-1.5-7b", "eagle-x2-llama3-8b", "llava-1.5-7b-hf", "qwen2.5-vl-3b", "qwen3-vl-4b", "internvl3.5-1b")


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    torch.manual_seed(0)
    return build_model(load_card(request.param).miniature())


def inputs_of(model, pictures):
    processor = model.processor
    blocks = [*({"type": "image", "image": picture} for picture in pictures), {"type": "text", "text": "What?"}]
    return processor.apply_chat_template(
        [{"role": "user", "content": blocks}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"return_mm_token_type_ids": True},
    )


def test_placeholders_are_told_from_sizes_alone(model):
    pictures = list(probe_pictures().values())
    told = model.processor._get_num_multimodal_tokens([(picture.height, picture.width) for picture in pictures])
    marked = inputs_of(model, pictures)["mm_token_type_ids"] == 1  # vLLM cuts these into pieces as long as was told
    assert len(told["num_image_tokens"]) == len(told["num_image_patches"]) == len(pictures)
    assert int(marked.sum()) == sum(told["num_image_tokens"])


def test_nothing_is_told_of_no_images(model):
    told = model.processor._get_num_multimodal_tokens()
    assert not told.num_image_tokens


def test_token_types_mark_the_visual_tokens(model):
    """InternVL's own processor marks the two tokens around an image, too."""
    inputs = inputs_of(model, list(probe_pictures().values()))
    types, ids = inputs["mm_token_type_ids"], inputs["input_ids"]
    processor = model.processor
    names = ("start_image_token", "end_image_token") if model.config.model_type == "internvl" else ()
    around = processor.tokenizer.convert_tokens_to_ids([getattr(processor, name) for name in names])
    visual = [processor.image_token_id, *around]
    assert types.shape == ids.shape
    assert torch.equal(types == 1, torch.isin(ids, torch.tensor(visual)))


def test_another_attention_can_stand_in_every_layer_of_the_language_model(model):
    seen = []

    def attention(module, query, key, value, attention_mask, scaling=None, **_):
        seen.append(module)
        groups = query.shape[1] // key.shape[1]
        keys, values = (one.repeat_interleave(groups, dim=1) for one in (key, value))
        causal = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool).tril()
        scores = query @ keys.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
        weights = scores.masked_fill(~causal, float("-inf")).softmax(dim=-1)
        return (weights @ values).transpose(1, 2).contiguous(), None

    AttentionInterface.register("counted_for_vllm", attention)
    inputs = inputs_of(model, [next(iter(probe_pictures().values()))])
    if model.family != "native":
        inputs.pop("mm_token_type_ids")  # a composed base has no use for it
    text = model.get_decoder()
    before = text.config._attn_implementation
    with torch.no_grad():
        expected = model(**inputs).logits
        text.config._attn_implementation = "counted_for_vllm"
        try:
            found = model(**inputs).logits
        finally:
            text.config._attn_implementation = before
    assert len(seen) == text.config.num_hidden_layers
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
