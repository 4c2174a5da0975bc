"""Every block of every registry, from its smallest example: shapes, gradients, round trips, seeds, sources."""

import re

import pytest
import torch
from torch import nn

from vlmzoo.blocks.encoders import ENCODERS
from vlmzoo.blocks.encoders.timm import TimmEncoder
from vlmzoo.blocks.fusion import FUSIONS
from vlmzoo.blocks.language import LANGUAGE_MODELS
from vlmzoo.blocks.language.causal_lm import (
    apply_head,
    build_language_model,
    causal_lm,
    target_logprobs,
    target_statistics,
)
from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.models import FAMILIES

MODULES = [(registry, name) for registry in (ENCODERS, FUSIONS, PROJECTORS) for name in registry.names()]
ids = [f"{registry.kind}-{name}" for registry, name in MODULES]


def build(registry, name, seed=0):
    torch.manual_seed(seed)
    return registry.build({"type": name, **registry.entry(name).tiny})


def make_input(block):
    generator = torch.Generator().manual_seed(1)
    if hasattr(block, "image_size"):
        return torch.randn(2, 3, *block.image_size, generator=generator)
    if hasattr(block, "num_tokens"):
        return [torch.randn(2, *shape, generator=generator) for shape in block.shapes]
    width = (
        block.in_features if isinstance(block, nn.Linear) else getattr(next(block.children(), None), "in_features", 8)
    )
    return torch.randn(2, 5, width, generator=generator)


@pytest.mark.parametrize(("registry", "name"), MODULES, ids=ids)
def test_blocks_give_the_shape_that_they_promise(registry, name):
    block = build(registry, name).eval()
    output = block(make_input(block))
    if registry is ENCODERS:
        assert output.shape == (2, block.out_channels, *block.grid_size)
    elif registry is FUSIONS:
        assert output.shape == (2, block.num_tokens, block.out_dim)
    else:
        assert output.shape == (2, getattr(block, "num_latents", 5), registry.entry(name).tiny["out_dim"])


@pytest.mark.parametrize(("registry", "name"), MODULES, ids=ids)
def test_gradients_reach_every_parameter_that_the_output_depends_on(registry, name):
    block = build(registry, name)
    inputs = make_input(block)
    leaves = [leaf.requires_grad_() for leaf in (inputs if isinstance(inputs, list) else [inputs])]
    (block(inputs) ** 3).sum().backward()  # of squares behind a last norm, the gradient would be nothing
    assert all(leaf.grad.abs().any() for leaf in leaves)
    idle = [n for n, p in block.named_parameters() if p.grad is None or not p.grad.abs().any()]
    unread = (
        "post_layernorm",
        "layers.1.",
        "k_proj.bias",
        "qkv.bias",
        "class_embedding",
        "mask_token",
        "key.bias",
    )  # after the selected layer, or dropped before the first; softmax ignores key biases
    assert all(any(part in name for part in unread) for name in idle), idle


@pytest.mark.parametrize(("registry", "name"), MODULES, ids=ids)
def test_a_state_dict_carries_everything_and_a_seed_decides_everything(registry, name):
    first, again, other = build(registry, name), build(registry, name), build(registry, name, seed=9)
    for twin in (first, again, other):
        twin.eval()
    inputs = make_input(first)
    assert torch.equal(first(inputs), again(inputs))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(inputs), other(inputs))


@pytest.mark.parametrize("registry", [ENCODERS, FUSIONS, PROJECTORS, LANGUAGE_MODELS, FAMILIES], ids=lambda r: r.kind)
def test_every_entry_says_where_it_comes_from(registry):
    assert all(entry.source for entry in registry)


@pytest.mark.parametrize(
    ("model_name", "options"),
    [
        ("vit_tiny_patch16_224", {"embed_dim": 32, "depth": 1, "num_heads": 2}),
        ("convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}),
        ("resnet18", {}),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2]}),
    ],
)
def test_any_timm_backbone_is_a_feature_map(model_name, options):
    encoder = TimmEncoder(model_name=model_name, image_size=[64, 96], options=options).eval()
    assert encoder(torch.randn(1, 3, 64, 96)).shape == (1, encoder.out_channels, *encoder.grid_size)


def test_encoders_refuse_what_cannot_be():
    with pytest.raises(ConfigError, match="no model named `resnet81`. Did you mean"):
        ENCODERS.build({"type": "timm", "model_name": "resnet81", "image_size": 32})
    with pytest.raises(ConfigError, match="multiple of `patch_size` \\(14\\), but is 30"):
        ENCODERS.build({"type": "clip", "image_size": 30, "num_layers": 1, "hidden_size": 32, "num_heads": 2})
    with pytest.raises(ConfigError, match="within ±2 layers, but is -9"):
        ENCODERS.build({"type": "clip", **ENCODERS.entry("clip").tiny, "select_layer": -9})
    with pytest.raises(ConfigError, match="pair of positive integers"):
        ENCODERS.build({"type": "timm", "model_name": "resnet18", "image_size": [1, 2, 3]})
    encoder = build(ENCODERS, "clip")
    with pytest.raises(ShapeError, match="use the model's own processor"):
        encoder(torch.zeros(1, 3, 14, 14))


