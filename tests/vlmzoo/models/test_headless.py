"""Composed bases without their head, as AutoModel and vLLM take them."""

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

from vlmzoo import build_model
from vlmzoo.checkpoint import save_model
from vlmzoo.errors import ConfigError
from vlmzoo.models.headless import HeadlessEagle, HeadlessLlava
from vlmzoo.zoo import load_card

CLASSES = {"llava-1.5-7b": HeadlessLlava, "eagle-x2-llama3-8b": HeadlessEagle}


@pytest.fixture(params=CLASSES)
def name(request):
    return request.param


def saved(name, folder, adapters=()):
    torch.manual_seed(0)
    model = build_model(load_card(name).miniature(), adapters=adapters)
    return save_model(model, model.processor, folder)


@torch.no_grad()
def test_auto_model_gives_the_hidden_states_of_the_whole_model(name, tmp_path):
    folder = saved(name, tmp_path / "model")
    headless, told = AutoModel.from_pretrained(folder, output_loading_info=True)
    whole = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(headless) is CLASSES[name]
    assert not told["missing_keys"] and told["unexpected_keys"] == {"language_model.lm_head.weight"}
    pictures = torch.randn(2, 3, *whole.image_size)
    ids = torch.tensor([[5, *[whole.config.image_token_id] * whole.num_image_tokens, 6]])
    inputs = {"input_ids": ids, "pixel_values": pictures[:1]}
    hidden = headless(**inputs, return_dict=False)[0]
    torch.testing.assert_close(whole.get_output_embeddings()(hidden), whole(**inputs).logits)
    features = headless.get_image_features(pictures, return_dict=True).pooler_output
    torch.testing.assert_close(features, whole.image_features(pictures))
    assert headless.get_output_embeddings() is None


@torch.no_grad()
def test_a_decoder_takes_embeddings_of_its_own(name, tmp_path):
    headless = AutoModel.from_pretrained(saved(name, tmp_path / "model"))
    ids = torch.tensor([[5, 6, 7]])
    embeddings = headless.get_input_embeddings()(ids)
    positions = torch.arange(3)[None]
    by_embeddings = headless(inputs_embeds=embeddings, position_ids=positions, use_cache=False, return_dict=False)[0]
    torch.testing.assert_close(by_embeddings, headless(input_ids=ids)[0])


def test_the_decoders_class_is_shared_with_no_whole_model(name):
    """VLLM changes the class that it compiles, in the process in which a policy trains."""
    whole = build_model(load_card(name).miniature())
    first, second = (AutoModel.from_config(whole.config) for _ in range(2))
    assert type(first.get_decoder()) is type(second.get_decoder())
    assert type(first.get_decoder()) is not type(whole.get_decoder())
    assert isinstance(first.get_decoder(), type(whole.get_decoder()))


def test_adapters_are_not_left_out_without_a_word(name, tmp_path):
    folder = saved(name, tmp_path / "model", adapters=[{"type": "lora", "rank": 2}])
    config = AutoConfig.from_pretrained(folder)
    with pytest.raises(ConfigError, match=r"vlmzoo export FOLDER --merge"):
        AutoModel.from_config(config)
    with pytest.raises(ConfigError, match=r"vlmzoo export FOLDER --merge"):
        AutoModel.from_pretrained(folder)


def test_a_manifest_that_lies_about_where_one_works_is_nobodys(name, tmp_path, monkeypatch):
    config = build_model(load_card(name).miniature()).config
    (tmp_path / "vlmzoo.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert type(AutoModel.from_config(config)) is CLASSES[name]
