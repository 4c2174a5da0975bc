import json

import pytest
import yaml
from pydantic import ValidationError

from tests.vlmzoo.zoo.conftest import COMPOSED, NAMES, NATIVE
from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.zoo import Card, list_models, load_card, model_info
from vlmzoo.zoo.arithmetic import count_image_tokens, count_parameters
from vlmzoo.zoo.card import TOKEN_FIELDS, Architecture, NativeArchitecture, read_architecture


def make_card_values(name="llava-1.5-7b"):
    return load_card(name).model_dump()


@pytest.mark.parametrize("name", NAMES)
def test_every_card_is_valid_and_named_after_its_file(name):
    assert load_card(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_card_tells_its_size_its_terms_and_its_source(name):
    info = model_info(name)
    assert info.num_parameters == sum(info.parameters.values()) > 0
    assert info.image_tokens > 0
    assert all(info.licence.values())
    assert info.source
    assert json.loads(json.dumps(info.to_dict()))["name"] == name
    assert name in str(info)


@pytest.mark.parametrize("name", NAMES)
def test_every_card_forecasts_its_memory(name):
    info = model_info(name)
    answer, lora, full = (info.memory[key].total for key in ("inference", "lora", "full"))
    assert info.weight_bytes() < answer < lora < full
    for total in (answer, lora, full):
        assert f"{total / 2**30:.1f} GiB" in str(info)
    assert json.loads(json.dumps(info.to_dict()))["memory"]["full"]["total"] == full


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_for_the_size_that_was_asked_for(name):
    small, large = model_info(name, image_size=(200, 300)), model_info(name, image_size=(1200, 1800))
    assert small.image_tokens == count_image_tokens(load_card(name).architecture, (200, 300))
    assert "200 x 300 pixels" in str(small)
    if small.image_tokens != large.image_tokens:
        assert small.memory["lora"].total < large.memory["lora"].total
    with pytest.raises(ConfigError, match=r"must be \(height, width\) in pixels, both positive, but is \(0, 3\)"):
        model_info("qwen2-vl-2b", image_size=(0, 3))


@pytest.mark.parametrize("name", COMPOSED)
def test_every_composed_miniature_keeps_the_topology_and_is_small(name):
    card = load_card(name)
    miniature = card.miniature()
    for part in ("projector", "language_model"):
        assert miniature[part]["type"] == getattr(card.architecture, part)["type"]
    small = read_architecture(miniature)
    assert [spec["type"] for spec in small.encoder_specs] == [spec["type"] for spec in card.architecture.encoder_specs]
    assert miniature["family"] == card.family
    assert "image_token_id" not in miniature
    assert sum(count_parameters(read_architecture(miniature)).values()) * 4 < 10e6  # bytes, in float32


@pytest.mark.parametrize("name", NATIVE)
def test_every_native_miniature_keeps_its_model_and_is_small(name):
    card = load_card(name)
    miniature = card.miniature()
    assert isinstance(card.architecture, NativeArchitecture)
    assert (miniature["family"], miniature["model_type"]) == ("native", card.architecture.model_type)
    assert not TOKEN_FIELDS[card.architecture.model_type].keys() & miniature["config"].keys()
    assert not {"bos_token_id", "eos_token_id", "pad_token_id"} & miniature["config"]["text_config"].keys()
    assert sum(count_parameters(read_architecture(miniature)).values()) * 4 < 10e6  # bytes, in float32


@pytest.mark.parametrize("name", NAMES)
def test_a_miniature_has_a_tokenizer_of_its_own(name):
    from vlmzoo.plugins import registry_of

    card = load_card(name)
    tokenizers = registry_of("tokenizer")
    tokenizers.check(card.architecture.processor["tokenizer"])
    assert tokenizers.check(card.miniature()["processor"]["tokenizer"]).name in ("llama3_bpe", "llama_bpe", "qwen2_bpe")


@pytest.mark.parametrize("name", COMPOSED)
def test_every_block_of_a_card_and_of_its_miniature_passes_its_registry(name):
    from vlmzoo.plugins import registry_of

    card = load_card(name)
    for architecture in (card.architecture, read_architecture(card.miniature())):
        for encoder in architecture.encoder_specs:
            registry_of("encoder").check(encoder)
        if architecture.fusion is not None:
            registry_of("fusion").check(architecture.fusion, runtime=("channels", "grid_sizes"))
        registry_of("projector").check(architecture.projector, runtime=("in_dim", "out_dim"))
        registry_of("language_model").check(architecture.language_model)


@pytest.mark.parametrize("is_tiny", [False, True], ids=["released", "tiny"])
@pytest.mark.parametrize("name", COMPOSED)
def test_counted_parameters_are_those_of_the_model(name, is_tiny):
    from vlmzoo import build_model

    architecture = (
        load_card(name).miniature() if is_tiny else load_card(name).architecture.model_dump(exclude_none=True)
    )
    if is_tiny:  # without its tokenizer, which says how many rows the tables have
        architecture |= {"image_token_id": 5}
    model = build_model(architecture, device="meta")
    checked = read_architecture(architecture)
    assert count_parameters(checked) == model.count_parameters()
    assert count_image_tokens(checked) == model.num_image_tokens


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("is_tied", [False, True])
def test_every_language_model_with_a_formula_has_the_size_that_it_says(model_type, is_tied):
    import torch

    from vlmzoo.blocks.language.causal_lm import build_language_model, causal_lm

    spec = {
        "model_type": model_type,
        "vocab_size": 96,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "tie_word_embeddings": is_tied,
    }
    if model_type == "qwen2":
        del spec["head_dim"]
    with torch.device("meta"):
        built = sum(p.numel() for p in build_language_model(causal_lm(**spec)).parameters())
    values = make_card_values()["architecture"] | {"language_model": {"type": "causal_lm", **spec}}
    assert count_parameters(Architecture.model_validate(values))["language_model"] == built


# Totals of the key manifests of liuhaotian/llava-v1.5-*, less their rotary buffers (layers x 64).
@pytest.mark.parametrize(
    ("name", "total"), [("llava-1.5-7b", 7_062_904_832 - 32 * 64), ("llava-1.5-13b", 13_350_841_856 - 40 * 64)]
)
def test_llava_has_the_size_of_its_published_checkpoint(name, total):
    assert model_info(name).num_parameters == total


def test_names_are_matched_by_wildcards():
    assert list_models("llava-1.5-*b") == ["llava-1.5-13b", "llava-1.5-7b"]
    assert list_models("no-such-*") == []


def test_an_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match=r"no model named `lava-1\.5-7b`\. Did you mean `llava-1\.5-7b`\?"):
        model_info("lava-1.5-7b")