def test_a_patch_that_is_encoded_on_its_own_changes_no_other_token():
    encoder = ENCODERS.build({"type": "patch_mlp", "image_size": [28, 42], "patch_size": 14, "hidden_size": 16})
    pixels = torch.randn(1, 3, 28, 42)
    changed = pixels.clone()
    changed[..., 14:, :14] += 1
    is_other = (encoder(pixels) != encoder(changed)).any(dim=1)[0]
    assert is_other.tolist() == [[False, False, False], [True, False, False]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 30}, "must be whole patches of 14 pixels, but is (30, 30)"),
        ({"num_layers": -1}, "`num_layers` must be 0 or more, but is -1"),
    ],
)
def test_patches_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        ENCODERS.build({"type": "patch_mlp", **ENCODERS.entry("patch_mlp").tiny, **options})


@pytest.mark.parametrize("select_layer", [-1, -2, 0, 1])
def test_the_selected_hidden_state_is_read_without_the_class_token(select_layer):
    encoder = ENCODERS.build({"type": "clip", **ENCODERS.entry("clip").tiny, "select_layer": select_layer}).eval()
    pixels = make_input(encoder)
    states = encoder.vision(pixel_values=pixels, output_hidden_states=True).hidden_states
    expected = states[select_layer][:, 1:].transpose(1, 2).reshape(2, 32, 2, 2)
    assert torch.equal(encoder(pixels), expected)


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gemma2"])
@pytest.mark.parametrize("max_chunk_elements", [2**24, 64 * 3])
def test_logprobs_in_chunks_equal_those_of_the_whole_head(model_type, max_chunk_elements):
    torch.manual_seed(0)
    tiny = LANGUAGE_MODELS.entry("causal_lm").tiny | {"model_type": model_type}
    config = causal_lm(**tiny, **({"head_dim": 16} if model_type == "gemma2" else {}))
    model = build_language_model(config).eval()
    input_ids = torch.randint(5, 60, (2, 9))
    labels = input_ids.masked_fill(torch.rand(2, 9) < 0.4, -100)
    hidden = model.get_decoder()(input_ids=input_ids).last_hidden_state
    torch.testing.assert_close(apply_head(model, hidden), model(input_ids=input_ids).logits)
    found = target_logprobs(model, hidden, labels, max_chunk_elements=max_chunk_elements)
    logprobs = model(input_ids=input_ids).logits.float().log_softmax(-1)
    expected = torch.zeros(2, 9)
    expected[:, 1:] = logprobs[:, :-1].gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0] * (labels[:, 1:] != -100)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), model.get_output_embeddings().weight, retain_graph=True)
    (whole,) = torch.autograd.grad(expected.sum(), model.get_output_embeddings().weight)
    torch.testing.assert_close(gradient, whole)


@pytest.mark.parametrize("max_chunk_elements", [2**24, 64 * 3])
def test_temperature_divides_the_logits_and_entropy_is_that_of_the_prediction(max_chunk_elements):
    torch.manual_seed(0)
    model = build_language_model(causal_lm(**LANGUAGE_MODELS.entry("causal_lm").tiny)).eval()
    labels = torch.randint(5, 60, (2, 9)).masked_fill(torch.rand(2, 9) < 0.4, -100)
    hidden = torch.randn(2, 9, 32, requires_grad=True)
    logprobs, entropy = target_statistics(
        model, hidden, labels, temperature=2.0, with_entropy=True, max_chunk_elements=max_chunk_elements
    )
    is_target = labels[:, 1:] != -100
    predicted = torch.distributions.Categorical(logits=(apply_head(model, hidden) / 2.0)[:, :-1])
    expected = [predicted.log_prob(labels[:, 1:].clamp(min=0)), predicted.entropy()]
    for found, right in zip((logprobs, entropy), expected, strict=True):
        torch.testing.assert_close(found[:, 1:], right * is_target)
        assert not found[:, 0].any()
    found = torch.autograd.grad((logprobs + entropy).sum(), hidden, retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad((sum(expected) * is_target).sum(), hidden))
    assert target_statistics(model, hidden, labels)[1] is None


def test_no_target_at_all_is_no_error():
    model = build_language_model(causal_lm(**LANGUAGE_MODELS.entry("causal_lm").tiny))
    hidden = torch.randn(2, 4, 32, requires_grad=True)
    logprobs = target_logprobs(model, hidden, torch.full((2, 4), -100))
    assert not logprobs.any()
    logprobs.sum().backward()


def test_heads_that_scale_their_logits_are_refused():
    with pytest.raises(ConfigError, match="scales its logits by `logit_scale`"):
        causal_lm(model_type="cohere", hidden_size=32, num_attention_heads=2, logit_scale=0.5)
