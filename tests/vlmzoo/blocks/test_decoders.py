"""Mask decoders: our SAM against the authors' package and transformers', in all three topologies at small sizes."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import SamConfig, SamModel

from vlmzoo.blocks.decoders import DECODERS, ImageRecipe
from vlmzoo.blocks.decoders.postprocess import logits_in_original
from vlmzoo.errors import CheckpointError, ConfigError, RegistryError, ShapeError
from vlmzoo.models.keys import compare_keys
from vlmzoo.models.sam.keys import TABLES
from vlmzoo.models.sam.weights import hf_state_dict, load_published

TOPOLOGIES = {  # depth and global blocks as published, everything else narrow
    "sam-vit-b": {"num_heads": 2, "dim": 16},
    "sam-vit-l": {"num_heads": 4, "dim": 16},
    "sam-vit-h": {"num_heads": 4, "dim": 32},
}
SMALL = {
    "image_size": 80,
    "window_size": 3,
    "prompt_dim": 16,
    "decoder_mlp_dim": 24,
    "decoder_heads": 2,
    "quality_dim": 12,
}
IMAGE_SHAPES = ((80, 80), (80, 41), (17, 80))


def make_decoder(name="sam-vit-b", *, seed=0, backend="native"):
    torch.manual_seed(seed)
    decoder = DECODERS.build({"type": name, **SMALL, **TOPOLOGIES[name], "backend": backend})
    with torch.no_grad():  # relative positions start at zero, which would prove nothing
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    return decoder.eval()


def make_pixels(shape, num=1):
    pixels = torch.zeros(num, 3, SMALL["image_size"], SMALL["image_size"])
    pixels[..., : shape[0], : shape[1]] = torch.randn(
        num, 3, *shape, generator=torch.Generator().manual_seed(sum(shape))
    )
    return pixels


@torch.no_grad()
@pytest.mark.parametrize("shape", IMAGE_SHAPES, ids=str)
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_our_decoder_is_segment_anything(name, shape):
    pytest.importorskip("segment_anything")
    ours, theirs = make_decoder(name), make_decoder(name, seed=1, backend="segment_anything")
    theirs.load_state_dict(ours.state_dict(), strict=True)
    features = [decoder.encode_images(make_pixels(shape))[0] for decoder in (ours, theirs)]
    torch.testing.assert_close(*features, atol=1e-4, rtol=0)
    for num in (0, 1, 5):
        prompts = torch.randn(num, SMALL["prompt_dim"], generator=torch.Generator().manual_seed(num))
        for multimask in (False, True):
            found = [
                decoder.decode([feature.expand(num, -1, -1, -1)], prompts, multimask=multimask)
                for decoder, feature in zip((ours, theirs), features, strict=True)
            ]
            assert found[0].logits.shape == (num, 3 if multimask else 1, 20, 20)
            torch.testing.assert_close(found[0].logits, found[1].logits, atol=1e-4, rtol=0)
            torch.testing.assert_close(found[0].iou, found[1].iou, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_mask_does_not_depend_on_its_neighbours_or_on_other_images():
    decoder = make_decoder()
    features = decoder.encode_images(make_pixels((80, 50), num=3))[0]
    prompts = torch.randn(5, SMALL["prompt_dim"])
    images = torch.tensor([2, 0, 0, 1, 2])
    together = decoder.decode([features[images]], prompts)
    alone = [decoder.decode([features[i][None]], prompt[None]) for i, prompt in zip(images, prompts, strict=True)]
    torch.testing.assert_close(together.logits, torch.cat([one.logits for one in alone]), atol=1e-5, rtol=0)
    single = decoder.encode_images(make_pixels((80, 50), num=3)[1:2])[0]
    torch.testing.assert_close(features[1:2], single, atol=1e-5, rtol=0)


def test_gradients_reach_the_decoder_and_its_image_encoder():
    decoder = make_decoder().train()
    found = decoder.decode(decoder.encode_images(make_pixels((80, 80))), torch.randn(1, 16), multimask=True)
    (found.logits.square().sum() + found.iou.sum()).backward()
    idle = {name for name, p in decoder.named_parameters() if p.grad is None}
    assert all("point_embed" in name or "mask_downscaling" in name or "mlps.0." in name for name in idle), idle
    assert decoder.image_encoder.blocks[0].attn.rel_pos_h.grad.abs().sum() > 0


@torch.no_grad()
def test_half_precision_encodes_what_would_overflow_in_the_neck():
    decoder = make_decoder()
    decoder.image_encoder.neck[0].weight.mul_(3e4)
    exact = decoder.encode_images(make_pixels((80, 80)))[0]
    half = decoder.half().encode_images(make_pixels((80, 80)).half())[0]
    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), exact, atol=0.1, rtol=0.05)


@pytest.fixture
def hf_model():
    config = SamConfig(
        vision_config={
            "image_size": 80,
            "hidden_size": 16,
            "num_hidden_layers": 12,
            "num_attention_heads": 2,
            "output_channels": 16,
            "mlp_dim": 64,
            "window_size": 3,
            "global_attn_indexes": [2, 5, 8, 11],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 80, "patch_size": 16, "mask_input_channels": 16},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 12},
    )
    return SamModel._from_config(config, attn_implementation="eager").eval()


@torch.no_grad()
def test_transformers_runs_our_weights_under_its_names(hf_model):
    decoder = make_decoder()
    written = hf_state_dict(decoder.state_dict())
    hf_model.load_state_dict(written, strict=True)
    pixels = make_pixels((80, 80))
    features = decoder.encode_images(pixels)[0]
    torch.testing.assert_close(hf_model.get_image_embeddings(pixels), features, atol=1e-4, rtol=0)
    prompts = torch.randn(1, 16)
    sparse, dense = decoder.prompt_encoder(prompts)
    ours = decoder.decode([features], prompts, multimask=True)
    logits, iou = hf_model.mask_decoder(
        image_embeddings=features,
        image_positional_embeddings=decoder.prompt_encoder.image_positions(),
        sparse_prompt_embeddings=sparse[:, None],
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )[:2]
    torch.testing.assert_close(logits[:, 0], ours.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(iou[:, 0], ours.iou, atol=1e-4, rtol=0)
    back = TABLES["sam_hf"].dict_to_ours(hf_model.state_dict())
    assert back.keys() == decoder.state_dict().keys()


@torch.no_grad()
def test_boxes_prompt_our_weights_as_transformers_prompts_them(hf_model):
    """Its processor scales boxes itself; here they are in pixels of the input already."""
    ours = make_decoder()
    hf_model.load_state_dict(hf_state_dict(ours.state_dict()), strict=True)
    pixels = make_pixels((80, 80))
    boxes = torch.tensor([[3.0, 5.0, 40.0, 61.0], [0.0, 0.0, 79.0, 79.0]])
    theirs = hf_model(pixel_values=pixels, input_boxes=boxes.unsqueeze(0), multimask_output=False)
    features = tuple(feature.expand(2, *feature.shape[1:]) for feature in ours.encode_images(pixels))
    found = ours.decode(features, ours.embed_boxes(boxes))
    torch.testing.assert_close(found.logits[:, 0], theirs.pred_masks[0, :, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.iou[:, 0], theirs.iou_scores[0, :, 0], atol=1e-4, rtol=0)
    with pytest.raises(ShapeError, match=r"Boxes must have the shape \(K, 4\)"):
        ours.embed_boxes(torch.zeros(4))


@pytest.mark.parametrize("layout", ["sam", "sam_hf", "folder"])
def test_published_weights_fill_a_decoder(layout, tmp_path):
    source, target = make_decoder(seed=1), make_decoder(seed=2)
    state = source.state_dict()
    path = tmp_path / "sam_vit_b.pth"
    if layout == "sam":
        torch.save({**state, "pixel_mean": torch.zeros(3, 1, 1)}, path)
    elif layout == "sam_hf":
        torch.save(hf_state_dict(state), path)
    else:
        path = tmp_path / "folder"
        path.mkdir()
        save_file({name: value.clone() for name, value in hf_state_dict(state).items()}, path / "model.safetensors")
    report = load_published(target, path)
    assert report.is_clean
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in state.items())


def test_weights_of_another_decoder_are_refused_and_nothing_is_loaded(tmp_path):
    path = tmp_path / "sam_vit_l.pth"
    torch.save(make_decoder("sam-vit-l").state_dict(), path)
    target = make_decoder("sam-vit-b", seed=3)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match="holds more than the model takes"):
        load_published(target, path)
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in before.items())
    with pytest.raises(CheckpointError, match="do not exist; download sam_vit_b"):
        load_published(target, tmp_path / "nothing.pth")


@pytest.mark.parametrize("name", DECODERS.names())
def test_every_registered_decoder_works_from_its_smallest_example(name):
    torch.manual_seed(0)
    decoder = DECODERS.build({"type": name, **DECODERS.entry(name).tiny}).eval()
    side, width = decoder.recipe.size, decoder.prompt_dim
    features = decoder.encode_images(torch.randn(2, 3, side, side))
    assert all(len(feature) == 2 for feature in features)
    for num in (0, 3):
        picked = [feature[torch.tensor([0, 1, 1])[:num]] for feature in features]
        for multimask in (False, True):
            found = decoder.decode(picked, torch.randn(num, width), multimask=multimask)
            wanted = decoder.num_candidates if multimask else 1
            assert found.logits.shape[:2] == found.iou.shape == (num, wanted)
    names = [name for name, _ in decoder.named_parameters()]
    for parts in (decoder.trainable_parts, decoder.encoder_parts):
        assert all(any(name.startswith(part) for name in names) for part in parts)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    value=st.floats(-5, 5),
    fit=st.sampled_from(["longest_side", "stretch"]),
)
def test_a_constant_map_stays_constant_in_the_original(height, width, value, fit):
    recipe = ImageRecipe(size=32, fit=fit)
    scale = 32 / max(height, width)
    resized = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    whole = logits_in_original(
        torch.full((2, 1, 8, 8), value), recipe=recipe, resized=resized, original=(height, width)
    )
    assert whole.shape == (2, 1, height, width)
    torch.testing.assert_close(whole, torch.full_like(whole, value))


def test_no_mask_keeps_a_graph_through_post_processing():
    logits = torch.ones(1, 1, 8, 8, requires_grad=True)
    whole = logits_in_original(logits[:0], recipe=ImageRecipe(size=32), resized=(32, 20), original=(7, 5))
    assert whole.shape == (0, 1, 7, 5)
    whole.sum().backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_bad_sizes_back_ends_and_prompts_are_refused():
    with pytest.raises(ConfigError, match="`patch_size` to divide `image_size`"):
        DECODERS.build({"type": "sam", **DECODERS.entry("sam").tiny, "image_size": 65})
    with pytest.raises(ConfigError, match="must be native or segment_anything, but is 'onnx'"):
        DECODERS.build({"type": "sam", **DECODERS.entry("sam").tiny, "backend": "onnx"})
    with pytest.raises(RegistryError, match="Did you mean `sam-vit-h`"):
        DECODERS.build({"type": "sam-vit-huge"})
    with pytest.raises(ShapeError, match="must have the width 16 of the decoder, but has 17"):
        make_decoder().decode([torch.zeros(1, 16, 5, 5)], torch.zeros(1, 17))


def test_the_layouts_say_what_they_hold():
    decoder = make_decoder()
    expected = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    lacking = {name: shape for name, shape in expected.items() if not name.startswith("mask_decoder.iou_token")}
    report = compare_keys(expected, [(TABLES["sam"], lacking)])
    assert report.missing == ("mask_decoder.iou_token.weight",)


@torch.no_grad()
@pytest.mark.parametrize("name", ["hf-sam", "sam-hq", "sam2", "sam3"])
@pytest.mark.parametrize("multimask", [False, True])
def test_decoders_of_transformers_do_with_embeddings_what_they_do_with_points(name, multimask):
    """A point becomes an embedding in transformers' prompt encoder; given as one, it makes the same masks."""
    torch.manual_seed(0)
    decoder = DECODERS.build({"type": name, **DECODERS.entry(name).tiny}).eval()
    model_class = {"hf-sam": "SamModel", "sam-hq": "SamHQModel", "sam2": "Sam2Model", "sam3": "Sam3TrackerModel"}[name]
    model_class = getattr(transformers, model_class)
    model = model_class._from_config(model_class.config_class(**DECODERS.entry(name).tiny["config"])).eval()
    model.load_state_dict(decoder.state_dict(), strict=True)
    pixels = torch.randn(1, 3, decoder.recipe.size, decoder.recipe.size)
    points, labels = torch.tensor([[[[11.0, 20.0]]]]), torch.tensor([[[1]]], dtype=torch.int32)
    expected = model(pixel_values=pixels, input_points=points, input_labels=labels, multimask_output=multimask)
    sparse, _ = model.prompt_encoder(points, labels, None, None)
    found = decoder.decode(decoder.encode_images(pixels), sparse[:, 0], multimask=multimask)
    torch.testing.assert_close(found.logits, expected.pred_masks[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.iou, expected.iou_scores[:, 0], atol=1e-4, rtol=0)


def test_a_faulty_configuration_of_transformers_is_refused():
    with pytest.raises(ConfigError, match="must hold fields of transformers' Sam2Model"):
        DECODERS.build({"type": "sam2", "config": {"vision_config": 3}})