@pytest.mark.parametrize("name", ["../llava-1.5-7b", "", "llava-1.5-7b.yaml"])
def test_a_name_is_no_path(name):
    with pytest.raises(RegistryError, match="There is no model named"):
        load_card(name)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"parity": "surely"},
        {"name": "With Spaces"},
        {"paper": {"title": "x", "arxiv": "not an id"}},
        {"source": 3},
        {"weights": {"repo": "a/b"}},
    ],
)
@pytest.mark.parametrize("name", ["llava-1.5-7b", "qwen2-vl-2b"])
def test_a_card_with_a_fault_is_refused(name, change):
    with pytest.raises(ValidationError):
        Card.model_validate({**make_card_values(name), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": {"type": "clip"}}, "Extra inputs are not permitted"),
        ({"processor": {"tokenizer": {}}}, "must have one of pixels, tiling, image, but has none"),
        ({"processor": {"pixels": {}, "image": {}}}, "but has \\['pixels', 'image'\\]"),
        ({"config": {"text_config": {}}}, "must have a mapping `vision_config`, but has None"),
        ({"family": "llava"}, "Field required"),
    ],
)
def test_a_native_architecture_with_a_fault_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        read_architecture({**make_card_values("qwen2-vl-2b")["architecture"], **change})


def test_a_card_that_names_another_model_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(make_card_values()))
    monkeypatch.setattr("vlmzoo.zoo._FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"must be named after its model, but names `llava-1\.5-7b` instead"):
        load_card("other")


def test_a_block_without_a_formula_says_where_to_write_one():
    values = make_card_values()["architecture"]
    values["encoder"] = {"type": "timm"}
    with pytest.raises(ConfigError, match=r"but is `timm` instead; add one to vlmzoo/zoo/encoders\.py"):
        count_parameters(Architecture.model_validate(values))
    values = make_card_values("qwen2-vl-2b")["architecture"] | {"model_type": "qwen2_lv"}
    with pytest.raises(ConfigError, match=r"add one to vlmzoo/zoo/native\.py\. Did you mean `qwen2_vl`\?"):
        count_parameters(read_architecture(values))


@pytest.mark.parametrize(
    ("fusion", "tokens", "width"),
    [
        ({"type": "channel_concat", "grid_size": 32}, 1024, 4096),
        ({"type": "channel_concat", "grid_size": 32, "fold": 2}, 256, 4 * 4096),
        ({"type": "channel_concat"}, 1024, 4096),
        ({"type": "sequence_append"}, 24**2 + 32**2, 3072),
        ({"type": "sequence_append", "grid_size": [8, 8], "width": 512}, 128, 512),
    ],
)
def test_fusions_are_counted_by_their_names(fusion, tokens, width):
    from vlmzoo import build_model

    values = load_card("eagle-x2-llama3-8b").architecture.model_dump(exclude_none=True) | {"fusion": fusion}
    checked, model = read_architecture(values), build_model(values, device="meta")
    assert count_image_tokens(checked) == model.num_image_tokens == tokens
    assert count_parameters(checked)["projector"] == model.count_parameters()["projector"]
    assert model.fusion.out_dim == width


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": {"type": "clip"}}, "must have an `encoder` or `encoders`, and not both"),
        ({"encoders": []}, "must have an `encoder` or `encoders`, and not both"),
        ({"encoder": {"type": "clip"}, "encoders": None}, "`fusion` and `image_size` are of `encoders`"),
    ],
)
def test_an_architecture_of_no_or_of_two_minds_about_its_encoders_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        read_architecture({**make_card_values("eagle-x4-7b")["architecture"], **change})


