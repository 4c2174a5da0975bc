"""The arithmetic of native bases against transformers' own classes, processors and the published sizes."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import (
    AutoConfig,
    CLIPImageProcessorPil,
    GotOcr2ImageProcessor,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlavaProcessor,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from tests.golden.conftest import golden_folder
from tests.vlmzoo.zoo.conftest import NATIVE, build_native, with_token_ids
from vlmzoo.errors import ConfigError
from vlmzoo.zoo import load_card, model_info, read_architecture
from vlmzoo.zoo.arithmetic import count_image_tokens, count_parameters, visual_of
from vlmzoo.zoo.visual import count_tiles, resize_to_budget

PUBLISHED = {
    "internvl3.5-1b": 1_060_897_792,
    "llava-1.5-7b-hf": 7_063_427_072,
    "llava-1.5-13b-hf": 13_350_841_856 - 40 * 64 + 2 * 64 * 5120,  # the authors' own, and 64 rows in each table
    "qwen2-vl-2b": 2_208_985_600,
    "qwen2-vl-7b": 8_291_375_616,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen3-vl-4b": 4_437_815_808,
    "twin-qwen2.5-vl-3b": 3_754_622_976,  # trained from it, nothing added
    "virft-qwen2-vl-7b-lisa": 8_291_375_616,
}
"""Parameters of the published checkpoints."""

sides = st.integers(1, 4000)


def parts_of(model):
    """Count parameters by part, a shared one where it is met first."""
    is_qwen = hasattr(model.model, "visual")
    found = {"encoder": 0, "projector": 0, "language_model": 0}
    for name, parameter in model.named_parameters():
        if "merger" in name or "multi_modal_projector" in name:
            found["projector"] += parameter.numel()
        elif name.startswith("model.visual" if is_qwen else "model.vision_tower"):
            found["encoder"] += parameter.numel()
        else:
            assert name.startswith(("model.language_model", "lm_head"))
            found["language_model"] += parameter.numel()
    return found


def test_every_native_card_is_compared_with_its_published_size():
    assert sorted(PUBLISHED) == NATIVE


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_base_has_the_size_of_its_published_checkpoint(name):
    assert model_info(name).num_parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", NATIVE)
def test_counted_parameters_are_those_of_transformers_own_class(name):
    model = build_native(load_card(name).architecture.model_dump(), device="meta")
    assert count_parameters(load_card(name).architecture) == parts_of(model)


def test_internvl_has_the_parts_of_its_published_checkpoint():
    assert model_info("internvl3.5-1b").parameters == {
        "encoder": 304_012_288,
        "projector": 5_253_120,
        "language_model": 751_632_384,
    }


@pytest.mark.parametrize("layout", ["hub", "transformers5"])
def test_llava_has_the_parts_of_its_manifest(layout):
    path = golden_folder("fast") / "manifests" / f"llava-hf__llava-1.5-7b-hf__{layout}.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    found = {"encoder": 0, "projector": 0, "language_model": 0}
    for key, shape in manifest["shapes"].items():
        part = "encoder" if "vision_tower" in key else "projector" if "projector" in key else "language_model"
        found[part] += torch.Size(shape).numel()
    assert model_info("llava-1.5-7b-hf").parameters == found
    assert sum(found.values()) == manifest["n_params"]


def check_fields(given, config):
    known = set(type(config)().to_dict()) | set(type(config).attribute_map) | {"model_type", "rope_parameters"}
    known |= {"bos_token_id", "eos_token_id"}  # published beside the others, and kept by every configuration
    for name, value in given.items():
        assert name in known, f"{type(config).__name__} has no field `{name}`"
        held = getattr(config, name)
        if isinstance(value, dict) and name != "rope_parameters":
            check_fields(value, held)
        elif isinstance(value, dict):
            assert {key: held[key] for key in value} == value
        else:
            assert (list(held) if isinstance(value, list) else held) == value


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("is_tiny", [False, True])
def test_every_field_of_a_card_is_one_that_transformers_knows(name, is_tiny):
    card = load_card(name)
    architecture = card.miniature() if is_tiny else card.architecture.model_dump()
    check_fields(architecture["config"], AutoConfig.for_model(architecture["model_type"], **architecture["config"]))


@given(sides, sides, st.sampled_from([28, 32]), st.sampled_from([(3136, 12_845_056), (65_536, 200_704), (4, 1024)]))
def test_qwen_sizes_are_those_of_transformers(height, width, factor, budget):
    least, most = budget
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(ConfigError, match="at most 200 times the other"):
            resize_to_budget((height, width), factor=factor, min_pixels=least, max_pixels=most)
    else:
        assert resize_to_budget((height, width), factor=factor, min_pixels=least, max_pixels=most) == smart_resize(
            height, width, factor=factor, min_pixels=least, max_pixels=most
        )


@given(sides, sides, st.integers(1, 12))
def test_internvl_grids_are_those_of_transformers(height, width, most):
    columns, rows = get_optimal_tiled_canvas((height, width), (448, 448), 1, most)
    assert count_tiles((height, width), tile=448, min_tiles=1, max_tiles=most) == columns * rows


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("qwen2-vl-2b", (512, 512), 324),  # TWIN's largest image: 18 x 18
        ("qwen2.5-vl-3b", (1, 200), 29),
        ("qwen3-vl-4b", (512, 512), 256),
        ("llava-1.5-7b-hf", (30, 2000), 576),
        ("internvl3.5-1b", (448, 448), 256),
        ("internvl3.5-1b", (896, 1792), 256 * 9),
        ("internvl3.5-1b", (3000, 3000), 256 * 10),
    ],
)
def test_images_of_some_sizes_become_so_many_tokens(name, size, tokens):
    assert model_info(name, image_size=size).image_tokens == tokens


def make_processor(architecture, tokenizer):
    """Put transformers' own processor together, with the sizes of a card."""
    spec, config = architecture["processor"], architecture["config"]
    model_type = architecture["model_type"]
    if "pixels" in spec:
        vision = config["vision_config"]
        image_processor = Qwen2VLImageProcessor(
            size={"shortest_edge": spec["pixels"]["min"], "longest_edge": spec["pixels"]["max"]},
            patch_size=vision["patch_size"],
            merge_size=vision["spatial_merge_size"],
        )
        kind, video_kind = {
            "qwen2_vl": (Qwen2VLProcessor, Qwen2VLVideoProcessor),
            "qwen2_5_vl": (Qwen2_5_VLProcessor, Qwen2VLVideoProcessor),
            "qwen3_vl": (Qwen3VLProcessor, Qwen3VLVideoProcessor),
        }[model_type]
        return kind(image_processor, tokenizer, video_kind()), "<|vision_start|><|image_pad|><|vision_end|>"
    if "tiling" in spec:
        tiling = spec["tiling"]
        image_processor = GotOcr2ImageProcessor(
            size={"height": tiling["size"], "width": tiling["size"]},
            min_patches=tiling["min_tiles"],
            max_patches=tiling["max_tiles"],
            crop_to_patches=True,
        )
        processor = InternVLProcessor(
            image_processor, tokenizer, InternVLVideoProcessor(), image_seq_length=config["image_seq_length"]
        )
        return processor, "<IMG_CONTEXT>"
    side = spec["image"]["size"]
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    patch_size = config["vision_config"]["patch_size"]
    processor = LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return processor, "<image>"


@pytest.mark.parametrize("size", [(56, 56), (40, 170), (300, 90)])
@pytest.mark.parametrize("name", NATIVE)
def test_a_miniature_takes_what_transformers_own_processor_makes_of_an_image(name, size):
    architecture, tokenizer = with_token_ids(load_card(name).miniature())
    processor, placeholder = make_processor(architecture, tokenizer)
    image = Image.new("RGB", size[::-1], (200, 30, 30))
    inputs = processor(text=[f"{placeholder}What is this?"], images=[image], return_tensors="pt")
    expected = visual_of(read_architecture(architecture), size)
    config = architecture["config"]
    token = config.get("image_token_id", config.get("image_token_index"))
    assert (
        (inputs["input_ids"] == token).sum()
        == expected.tokens
        == count_image_tokens(read_architecture(architecture), size)
    )
    assert inputs["pixel_values"].numel() == expected.values
    torch.manual_seed(0)
    model = build_native(architecture)
    assert len(tokenizer) <= config["text_config"]["vocab_size"]
    loss = model(**inputs, labels=inputs["input_ids"]).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.get_input_embeddings().weight.grad.abs().any()
