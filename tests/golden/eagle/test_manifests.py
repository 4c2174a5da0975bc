"""Names, shapes and sizes of the released Eagles against our models: nothing missing, nothing unexpected."""

import json
from functools import cache

import pytest

from vlmzoo import build_model
from vlmzoo.hub.verify import verify_model
from vlmzoo.zoo import list_models, load_card, model_info

GOLDEN = ("eagle", "manifests/*.json")


def card_of(golden):
    """The card of a manifest, by the name of its repository or, of what is no release, by its own."""
    repo = golden.content["name"].replace("_", "/", 1)
    cards = [load_card(name) for name in list_models("eagle-*")]
    (found,) = [card for card in cards if card.weights.repo == repo] or [
        card for card in cards if card.name == golden.content["name"].lower()
    ]
    return found


@cache
def model_of(name):
    return build_model(name, device="meta")


def test_the_manifest_is_the_model(golden):
    report = verify_model(model_of(card_of(golden).name), golden.path)
    assert (report.layout, report.missing, report.unexpected, report.mismatched) == ("eagle", (), (), ())
    assert report.num_matched + len(report.dropped) == golden.content["num_keys"]
    assert len(report.dropped) == golden.content["buffers_in_state_dict"]
    assert all("rope" in key for key in report.dropped)


def test_the_card_tells_the_size_of_the_checkpoint(golden):
    info, parts = model_info(card_of(golden).name), dict(golden.content["parameters_by_part"])
    assert info.num_parameters == golden.content["num_parameters"]
    assert info.weight_bytes() == golden.content["bytes_bf16"]
    assert info.parameters["projector"] == parts.pop("mm_projector")
    assert info.parameters["language_model"] == parts.pop("llm")
    assert info.parameters["encoder"] == sum(parts.values())


def test_the_model_has_the_authors_configuration(golden):
    config, model = golden.content["config"], model_of(card_of(golden).name)
    text = model.config.text_config
    for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads"):
        assert getattr(text, name) == config[name]
    assert text.rope_parameters["rope_theta"] == config.get("rope_theta", 10000.0)
    assert text.rms_norm_eps == config["rms_norm_eps"]
    assert text.max_position_embeddings == config["max_position_embeddings"]
    assert model.fusion.out_dim == config["mm_hidden_size"]
    assert model.num_image_tokens == 1024


@pytest.mark.parametrize("count", [21841, None], ids=["another-width", "none"])
def test_the_class_head_of_a_file_may_be_of_another_width_or_missing(golden, count, tmp_path):
    shapes = dict(golden.content["state_dict"])
    head = [key for key in shapes if ".head.fc." in key]
    assert head
    for key in head:
        if count is None:
            del shapes[key]
        else:
            shapes[key] = [count, *shapes[key][1:]]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"shapes": shapes}), encoding="utf-8")
    report = verify_model(model_of(card_of(golden).name), path)
    assert report.is_clean
    assert sum("class head" in reason for reason in report.dropped.values()) == (0 if count is None else len(head))


def test_a_renamed_tensor_is_named(golden, tmp_path):
    shapes = dict(golden.content["state_dict"])
    key = next(key for key in shapes if key.endswith("stages.2.blocks.3.weight"))
    shapes[key.replace("weight", "gamma")] = shapes.pop(key)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"shapes": shapes}), encoding="utf-8")
    report = verify_model(model_of(card_of(golden).name), path)
    assert (report.missing, report.unexpected) == ((key,), (key.replace("weight", "gamma"),))