def test_a_card_lies_over_its_base_and_what_is_no_release_says_so():
    card, base = load_card("eagle-x5-34b-chat"), load_card("eagle-x5-7b")
    assert card.architecture.encoders == base.architecture.encoders
    assert (card.architecture.language_model["hidden_size"], card.weights.repo) == (7168, "NVEagle/Eagle-X5-34B-Chat")
    assert "not a release" in str(model_info("eagle-x2-vicuna-7b"))
    with pytest.raises(ConfigError, match="`eagle-x2-vicuna-7b` is not a release"):
        from vlmzoo import build_model

        build_model("eagle-x2-vicuna-7b", pretrained=True)


def test_a_field_that_the_size_needs_is_asked_for():
    values = make_card_values("qwen2-vl-2b")["architecture"]
    del values["config"]["vision_config"]["depth"]
    with pytest.raises(ConfigError, match="must have the field 'depth', for its size depends on it"):
        count_parameters(read_architecture(values))


@pytest.mark.parametrize(
    ("projector", "count"),
    [("identity", 0), ("linear", 1024 * 4096 + 4096), ("mlp1x_gelu", 1024 * 4096 + 4096)],
)
def test_projectors_are_counted_by_their_names(projector, count):
    values = make_card_values()["architecture"] | {"projector": {"type": projector}}
    assert count_parameters(Architecture.model_validate(values))["projector"] == count


def test_the_zoo_loads_without_torch(fresh_python):
    code = "import sys, vlmzoo; vlmzoo.model_info('qwen2-vl-2b'); print('torch' in sys.modules)"
    assert fresh_python(code) == "False"
